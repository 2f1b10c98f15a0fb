"""What a snapshot says of itself: its columns, its rows by split and class, how it came about, what is odd about it."""

import msgspec

from edgeops.artifact.manifest import InputWindow, Task, TimeColumn
from edgeops.data.clip import Clip
from edgeops.data.leaks import Leaks
from edgeops.data.reasons import Reason
from edgeops.data.rules import TICKS, Rules
from edgeops.protocol.messages import Digest, Id

FORMAT = 3
#: The quantiles that are kept of each column.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class ColumnStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the training rows say about one column; missing values do not count."""

    minimum: float
    maximum: float
    mean: float
    std: float
    missing: int
    #: At `QUANTILES`.
    quantiles: tuple[float, ...] = ()


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds and how it came about."""

    format: int
    task: Task
    label: str
    #: Of what is to be learnt, where that is a number.
    units: str
    columns: tuple[str, ...]
    #: Shape of one row: (columns,), or (height, width[, channels]) of an image.
    shape: tuple[int, ...]
    #: What a row is, if a recording: it holds so many times `shape`, one reading after the other.
    clip: Clip | None = None
    #: Names of the classes; empty unless the task is classification.
    classes: tuple[str, ...]
    rows: int
    #: Rows per split, and per class over all splits, in the order of `Split` and `classes`.
    split_rows: tuple[int, int, int]
    class_rows: tuple[int, ...]
    statistics: tuple[ColumnStatistics, ...]
    #: The imported file, and how rows were chosen.
    source: Digest
    where: tuple[str, ...]
    hold_out: float
    seed: int
    #: Whether the file's rows are consecutive rows of one source, oldest first.
    ordered: bool = False
    #: All that was said of the file; none of a snapshot that was put together otherwise.
    rules: Rules | None = None
    #: How many groups there are.
    groups: int = 0
    #: Rows that were refused, by reason; the quarantine is the blob that keeps them.
    refused: dict[Reason, int] = {}
    quarantine: Digest | None = None
    leaks: Leaks = Leaks()
    #: What a person should know of the rows, in words.
    warnings: tuple[str, ...] = ()
    #: The snapshot that this one extends.
    parent: Digest | None = None
    #: Devices that rows were bought from: what `origin` points into.
    devices: tuple[Id, ...] = ()
    #: Devices left out, with all that descends from them.
    without: tuple[Id, ...] = ()
    #: Bought rows, and how many of them people labelled and the parent did not have; these are the last rows.
    bought_rows: int = 0
    fresh_rows: int = 0

    def window(self, *, rows: int = 1, stride: int = 1) -> InputWindow:
        """The input window of a model that reads so many rows; it says when they are of if anything depends on that."""
        rules = self.rules
        window = InputWindow(columns=self.columns, rows=rows, stride=stride)
        if rules is None or not rules.time or (not rules.clock and rows == stride == 1):
            return window
        time = TimeColumn(name=rules.time, tick_ns=TICKS[rules.of(rules.time).unit], zone=rules.zone)
        return msgspec.structs.replace(window, time=time, clock=rules.clock)
