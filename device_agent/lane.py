"""One loaded model at work: its input window, where its columns are in a row, the sinks that hear it, its sketch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_agent.pool import Pool
from device_agent.sinks.sink import Sink
from edgeops.artifact.manifest import InputWindow
from edgeops.model.model import Model
from edgeops.model.resampling import GridBuffer, buffer_of
from edgeops.protocol.messages import Phase
from edgeops.sketch.window import Sketcher


@dataclass(frozen=True, slots=True)
class Charge:
    """A loaded model and the standing under which it answers."""

    digest: str
    phase: Phase
    model: Model

    @property
    def columns(self) -> tuple[str, ...]:
        """What it reads of a row."""
        return self.window.measured

    @property
    def window(self) -> InputWindow:
        """The rows that it reads at once."""
        return self.model.manifest.window


class Lane:
    """A model with its own input window, and the sinks that hear it."""

    __slots__ = ("_buffer", "charge", "is_whole", "picks", "pool", "predict", "push", "sinks", "sketcher")

    def __init__(self, charge: Charge) -> None:
        self.charge = charge
        #: Where what was answered is kept; None = nothing of it may be nominated.
        self.pool: Pool | None = None
        self._buffer = buffer_of(charge.model.manifest.window)
        self.push = self._buffer.push
        self.predict = charge.model.predict
        self.sketcher = None if charge.model.reference is None else Sketcher(charge.model.reference)
        self.sinks: list[Sink] = []
        #: Where what this model reads is in a row; None = the row is exactly that.
        self.picks: list[int] | None = None
        #: Whether a row is what the input window takes.
        self.is_whole = False

    @property
    def disordered(self) -> int:
        """Rows that were no later than the one before, where they are put on a grid."""
        return self._buffer.disordered if isinstance(self._buffer, GridBuffer) else 0

    def read(self, columns: Sequence[str]) -> None:
        """Rows that come now hold these columns; what the input window holds already stays."""
        own = self.charge.columns
        self.picks = None if tuple(columns) == own else [columns.index(name) for name in own]
        self.is_whole = self.picks is None and self.charge.model.clock is None

    def own(self, row: NDArray[np.float32], moment_ns: int | None) -> NDArray[np.float32]:
        """Of a row, what this model's input window takes: its columns, and those of the clock at that moment."""
        row = row if self.picks is None else row[self.picks]
        clock = self.charge.model.clock
        return row if clock is None else clock.beside(row, moment_ns)

    def hear(self, sinks: list[Sink]) -> None:
        """Let these sinks hear this model; those that did not are told whose answers come."""
        for sink in sinks:
            if sink not in self.sinks:
                sink.begin(self.charge.digest, self.charge.phase)
        self.sinks = sinks
