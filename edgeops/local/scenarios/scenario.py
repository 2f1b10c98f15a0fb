"""What a scenario of the demo offers: rows to learn from, and stretches of time in which the world is another.

The demo knows the truth of all rows because it plays the world and the lab; the server hears rows from the
devices, and a label only when it asks for one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: Over three devices, one in thirteen changes like batch 4 of the gas sensors goes unseen in 80 rows, none of forty in
#: 100.
_SHOWN_AT_LEAST = 110


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Some rows, in the order in which the world shows them."""

    #: float32 (rows, ...): one row as the dataset has it.
    values: NDArray[np.float32]
    #: One input id per row; no other stage has the same.
    ids: tuple[str, ...]
    #: The truth, one per row.
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, which: slice) -> "Rows":
        """Some of them."""
        return Rows(values=self.values[which], ids=self.ids[which], labels=self.labels[which])

    def shown_and_held_out(self) -> tuple["Rows", "Rows"]:
        """Half of them, rounded down, and the rest; of few rows up to two thirds are shown."""
        middle = max(len(self) // 2, min(_SHOWN_AT_LEAST, 2 * len(self) // 3))
        return self.part(slice(None, middle)), self.part(slice(middle, None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stretch of time."""

    #: How the table calls it: the number of a batch, or what happened.
    name: int | str
    rows: Rows

    def parts(self, number: int) -> Iterator["Stage"]:
        """As many shorter stretches of about equal length."""
        for part in range(number):
            start, end = (len(self.rows) * place // number for place in (part, part + 1))
            yield Stage(name=f"{self.name} {part + 1}", rows=self.rows.part(slice(start, end)))


class Scenario(Protocol):
    """A world to run the demo in."""

    #: Of the dataset, the model and the deployment.
    name: str
    #: Array with the class, and the recipe that learns it.
    label: str
    recipe: str
    #: Share of the imported rows that only judges.
    hold_out: float

    def write_dataset(self, folder: Path, *, seed: int) -> Path:
        """Write what the first model learns from, as a file that `edgeops dataset import` takes."""

    def stages(self, seed: int) -> Iterator[Stage]:
        """The world after the import, stretch by stretch."""

    def control(self, seed: int) -> Stage:
        """More of the world that the first model knows."""


def shuffled(values: NDArray[np.float32], labels: Sequence[str], *, prefix: str, random: np.random.Generator) -> Rows:
    """Rows in random order: data sets are often sorted by class, sensors never are."""
    order = random.permutation(len(values))
    return Rows(
        values=np.ascontiguousarray(values[order], dtype=np.float32),
        ids=tuple(f"{prefix}-{row}" for row in order),
        labels=tuple(labels[row] for row in order),
    )
