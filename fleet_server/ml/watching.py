"""Chooses what is watched of a model: at most 64 channels, each one scalar per inference.

A table narrow enough keeps all its columns; a wide one the columns that tell the classes apart best and
projections of the embedding, which move when anything else does. Images are watched by statistics. What
a channel's value is, `edgeops.model.channels` computes.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.artifact.manifest import Channel, ChannelKind

#: What one telemetry window is budgeted for; a narrow table is filled up to it with projections.
_BUDGET = 16
_WIDE_PROJECTIONS = 14
_PROJECTION = "projection-"
_ANSWER = Channel(name="answer", kind=ChannelKind.ANSWER)
_CONFIDENCE = Channel(name="confidence", kind=ChannelKind.CONFIDENCE)
_MARGIN = Channel(name="margin", kind=ChannelKind.MARGIN)
_IMAGE = (ChannelKind.BRIGHTNESS, ChannelKind.CONTRAST, ChannelKind.SHARPNESS, ChannelKind.CLIPPED)


def image_channels() -> tuple[Channel, ...]:
    """Four statistics of the image, the answer with its certainty, and projections up to the budget."""
    statistics = tuple(Channel(name=kind.value, kind=kind) for kind in _IMAGE)
    outputs = (_ANSWER, _CONFIDENCE, _MARGIN)
    return statistics + outputs + _projections(_BUDGET - len(statistics) - len(outputs))


def table_channels(
    columns: tuple[str, ...], rows: NDArray[np.float32], classes: NDArray[np.int64]
) -> tuple[Channel, ...]:
    """Channels of a table.

    Args:
        columns: names, in the order of the input window.
        rows: preprocessed training rows (n, columns).
        classes: class index of each row.
    """
    outputs = (_ANSWER, _CONFIDENCE, _MARGIN)
    if len(columns) + len(outputs) <= limits.MAX_CHANNELS:
        watched = _columns(columns, range(len(columns)))
        return watched + outputs + _projections(max(_BUDGET - len(watched) - len(outputs), 0))
    telling = np.argsort(-anova_f(rows, classes), kind="stable")[: limits.MAX_COLUMN_CHANNELS]
    watched = _columns(columns, sorted(int(index) for index in telling))
    return (*watched, _ANSWER, _CONFIDENCE, *_projections(_WIDE_PROJECTIONS))


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
