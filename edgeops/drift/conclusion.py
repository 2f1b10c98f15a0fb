"""Turns the evidence on one stream into a finding: verdict, kinds, channels, what is lacking, and the words for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift import words
from edgeops.drift.baseline import Baseline, baseline_of
from edgeops.drift.evidence import Evidence, Spans, Worth
from edgeops.drift.finding import ChannelFinding, EstimatedError, Finding, Kind, QualityIssue, Verdict
from edgeops.drift.mix import explaining_mix
from edgeops.drift.performance import Estimate, MeanError, estimate, estimate_mae
from edgeops.drift.policy import DriftPolicy
from edgeops.sketch.reference import ReferenceProfile

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_OF_THE_MODEL = (ChannelKind.ANSWER, ChannelKind.CONFIDENCE, ChannelKind.MARGIN, ChannelKind.PROJECTION)


class Watched:
    """What a model is held against: its reference, the kinds of its channels, the policy, and what it errs by."""

    def __init__(
        self,
        reference: ReferenceProfile,
        channels: Sequence[Channel],
        policy: DriftPolicy,
        *,
        mean_error: MeanError | None = None,
    ) -> None:
        self.reference = reference
        self.baseline: Baseline = baseline_of(reference)
        self.policy = policy
        self.kinds = [Kind.PREDICTION if one.kind in _OF_THE_MODEL else Kind.DATA for one in channels]
        self.is_input: Flags = np.array([kind is Kind.DATA for kind in self.kinds])
        self.mean_error = mean_error
        kinds = [one.kind for one in channels]
        self.confidence = kinds.index(ChannelKind.CONFIDENCE) if ChannelKind.CONFIDENCE in kinds else None
        self.answer = kinds.index(ChannelKind.ANSWER) if ChannelKind.ANSWER in kinds else None

    @cached_property
    def histograms(self) -> list[tuple[int, ...]]:
        """The reference's counts, made once for the findings of all streams."""
        return [tuple(counts) for counts in self.baseline.counts.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """One stream of those that were weighed together."""

    place: int
    evidence: Evidence
    spans: Spans
    #: (channels,) what counts as moved.
    moved: Flags
    #: (streams, channels) sums over all its windows, and their counts (channels, 32).
    worth: Worth
    counts: Floats
    rows: int
    windows: int
    issues: tuple[QualityIssue, ...]
    #: Whether it is one device of a group, judged against its siblings.
    is_local: bool


def conclude(watched: Watched, stream: Stream) -> Finding:
    """What there is to say of one stream."""
    faulty = {issue.channel for issue in stream.issues}
    is_sound = np.array([name not in faulty for name in watched.baseline.names])
    drifted = stream.moved & is_sound
    channels = _channel_findings(watched, stream, drifted)
    estimated = _estimate(watched, stream)
    # That a whole fleet is less sure is no finding about each of its devices.
    says_estimate = estimated is not None and estimated.has_fallen and not (stream.is_local and not drifted.any())
    judged = stream.evidence.exists[0, stream.place] | drifted
    watchable = watched.baseline.is_watchable
    swapped = _explaining_mix(watched, stream, drifted) if drifted.any() else None
    is_mix = swapped is not None
    kinds = _kinds(watched, drifted, is_mix=is_mix, has_issues=bool(stream.issues), less_sure=says_estimate)
    lack = None
    if drifted.any() or stream.issues:
        verdict = Verdict.DRIFT
        reason = _told(stream, channels, swapped=swapped)
    elif watchable.any() and 2 * (judged & watchable).sum() >= watchable.sum():
        verdict = Verdict.STABLE
        unjudged = [watched.baseline.names[place] for place in np.flatnonzero(watchable & ~judged)]
        reason = words.of_stability(
            judged=int((judged & watchable).sum()), unjudged=unjudged, rows=stream.rows, local=stream.is_local
        )
    else:
        verdict = Verdict.NOT_ENOUGH_EVIDENCE
        lack = _lack(watched, stream, judged)
        reason = words.of_lack(lack, rows=stream.rows)
    if estimated is not None and says_estimate:
        reason += words.of_performance(estimated)
    return Finding(
        verdict=verdict,
        kinds=kinds,
        reason=reason,
        channels=channels,
        class_mix_only=is_mix and not stream.issues,
        rows=stream.rows,
        windows=stream.windows,
        rows_needed=lack.rows if lack else None,
        estimated_accuracy=estimated.accuracy if estimated else None,
        estimated_error=_estimate_error(watched, stream, judged=judged, drifted=drifted),
        quality=stream.issues,
    )


def _channel_findings(watched: Watched, stream: Stream, drifted: Flags) -> tuple[ChannelFinding, ...]:
    evidence, place = stream.evidence, stream.place
    pick = evidence.telling[place], place, np.arange(len(drifted))
    exists = evidence.exists[pick]
    shares = np.diff(evidence.seen.cumulative[pick], prepend=0)
    seen = np.rint(shares * evidence.seen.rows[pick][:, np.newaxis])
    histograms = np.where(exists[:, np.newaxis], seen, stream.counts).astype(np.int64).tolist()
    columns = zip(
        watched.baseline.names,
        watched.kinds,
        evidence.distance[pick].tolist(),
        evidence.p_value[pick].tolist(),
        np.where(exists, evidence.seen.effective[pick], stream.worth.effective[place]).tolist(),
        evidence.floor[pick].tolist(),
        drifted.tolist(),
        watched.histograms,
        histograms,
        strict=True,
    )
    return tuple(
        ChannelFinding(
            name=name,
            kind=kind,
            distance=distance,
            p_value=p_value,
            effective_rows=effective,
            floor=floor,
            drifted=is_drifted,
            reference_histogram=reference,
            window_histogram=tuple(window),
        )
        for name, kind, distance, p_value, effective, floor, is_drifted, reference, window in columns
    )


def _kinds(watched: Watched, drifted: Flags, *, is_mix: bool, has_issues: bool, less_sure: bool) -> tuple[Kind, ...]:
    found = {watched.kinds[place] for place in np.flatnonzero(drifted)}
    if is_mix:
        found = {Kind.PREDICTION}
    if has_issues:
        found.add(Kind.QUALITY)
    if less_sure:
        found.add(Kind.PERFORMANCE)
    return tuple(kind for kind in Kind if kind in found)


def _told(stream: Stream, channels: tuple[ChannelFinding, ...], *, swapped: float | None) -> str:
    sentences = []
    if stream.issues:
        sentences.append(words.of_quality(stream.issues, local=stream.is_local))
    moved = [one for one in channels if one.drifted]
    if moved:
        first = max(range(len(channels)), key=lambda place: (channels[place].drifted, channels[place].distance))
        seen_again = bool(stream.evidence.again[stream.place, first])
        if swapped is None:
            sentences.append(words.of_drift(channels, again=seen_again, local=stream.is_local))
        else:
            sentences.append(words.of_class_mix(swapped, again=seen_again, local=stream.is_local))
    return " ".join(sentences)


def _explaining_mix(watched: Watched, stream: Stream, drifted: Flags) -> float | None:
    """As `edgeops.drift.mix.explaining_mix`, in the span that shows the answers best, or else what moved most."""
    by_class = watched.reference.by_class
    if by_class is None:
        return None
    evidence, place, channels = stream.evidence, stream.place, np.arange(len(drifted))
    farthest = np.where(drifted, evidence.distance[evidence.telling[place], place, channels], 0.0).argmax()
    span = int(evidence.telling[place, by_class.answer if drifted[by_class.answer] else farthest])
    exists = evidence.exists[span, place]
    return explaining_mix(
        by_class,
        evidence.seen.cumulative[span, place],
        drifted=drifted,
        n=np.where(exists, evidence.seen.effective[span, place], 0.0),
        m=watched.baseline.effective(stream.spans.lag1[span, place]),
        baseline=watched.baseline,
        policy=watched.policy,
    )


def _estimate(watched: Watched, stream: Stream) -> Estimate | None:
    worth, channel = watched.reference.expected_accuracy(), watched.confidence
    if worth is None or channel is None:
        return None
    evidence, newest = stream.evidence, 0
    if not evidence.exists[newest, stream.place, channel]:
        return None
    return estimate(
        worth,
        np.diff(evidence.seen.cumulative[newest, stream.place, channel], prepend=0),
        watched.baseline.shares[channel],
        effective_rows=float(evidence.seen.effective[newest, stream.place, channel]),
    )


def _estimate_error(watched: Watched, stream: Stream, *, judged: Flags, drifted: Flags) -> EstimatedError | None:
    """Of a fleet: one device can be as its siblings are while all of them have moved."""
    error, widths, answer = watched.mean_error, watched.reference.half_widths(), watched.answer
    if error is None or widths is None or answer is None or stream.is_local:
        return None
    # What the model sees in the inputs, its projections, must be as it was, too.
    others = np.arange(len(drifted)) != answer
    needed, newest, mae = watched.baseline.is_watchable & others, 0, None
    if stream.issues:
        reason = words.ERROR_OF_BAD_READINGS
    elif (drifted & others).any():
        reason = words.ERROR_OF_MOVED_INPUTS
    elif not needed.any() or 2 * (judged & needed).sum() < needed.sum():
        reason = words.ERROR_OF_FEW_INPUTS
    elif not stream.evidence.exists[newest, stream.place, answer]:
        reason = words.ERROR_OF_FEW_ANSWERS
    else:
        shares = np.diff(stream.evidence.seen.cumulative[newest, stream.place, answer], prepend=0)
        mae = estimate_mae(error.mae, widths, shares, watched.baseline.shares[answer])
        reason = words.ERROR_OF_NO_WIDTH
    return EstimatedError(
        mae=mae, unknown_because=reason if mae is None else None, evaluation_mae=error.mae, units=error.units
    )


def _lack(watched: Watched, stream: Stream, judged: Flags) -> words.Lack | None:
    """What the channel needs that half of the channels wait for."""
    baseline, policy, place = watched.baseline, watched.policy, stream.place
    waiting = np.flatnonzero(baseline.is_watchable & ~judged)
    if not len(waiting):
        return None
    rows, effective, lag = stream.worth.rows[place], stream.worth.effective[place], stream.worth.lag1[place]
    of_reference = baseline.effective(lag)
    missing = np.maximum(policy.min_effective_rows - effective, 0)
    per_row = (1 - lag) / (1 + lag)
    wanted = np.divide(missing, per_row, out=np.full(len(lag), np.inf), where=per_row > 0)
    wanted = np.maximum(wanted, policy.min_rows - rows)
    wanted[of_reference < policy.min_effective_rows] = np.inf
    enough = -(-int(baseline.is_watchable.sum()) // 2) - int((judged & baseline.is_watchable).sum())
    channel = int(waiting[np.argsort(wanted[waiting], kind="stable")][max(enough, 1) - 1])
    more = float(wanted[channel])
    # As they came so far; where none came, one window may hold any number.
    per_window = max(stream.rows / stream.windows, 1.0) if stream.rows else more
    is_within = np.isfinite(more) and (
        not stream.rows or more <= (policy.horizon_windows - stream.windows) * per_window
    )
    return words.Lack(
        channel=baseline.names[channel],
        effective_rows=float(effective[channel]),
        lag1=float(lag[channel]),
        reference_rows=float(of_reference[channel]),
        rows=max(1, int(np.ceil(more))) if is_within else None,
        windows=max(1, int(np.ceil(more / per_window))) if is_within else None,
        of_the_reference=bool(of_reference[channel] < policy.min_effective_rows),
    )
