"""Chooses what is watched of a model: at most 64 channels, each one scalar per inference.

A table narrow enough keeps all its columns; a wide one the columns that tell most of what is learnt and projections
of the embedding, which move when anything else does. Images are watched by statistics, windows of several rows
by what each column does within them. A number has no certainty that could be watched. What a clock gives is not
watched: in the hours of a telemetry window it never looks as it did over weeks, so that it would always have drifted;
a clock that is wrong is told by other means. What a channel's value is, `edgeops.model.channels` computes.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.artifact.manifest import Channel, ChannelKind, Task
from edgeops.data.splits import Split
from edgeops.model.model import Model
from edgeops.sketch.calibration import Calibration
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.reference import ReferenceProfile
from fleet_server.ml.judging import channels_of
from fleet_server.ml.windows import WindowedSnapshot

#: What one telemetry window is budgeted for; a narrow table is filled up to it with projections.
_BUDGET = 16
_WIDE_PROJECTIONS = 14
#: Of the answer and its certainty, so many fit beside them.
_WIDE_OUTPUTS = 2
_PROJECTION = "projection-"
_ANSWER = Channel(name="answer", kind=ChannelKind.ANSWER)
_CONFIDENCE = Channel(name="confidence", kind=ChannelKind.CONFIDENCE)
_MARGIN = Channel(name="margin", kind=ChannelKind.MARGIN)
#: Windows of the reference profile; more would not move a quantile that anybody could tell. Those in time order are
#: taken in pieces, whose consecutive ones tell the autocorrelation.
_REFERENCE_WINDOWS = 20_000
_REFERENCE_PIECES = 20
#: Level, spread and the furthest reading: what moves when a signal does, whatever its shape.
_FEATURES = (ChannelKind.MEAN, ChannelKind.STD, ChannelKind.PEAK)
_IMAGE = (ChannelKind.BRIGHTNESS, ChannelKind.CONTRAST, ChannelKind.SHARPNESS, ChannelKind.CLIPPED)


def image_channels(task: Task) -> tuple[Channel, ...]:
    """Four statistics of the image, the answer with its certainty, and projections up to the budget."""
    statistics = tuple(Channel(name=kind.value, kind=kind) for kind in _IMAGE)
    outputs = _outputs(task)
    return statistics + outputs + _projections(_BUDGET - len(statistics) - len(outputs))


def table_channels(
    task: Task, columns: tuple[str, ...], rows: NDArray[np.float32], targets: NDArray[Any]
) -> tuple[Channel, ...]:
    """Channels of a table.

    Args:
        task: what is learnt.
        columns: names of what was measured, in the order of the input window.
        rows: preprocessed training rows (n, columns), perhaps with columns of a clock behind those.
        targets: class index or number of each row, as it is learnt.
    """
    outputs, rows = _outputs(task), rows[:, : len(columns)]
    if len(columns) + len(outputs) <= limits.MAX_CHANNELS:
        watched = _columns(columns, range(len(columns)))
        return watched + outputs + _projections(max(_BUDGET - len(watched) - len(outputs), 0))
    tells = anova_f(rows, targets) if task is Task.CLASSIFICATION else correlation(rows, targets)
    telling = np.argsort(-tells, kind="stable")[: limits.MAX_COLUMN_CHANNELS]
    watched = _columns(columns, sorted(int(index) for index in telling))
    return (*watched, *outputs[:_WIDE_OUTPUTS], *_projections(_WIDE_PROJECTIONS))


def window_channels(
    task: Task, columns: tuple[str, ...], windows: NDArray[np.float32], targets: NDArray[Any]
) -> tuple[Channel, ...]:
    """Channels of windows of several rows: features of each column where there is room for all.

    Where there is not, the last row of a window is watched as the row of a table is: each row is the last one of some
    window sooner or later, and the columns that tell most are chosen there.

    Args:
        task: what is learnt.
        columns: as for `table_channels`.
        windows: preprocessed windows that are learnt from (n, rows, columns), or raw ones if that makes no rows.
        targets: as for `table_channels`.
    """
    outputs = _outputs(task)
    if len(_FEATURES) * len(columns) + len(outputs) > limits.MAX_CHANNELS:
        return table_channels(task, columns, windows[:, -1], targets)
    watched = tuple(
        Channel(name=f"{kind} {column}", kind=kind, index=index)
        for index, column in enumerate(columns)
        for kind in _FEATURES
    )
    return watched + outputs + _projections(max(_BUDGET - len(watched) - len(outputs), 0))


def learnt_profile(
    model: Model,
    windows: WindowedSnapshot,
    names: list[str],
    *,
    discrete: Collection[str] = (),
    answer: str | None = None,
    calibration: Calibration | None = None,
    borders: Mapping[str, np.float32] | None = None,
) -> ReferenceProfile:
    """What a model's channels are over the windows that it learnt from; `build_reference` says what else there is."""
    return build_reference(
        channels_of(model, _reference_windows(windows))[0],
        names,
        discrete=discrete,
        ordered=windows.is_ordered,
        answer=answer,
        calibration=calibration,
        borders=borders,
    )


def anova_f(rows: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Per column, variance between the classes over variance within (one-way analysis of variance)."""
    values = rows.astype(np.float64)
    mean = values.mean(axis=0)
    between, within = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    kinds = np.unique(classes)
    for kind in kinds:
        group = values[classes == kind]
        between += len(group) * (group.mean(axis=0) - mean) ** 2
        within += ((group - group.mean(axis=0)) ** 2).sum(axis=0)
    freedom = (len(values) - len(kinds)) / max(len(kinds) - 1, 1)
    return np.divide(between * freedom, within, out=np.zeros_like(between), where=within > 0)


def correlation(rows: NDArray[np.float32], numbers: NDArray[np.float32]) -> NDArray[np.float64]:
    """Per column, |Pearson's correlation| with a number (n,); 0 of a constant column."""
    values, wanted = (one.astype(np.float64) - one.mean(axis=0, dtype=np.float64) for one in (rows, numbers))
    together, apart = np.abs(wanted @ values), np.sqrt((values**2).sum(axis=0) * (wanted**2).sum())
    share: NDArray[np.float64] = np.divide(together, apart, out=np.zeros_like(together), where=apart > 0)
    return share


def _reference_windows(windows: WindowedSnapshot) -> NDArray[np.float32]:
    """(n, rows, columns) that were learnt from; in time order all imported ones, for the others lie between them."""
    if not windows.is_ordered:
        learnt = windows.normal(windows.of(Split.TRAIN))
        places = np.linspace(0, len(learnt) - 1, num=min(_REFERENCE_WINDOWS, len(learnt)), dtype=np.int64)
        return windows.at(learnt[places]).values
    numbers = windows.normal(windows.in_order())
    if len(numbers) > _REFERENCE_WINDOWS:
        length = _REFERENCE_WINDOWS // _REFERENCE_PIECES
        starts = np.linspace(0, len(numbers) - length, num=_REFERENCE_PIECES, dtype=np.int64)
        numbers = np.concatenate([numbers[start : start + length] for start in starts])
    return windows.at(numbers).values


def _outputs(task: Task) -> tuple[Channel, ...]:
    return (_ANSWER, _CONFIDENCE, _MARGIN) if task is Task.CLASSIFICATION else (_ANSWER,)


def _columns(names: tuple[str, ...], indexes: Iterable[int]) -> tuple[Channel, ...]:
    return tuple(Channel(name=_unmistakable(names[index]), kind=ChannelKind.COLUMN, index=index) for index in indexes)


def _unmistakable(column: str) -> str:
    """Channel names must differ, and a column may be called as an output or a projection is."""
    is_taken = column in (_ANSWER.name, _CONFIDENCE.name, _MARGIN.name) or column.startswith(_PROJECTION)
    return f"column {column}" if is_taken else column


def _projections(count: int) -> tuple[Channel, ...]:
    return tuple(
        Channel(name=f"{_PROJECTION}{index}", kind=ChannelKind.PROJECTION, index=index) for index in range(count)
    )
