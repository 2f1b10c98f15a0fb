"""Looks closer at one file: which groups of rows it answers worst, and what it costs to lose one input column.

Everything is answered through `Model.predict`. What follows from it, `edgeops.learning.slices` and `.fragility` say.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import ChannelKind, MissingPolicy
from edgeops.data.splits import Split
from edgeops.learning.fragility import LostColumn
from edgeops.learning.scrutiny import Scrutiny
from edgeops.learning.slices import Slice, by_group
from edgeops.model.model import Model
from fleet_server.ml.attribution import permuted_columns
from fleet_server.ml.trained import Trained
from fleet_server.ml.windows import WindowedSnapshot, Windows

Floats = NDArray[np.float64]

#: Answers that the loss of columns may take in all, and windows that each is tried on.
_ANSWERS = 8_000
_WINDOWS = (40, 200)
#: Channels that tell which columns are watched.
_OF_A_COLUMN = (ChannelKind.COLUMN, ChannelKind.MEAN, ChannelKind.STD, ChannelKind.RMS, ChannelKind.PEAK)
#: Rows in time order are alike, so the intervals of what they cost count stretches instead.
_STRETCHES = 20


def scrutinize(model: Model, trained: Trained, costs: Floats, *, ask: Callable[[Model, Windows], Floats]) -> Scrutiny:
    """What of the evaluation set costs most.

    Args:
        model: the file.
        trained: what it was made of.
        costs: (n,) what its answers to the windows of the evaluation set cost.
        ask: lets a model answer windows (m), and says what each answer costs (m,).
    """
    windows = trained.windows.only(Split.EVALUATION)
    return Scrutiny(
        slices=_slices(trained, windows, costs),
        columns=() if trained.plan.is_image else _lost_columns(model, trained, windows, ask),
        permuted=()
        if trained.plan.is_image
        else permuted_columns(
            model,
            windows,
            names=trained.schema.columns,
            watched=_watched(trained),
            seed=trained.task.seed,
            ask=ask,
        ),
    )


def _slices(trained: Trained, windows: Windows, costs: Floats) -> tuple[Slice, ...]:
    """By group, then by each of the columns of slices."""
    snapshot, rules = trained.windows.snapshot, trained.schema.rules
    found = by_group(costs, windows.groups, snapshot.groups, by="" if rules is None else rules.group)
    for place, names in enumerate(snapshot.slices):
        assert rules is not None, "they name the columns"
        found += by_group(costs, windows.slices[:, place], names, by=rules.slices[place])
    return found


def clusters_of(windows: WindowedSnapshot) -> NDArray[np.int64] | None:
    """Which windows (n,) of the evaluation set are alike: those of one group or stretch of time; None = none are."""
    groups = windows.only(Split.EVALUATION).groups
    if (groups >= 0).all() and len(np.unique(groups)) > 1:
        return groups
    if windows.is_ordered:
        return np.arange(len(groups)) * _STRETCHES // len(groups)
    return None


def _lost_columns(
    model: Model, trained: Trained, windows: Windows, ask: Callable[[Model, Windows], Floats]
) -> tuple[LostColumn, ...]:
    """Those that are watched: all of a narrow table, of a wide one those that tell most of what is learnt."""
    watched = _watched(trained)
    if not watched:
        return ()
    count = min(int(np.clip(_ANSWERS // (2 * len(watched)), *_WINDOWS)), len(windows))
    sample = windows.only(np.linspace(0, len(windows) - 1, num=count, dtype=np.int64))
    learnt = trained.windows.only(Split.TRAIN).values
    medians = [_median(learnt[..., index]) for index in watched]
    whole = float(ask(model, sample).mean())

    def loss(index: int, value: float) -> float:
        changed = sample.values.copy()
        changed[..., index] = value
        return float(f"{float(ask(model, sample.with_values(changed)).mean()) - whole:.6g}")

    refuses = model.manifest.missing is MissingPolicy.REFUSE
    lost = [
        LostColumn(
            column=trained.schema.columns[index],
            missing=None if refuses else loss(index, np.nan),
            stuck=loss(index, median),
        )
        for index, median in zip(watched, medians, strict=True)
    ]
    return tuple(sorted(lost, key=lambda one: (-one.loss, one.column)))


def _watched(trained: Trained) -> list[int]:
    return sorted({one.index for one in trained.channels if one.kind in _OF_A_COLUMN})


def _median(readings: NDArray[np.float32]) -> float:
    """Of those that are there; NaN of none."""
    there = readings[~np.isnan(readings)]
    return float(np.median(there)) if len(there) else np.nan
