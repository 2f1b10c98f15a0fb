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
from edgeops.drift.guard import guard_of
from edgeops.drift.history import NEVER, Ages, History, Moments
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.statistics import beyond_chance, cumulative, effective_rows, holm, ks_distance, p_values
from edgeops.drift.views import capped_rows, group_view, typical_lag, typical_rows

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_JUDGED = 3
_NEEDED = 2
#: Of a share near one half.
_ERRORS = 2.0


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
class Seen:
    """What streams showed in their spans, (spans, streams, channels) each."""

    #: (spans, streams, channels, 32) cumulative shares.
    cumulative: Floats
    #: Rows, and independent ones.
    rows: Floats
    effective: Floats
    #: (spans, streams, channels, tests) p-values, each by itself.
    p_values: Floats
    #: (spans, streams) p-value of all together that does not rest on any single device; 0 where there is only one.
    guarded: Floats
    #: (spans, streams) whether voices of a group contradict each other.
    split: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """(spans, streams, channels) each, in the order of the spans."""

    exists: Flags
    seen: Seen
    distance: Floats
    #: Corrected over channels.
    p_value: Floats
    floor: Floats
    #: (streams, channels): what it comes to, whether because it was seen again, and the span that shows it best.
    drifted: Flags
    again: Flags
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
    lag = np.maximum(beyond_chance(_lag1(moments, baseline), moments.present), baseline.lag1)
    return Worth(moments.present, moments.present, effective_rows(moments.present, lag), lag)


def worth_together(moments: Moments, baseline: Baseline) -> Worth:
    """The streams as one group, each up to its cap; a group's rows lie beside each other in time."""
    capped = capped_rows(moments.present)
    rows = capped.sum(axis=-2, keepdims=True)
    lag = typical_lag(_lag1(moments, baseline), moments.present)[..., np.newaxis, :]
    lag = np.maximum(beyond_chance(lag, rows), baseline.lag1)
    return Worth(rows, typical_rows(moments.present)[..., np.newaxis, :], effective_rows(rows, lag), lag)


def seen_alone(spans: Spans, counts: Floats, baseline: Baseline) -> Seen:
    """Of streams by themselves, from the counts (spans, streams, channels, 32) of their spans."""
    shares = cumulative(counts)
    return Seen(
        cumulative=shares,
        rows=counts.sum(axis=-1),
        effective=spans.effective,
        p_values=_p_values(shares, spans.effective, spans.lag1, baseline),
        guarded=np.zeros(shares.shape[:2]),
        split=np.zeros(shares.shape[:2], np.bool_),
    )


def seen_together(spans: Spans, counts: Floats, baseline: Baseline, policy: DriftPolicy, *, outvotes: bool) -> Seen:
    """Of a group: `spans` of one stream, `counts` (spans, devices, channels, 32) of its devices in them.

    `outvotes` as in `edgeops.drift.views.group_view`.
    """
    views = [group_view(of_span, outvotes=outvotes) for of_span in counts]
    rows = np.array([view.rows.sum(axis=0) for view in views])[:, np.newaxis]
    shares = np.array([view.cumulative for view in views])[:, np.newaxis]
    worth = np.array([view.worth for view in views])[:, np.newaxis]
    sums = np.array([view.capped_sum for view in views])[:, np.newaxis]
    effective = effective_rows(rows, spans.lag1)
    guards = [guard_of(view, lag, baseline, policy) for view, lag in zip(views, spans.lag1[:, 0], strict=True)]
    return Seen(
        cumulative=shares,
        rows=rows,
        effective=effective,
        # The sum says more, the median cannot be talked down.
        p_values=np.concatenate(
            (
                _p_values(shares, effective_rows(worth, spans.lag1), spans.lag1, baseline),
                _p_values(sums, effective, spans.lag1, baseline),
            ),
            axis=-1,
        ),
        guarded=np.array([[guard.p_value] for guard in guards]),
        split=np.array([[guard.is_split] for guard in guards]),
    )


def counts_in(spans: Spans, history: History) -> Floats:
    """Counts (spans, devices, channels, 32) of every device; `spans` of each, or of their group."""
    shape = (len(spans.upto), *history.running.present.shape[1:])
    until = history.counts(np.broadcast_to(spans.upto, shape))
    older = np.zeros_like(until)
    for first in (0, _JUDGED):
        older[first + 1 : first + _JUDGED] = until[first : first + _JUDGED - 1]
    return np.where((spans.upto != NEVER)[..., np.newaxis], until - older, 0.0)


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
    ages = np.arange(history.length)[:, np.newaxis, np.newaxis]
    found: list[tuple[Ages, Ages, Worth, Flags]] = []
    for least in (policy.min_effective_rows, policy.min_effective_rows * policy.widening):
        before = np.full(shape, NEVER, np.intp)
        has_ended = np.zeros(shape, np.bool_)
        for _ in range(_JUDGED):
            value = worth(history.running.minus(history.moments(before)))
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
        upto = np.where(enough[age] & (age > newest), age, NEVER)
        found.append((upto, np.full(shape, NEVER, np.intp), _at(whole, upto), np.ones(shape, np.bool_)))
        reach *= 2
    return Spans(
        upto=np.array([upto for upto, _, _, _ in found]),
        after=np.array([after for _, after, _, _ in found]),
        source_rows=np.array([value.source_rows for _, _, value, _ in found]),
        effective=np.array([value.effective for _, _, value, _ in found]),
        lag1=np.array([value.lag1 for _, _, value, _ in found]),
        is_merged=np.array([merged for _, _, _, merged in found])
        & np.array([place == 0 or place >= 2 * _JUDGED for place in range(len(found))])[:, np.newaxis, np.newaxis],
    )


def weigh(
    spans: Spans,
    seen: Seen,
    baseline: Baseline,
    policy: DriftPolicy,
    *,
    together: bool,
    do_some_stand_out: bool = False,
) -> Evidence:
    """Test every span.

    Args:
        spans: of the streams.
        seen: in the spans.
        baseline: the reference.
        policy: the levels.
        together: correct over streams as well as over channels.
        do_some_stand_out: of a group, whether some of its devices moved by themselves and others did not.
    """
    exists = (spans.upto != NEVER) & baseline.is_watchable
    distance = np.where(exists, ks_distance(seen.cumulative, baseline.cumulative), 0.0)
    corrected = _corrected(np.where(exists[..., np.newaxis], seen.p_values, 1.0), together=together)
    guard = np.where(seen.split | do_some_stand_out, policy.strict_guarded_alpha, policy.guarded_alpha)
    floor = np.maximum(policy.floor, _wander(spans, seen, baseline))
    is_sound = exists & (distance >= floor) & (seen.guarded <= guard)[..., np.newaxis]
    hits = is_sound & (corrected <= policy.alpha)
    may_decide = spans.is_merged & (spans.effective >= policy.merged_effective_rows)
    alone = is_sound & may_decide & (corrected <= policy.merged_alpha)
    narrow, wide = (hits[first : first + _JUDGED].sum(axis=0) >= _NEEDED for first in (0, _JUDGED))
    again = narrow | wide
    # The newest judged window is shown unless another span is what decides.
    decides = np.where(again, hits & (np.arange(len(exists)) < 2 * _JUDGED)[:, np.newaxis, np.newaxis], alone)
    return Evidence(
        exists=exists,
        seen=seen,
        distance=distance,
        p_value=corrected,
        floor=floor,
        drifted=again | alone.any(axis=0),
        again=again,
        telling=np.asarray(np.where(decides, corrected, 2.0).argmin(axis=0)),
    )


def _lag1(moments: Moments, baseline: Baseline) -> Floats:
    """Lag-1 autocorrelation of each stream.

    A window of a process that wanders slowly shows a part of its range, and would tell of less autocorrelation than
    there is. Where the reference's rows were not in time order, which would tell, its variance is the least.
    """
    own = moments.lag1()
    if baseline.is_ordered:
        return own
    wanders = beyond_chance(own, moments.present) > 0
    return np.asarray(np.where(wanders, moments.lag1(least_variance=baseline.variance), own))


def _p_values(shares: Floats, n: Floats, lag1: Floats, baseline: Baseline) -> Floats:
    """(..., channels, 2) of histograms (..., channels, 32) against the reference's."""
    return p_values(shares, baseline.cumulative, n, baseline.effective(lag1))


def _wander(spans: Spans, seen: Seen, baseline: Baseline) -> Floats:
    """The distance up to which the process's own wandering explains a span, two standard errors included."""
    by_itself = baseline.floor(spans.source_rows)
    error = np.divide(0.5, np.sqrt(seen.effective), out=np.ones(by_itself.shape), where=seen.effective > 0)
    return np.where(by_itself > 0, by_itself + _ERRORS * error, 0.0)


def _corrected(of_tests: Floats, *, together: bool) -> Floats:
    """(spans, streams, channels) of (..., tests): over tests and channels, and `together` over streams."""
    tests = of_tests.reshape((len(of_tests), -1) if together else (*of_tests.shape[:2], -1))
    return np.asarray(holm(tests).reshape(of_tests.shape).min(axis=-1))


def _enough(value: Worth, baseline: Baseline, policy: DriftPolicy, least: float) -> Flags:
    of_reference = baseline.effective(value.lag1) >= policy.min_effective_rows
    return np.asarray((value.rows >= policy.min_rows) & (value.effective >= least) & of_reference)


def _at(value: Worth, upto: Ages) -> Worth:
    streams, channels = upto.shape
    places = np.maximum(upto, 0), np.arange(streams)[:, np.newaxis], np.arange(channels)

    def pick(part: Floats) -> Floats:
        return np.asarray(np.where(upto == NEVER, 0.0, part[places]))

    return Worth(pick(value.rows), pick(value.source_rows), pick(value.effective), pick(value.lag1))
