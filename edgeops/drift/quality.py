"""Finds readings that cannot be trusted: missing, stuck, far out of range.

A broken sensor is no new world: what it says is kept out of drift, blocks retraining and calls a person. A channel
that never changed in the reference has no distribution to be compared with; that it changes now is told here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.drift.baseline import Baseline
from edgeops.drift.finding import Fault, QualityIssue
from edgeops.drift.history import NEVER, History, Moments
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.statistics import effective_rows

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Missing values beyond the reference's share, and in standard errors.
_MORE_MISSING = 0.1
_LEAST_ERRORS = 4.0
#: Surprise, in nats, at which a value that does not change is stuck: about one in a million.
_STUCK_SURPRISE = 14.0
#: Without time order it is not known how long a value may stay: rows count a tenth, and a value as common as this
#: may stay for ever.
_UNORDERED_WORTH = 0.1
_COMMON = 0.25
#: Of the grid, squared: what rounding alone can show.
_HALF_A_STEP = 0.25
#: Rows away from the only value of a constant channel.
_RESTLESS = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Faults:
    """(devices, channels) each; a device that sent too few rows has none."""

    #: (devices,) whether they sent anything, and enough.
    was_heard: Flags
    was_looked_at: Flags
    missing: Flags
    stuck: Flags
    out_of_range: Flags
    #: Shares of missing values and means on the reference's grid, for the words.
    missing_share: Floats
    mean: Floats

    @property
    def any(self) -> Flags:
        """Any fault."""
        return self.missing | self.stuck | self.out_of_range


def find_faults(history: History, baseline: Baseline, policy: DriftPolicy, *, is_input: Flags) -> Faults:
    """Of each device by its newest windows that hold enough rows."""
    rows = (history.running.present + history.running.missing)[..., 0]
    is_enough = rows >= policy.min_rows
    looked_at = np.asarray(is_enough.any(axis=0))
    shape = history.running.present.shape[1:]
    ages = np.broadcast_to(np.where(looked_at, is_enough.argmax(axis=0), NEVER)[:, np.newaxis], shape)
    newest = history.moments(ages)
    counts = history.counts(ages[np.newaxis])[0]
    # Answers and projections are no readings: where they move, the model met something new.
    known = looked_at[:, np.newaxis] & (baseline.present > 0) & is_input
    present = np.maximum(newest.present, 1)
    mean = newest.total / present
    return Faults(
        was_heard=history.rows() > 0,
        was_looked_at=looked_at,
        missing=known & _are_missing(newest, baseline),
        stuck=known & _are_stuck(newest, counts, baseline, policy),
        out_of_range=known & _are_out_of_range(newest, counts, mean, baseline, policy),
        missing_share=newest.missing / np.maximum(newest.present + newest.missing, 1),
        mean=mean,
    )


def issues(faults: Faults, baseline: Baseline, devices: Sequence[int]) -> tuple[QualityIssue, ...]:
    """What more than half of these devices share, in words; of one device, what it has.

    Where several were heard, one alone is not more than half of them, although the others sent too little to tell.
    """
    looked_at = [device for device in devices if faults.was_looked_at[device]]
    least = min(2, sum(bool(faults.was_heard[device]) for device in devices))
    found = []
    for fault, flags in (
        (Fault.MISSING, faults.missing),
        (Fault.STUCK, faults.stuck),
        (Fault.OUT_OF_RANGE, faults.out_of_range),
    ):
        affected = flags[looked_at].sum(axis=0) if looked_at else np.zeros(len(baseline.names), np.intp)
        for channel in np.flatnonzero((2 * affected > len(looked_at)) & (affected >= least)).tolist():
            whose = [device for device in looked_at if flags[device, channel]]
            detail = _detail(fault, faults, baseline, channel, whose)
            if len(devices) > 1:
                detail += f", on {len(whose)} of {len(looked_at)} devices"
            found.append(QualityIssue(channel=baseline.names[channel], fault=fault, detail=detail))
    return tuple(found)


def _detail(fault: Fault, faults: Faults, baseline: Baseline, channel: int, devices: Sequence[int]) -> str:
    value = baseline.centre[channel] + baseline.step[channel] * float(np.median(faults.mean[devices, channel]))
    low, high = baseline.range_of(channel)
    match fault:
        case Fault.MISSING:
            share = float(np.median(faults.missing_share[devices, channel]))
            return f"{share:.0%} of the values are missing, in the reference {baseline.missing[channel]:.1%}"
        case Fault.STUCK:
            return f"stays at {value:.6g} although it moved between {low:.6g} and {high:.6g} in the reference"
        case Fault.OUT_OF_RANGE:
            if baseline.is_constant[channel]:
                return f"was {low:.6g} throughout the reference and is {value:.6g} on average now"
            return f"is {value:.6g} on average, far outside {low:.6g} to {high:.6g} in the reference"


def _are_missing(newest: Moments, baseline: Baseline) -> Flags:
    rows = np.maximum(newest.present + newest.missing, 1)
    share, usual = newest.missing / rows, baseline.missing
    error = np.sqrt(np.maximum(usual * (1 - usual), 1 / rows) / rows)
    return np.asarray(share - usual >= np.maximum(_MORE_MISSING, _LEAST_ERRORS * error))


def _are_stuck(newest: Moments, counts: Floats, baseline: Baseline, policy: DriftPolicy) -> Flags:
    present = newest.present
    variance = newest.squares / np.maximum(present, 1) - np.square(newest.total / np.maximum(present, 1))
    # The grid may be coarse where the reference had a wild value; one value falls into one bin.
    is_one_value = (newest.steps == 0) & (variance < _HALF_A_STEP) & (counts.max(axis=-1) == present)
    stays = (present >= policy.min_rows) & (newest.pairs > 0) & is_one_value
    usual = np.take_along_axis(baseline.shares[np.newaxis], counts.argmax(axis=-1)[..., np.newaxis], axis=-1)[..., 0]
    worth = effective_rows(present, baseline.lag1) * (1.0 if baseline.is_ordered else _UNORDERED_WORTH)
    surprise = -worth * np.log(np.maximum(usual, 1 / np.maximum(baseline.present, 1)))
    may_stay = baseline.is_constant | baseline.is_discrete | ((usual >= _COMMON) & (not baseline.is_ordered))
    return np.asarray(stays & ~may_stay & (surprise >= _STUCK_SURPRISE))


def _are_out_of_range(newest: Moments, counts: Floats, mean: Floats, baseline: Baseline, policy: DriftPolicy) -> Flags:
    # A mean further outside the reference's range than the range is wide.
    wide = baseline.high - baseline.low
    present = np.maximum(newest.present, 1)
    # One wild reading moves a mean anywhere: most of the rows must lie at the edge.
    above = (mean > baseline.high + wide) & (2 * counts[..., -1] > present)
    below = (mean < baseline.low - wide) & (2 * counts[..., 0] > present)
    away = above | below
    elsewhere = np.where(baseline.shares == 0, counts, 0).sum(axis=-1) / present
    restless = (elsewhere >= _RESTLESS) & (newest.squares >= present)
    enough = newest.present >= policy.min_rows
    return np.asarray(enough & np.where(baseline.is_constant, restless, away & ~baseline.is_discrete))
