"""Holds merged windows against the reference: which channels of which streams have moved.

Windows merge, the newest first and channel by channel, until a merged window holds enough rows and enough independent
ones; up to three such **judged windows** follow each other. Beside them stand **merged windows** that all begin with
the newest and reach further and further back. A channel has moved when the same channel differs, significantly and
materially, in two of the judged windows, or in one merged window at a far stricter level.

All streams and channels are worked on at once. What a stream is (a device, or a group seen as one) is the caller's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.drift.baseline import Baseline
from edgeops.drift.history import NEVER, Ages, History, Moments
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.statistics import effective_rows, holm, ks_distance, ks_p_value, rank_p_value, rank_shift

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_JUDGED = 3
_NEEDED = 2


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Which windows merge: (spans, streams, channels) each; the first three are the judged windows."""

    #: Age of the oldest window, NEVER where there is no such span, and of the newest one before the span.
    upto: Ages
    after: Ages
    #: Rows of one source in time, independent rows, and lag-1 autocorrelation behind them.
    source_rows: Floats
    effective: Floats
    lag1: Floats
    #: Whether the span may decide alone.
    is_merged: Flags


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """(spans, streams, channels) each, in the order of the spans."""

    exists: Flags
    cumulative: Floats
    distance: Floats
    #: Corrected over channels.
    p_value: Floats
    effective: Floats
    floor: Floats
    #: (streams, channels): what it comes to, and the span that shows it best.
    drifted: Flags
    telling: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What sums of windows are worth to a judgement, (..., streams, channels)."""

    rows: Floats
    source_rows: Floats
    effective: Floats
    lag1: Floats


def worth_alone(moments: Moments, baseline: Baseline) -> Worth:
    """Each stream by itself."""
    lag = np.maximum(moments.lag1(), baseline.lag1)
    return Worth(moments.present, moments.present, effective_rows(moments.present, lag), lag)


def find_spans(
    history: History,
    baseline: Baseline,
    policy: DriftPolicy,
    *,
    worth: Callable[[Moments], Worth],
    streams: int,
    is_merged: bool,
) -> Spans:
    """The spans of a history. `is_merged` says that one window alone is merged already: over devices."""
    shape = (streams, len(baseline.names))
    ages = np.arange(history.length).reshape(-1, 1, 1)
    found: list[tuple[Ages, Ages, Worth, Flags]] = []
    for least in (policy.min_effective_rows, policy.min_effective_rows * policy.widening):
        before = np.full(shape, NEVER, np.intp)
        has_ended = np.zeros(shape, np.bool_)
        for _ in range(_JUDGED):
            base = history.moments(before, np.full(shape, NEVER, np.intp))
            value = worth(history.running.minus(base))
            is_enough = _enough(value, baseline, policy, least) & (ages > before) & ~has_ended
            upto = np.where(is_enough.any(axis=0), is_enough.argmax(axis=0), NEVER)
            found.append((upto, before, _at(value, upto), is_merged | (upto - before > 1)))
            has_ended, before = upto == NEVER, np.where(upto == NEVER, before, upto)
    newest = found[0][0]
    whole = worth(history.running)
    enough = _enough(whole, baseline, policy, policy.min_effective_rows)
    reach = 1
    while reach < history.length:
        age = min(2 * reach, history.length) - 1
        upto = np.where(enough[age] & (newest != NEVER) & (age > newest), age, NEVER)
        found.append((upto, np.full(shape, NEVER, np.intp), _at(whole, upto), np.ones(shape, np.bool_)))
        reach *= 2
    return Spans(
        upto=np.array([upto for upto, _, _, _ in found]),
        after=np.array([after for _, after, _, _ in found]),
        source_rows=np.array([value.source_rows for _, _, value, _ in found]),
        effective=np.array([value.effective for _, _, value, _ in found]),
        lag1=np.array([value.lag1 for _, _, value, _ in found]),
        is_merged=np.array([merged for _, _, _, merged in found])
        & np.array([place == 0 or place >= 2 * _JUDGED for place in range(len(found))]).reshape(-1, 1, 1),
    )


def weigh(
    spans: Spans, cumulative: Floats, effective: Floats, baseline: Baseline, policy: DriftPolicy, *, together: bool
) -> Evidence:
    """Test every span.

    Args:
        spans: of the streams.
        cumulative: (spans, streams, channels, 32) histograms of the spans.
        effective: (spans, streams, channels) independent rows to test with.
        baseline: the reference.
        policy: the levels.
        together: correct over streams as well as over channels.
    """
    exists = (spans.upto != NEVER) & ~baseline.is_constant
    distance = np.where(exists, ks_distance(cumulative, baseline.cumulative), 0.0)
    m = baseline.effective(spans.lag1)
    shift = rank_shift(cumulative, baseline.cumulative)
    both = np.stack((ks_p_value(distance, effective, m), rank_p_value(shift, effective, m)), axis=-1)
    raw = np.where(exists[..., np.newaxis], both, 1.0)
    tests = raw.reshape((len(raw), -1) if together else (*raw.shape[:2], -1))
    corrected = holm(tests).reshape(raw.shape).min(axis=-1)
    floor = np.maximum(policy.floor, baseline.floor(spans.source_rows))
    is_material = exists & (distance >= floor)
    hits = is_material & (corrected <= policy.alpha)
    alone = is_material & spans.is_merged & (corrected <= policy.merged_alpha)
    again = [hits[first : first + _JUDGED].sum(axis=0) >= _NEEDED for first in (0, _JUDGED)]
    twice = again[0] | again[1]
    # The newest judged window is shown unless another span is what decides.
    decides = np.where(twice, hits & (np.arange(len(raw)) < 2 * _JUDGED).reshape(-1, 1, 1), alone)
    return Evidence(
        exists=exists,
        cumulative=cumulative,
        distance=distance,
        p_value=corrected,
        effective=effective,
        floor=floor,
        drifted=twice | alone.any(axis=0),
        telling=np.asarray(np.where(decides, corrected, 2.0).argmin(axis=0)),
    )


def _enough(value: Worth, baseline: Baseline, policy: DriftPolicy, least: float) -> Flags:
    of_reference = baseline.effective(value.lag1) >= policy.min_effective_rows
    return np.asarray(
        (value.rows >= policy.min_rows) & (value.effective >= least) & of_reference
    )


def _at(value: Worth, upto: Ages) -> Worth:
    place = np.maximum(upto, 0)[np.newaxis]

    def pick(part: Floats) -> Floats:
        return np.asarray(np.where(upto == NEVER, 0.0, np.take_along_axis(part, place, axis=0)[0]))

    return Worth(pick(value.rows), pick(value.source_rows), pick(value.effective), pick(value.lag1))
