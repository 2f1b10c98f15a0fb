"""The version that shall be replaced, beside the one that replaces it, on rows that say something about both.

Rows that the champion learnt from speak for it, so where enough others are left, those alone judge; where not, it is
said how many it may have learnt from. Rows are told apart by their values: of a table with few different rows, all may
be known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Variant
from edgeops.data.seen import Fingerprints, fingerprints
from edgeops.data.splits import Split
from edgeops.learning.anomaly import Alarms
from edgeops.learning.classification import Answers
from edgeops.learning.promotion import Champion
from edgeops.learning.regression import Estimates
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import read_snapshot
from fleet_server.ml.frames import Bring, Build
from fleet_server.ml.windows import WindowedSnapshot

#: Fewer rows that the champion never saw say too little on their own.
_FEWEST_ROWS = 50
#: What is compared row by row.
AnswersT = TypeVar("AnswersT", Answers, Estimates, Alarms)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learnt:
    """What a champion learnt from."""

    rows: Fingerprints
    #: Of the bought ones among them, the samples.
    samples: frozenset[str]
    #: Devices that were left out.
    without: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Champions:
    """The champion's files by variant; empty = there is none that answers the same."""

    models: Mapping[Variant, Model]
    #: Which windows of the evaluation set it never learnt from (n,).
    unseen: NDArray[np.bool_]
    #: None = nobody knows what the champion learnt from, or there is none.
    learnt: Learnt | None = None

    def beside(
        self, variant: Variant, challenger: AnswersT, *, judge: Callable[[Model], AnswersT]
    ) -> Champion[AnswersT] | None:
        """What it answers to the evaluation set, beside what its challenger does; None = there is none."""
        model = self.models.get(variant)
        if model is None:
            return None
        answers = judge(model)
        if np.count_nonzero(self.unseen) < min(_FEWEST_ROWS, len(self.unseen)):
            return Champion(answers=answers, challenger=challenger, seen=int(np.count_nonzero(~self.unseen)))
        return Champion(answers=answers.only(self.unseen), challenger=challenger.only(self.unseen))

    def close(self) -> None:
        """End them."""
        for model in self.models.values():
            model.close()


def load_champions(task: Build | Bring, windows: WindowedSnapshot) -> Champions:
    """The models that variants are compared with; one stands in for a variant of it that was never built.

    None if they read other windows, as of another length, rate or time zone: those could not answer the same ones.

    Raises:
        ArtifactError: a file cannot be read.
    """
    loaded = {variant: Model.load(Path(file)) for variant, file in task.champion.items()}
    # Of one that was brought as a file, the snapshot only judged it.
    is_brought = any(model.manifest.lineage.brought is not None for model in loaded.values())
    learnt = None if is_brought or task.champion_snapshot is None else _learnt(Path(task.champion_snapshot))
    if not all(model.manifest.window.reads_like(windows.window) for model in loaded.values()):
        loaded = {}
    wanted = Variant if loaded else ()
    models = {variant: loaded[variant if variant in loaded else next(iter(loaded))] for variant in wanted}
    return Champions(models=models, unseen=_unseen(task, windows, learnt), learnt=learnt)


def _learnt(file: Path) -> Learnt:
    snapshot = read_snapshot(file)
    return Learnt(
        rows=fingerprints(snapshot.rows.values[snapshot.splits != Split.EVALUATION]),
        samples=frozenset(one.sample for one in snapshot.purchases),
        without=frozenset(snapshot.schema.without),
    )


def _unseen(task: Build | Bring, windows: WindowedSnapshot, learnt: Learnt | None) -> NDArray[np.bool_]:
    judging = windows.of(Split.EVALUATION)
    # A healed model is judged by the very rows that its champion was judged by.
    if not task.champion or task.healing is not None:
        return np.ones(len(judging), dtype=np.bool_)
    if learnt is None:
        return np.zeros(len(judging), dtype=np.bool_)
    rows = windows.snapshot.rows
    known = np.isin(fingerprints(rows.values), learnt.rows)
    return np.asarray(~known[windows.places[judging]].any(axis=1))
