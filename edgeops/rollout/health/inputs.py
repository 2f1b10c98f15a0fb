"""What devices saw and how they answered, against their own past and the control share: it may forbid to conclude.

None of it can prove that a model is worse: a sensor may have broken, or the world may have changed. But where it may
have, nothing that was measured proves the contrary either. Confidences support a verdict and never make one.
"""

from collections.abc import Sequence

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.protocol.messages import Intent
from edgeops.rollout.health.answers import mix_of
from edgeops.rollout.health.betting import evidence_above, is_certain, share_of
from edgeops.rollout.health.device import Pairs, Period
from edgeops.rollout.health.finding import HealthFinding, Kind, Sign, percent, points
from edgeops.rollout.health.wave import Group, Shown, WaveHealth, groups_alone

#: Missing readings beyond what was usual that make the others doubtful; so few are always taken for usual.
_MORE_MISSING = 0.05
_ALWAYS_MISSING = 0.01
#: Of the answers, those that went to other classes, beyond what the control share shows.
_OTHER_MIX = 0.2


def judge_quality(health: WaveHealth, *, alpha: float) -> HealthFinding | None:
    """Readings that are missing; None = it is not known."""
    since = health.canary.since.inputs
    if not since.values:
        return None
    usual = _usually_missing(health.canary.before, health.control)
    seen = share_of(since.missing, since.values)
    # Readings of one row go missing together: a row is one observation.
    rows = share_of(seen.mean * health.canary.since.rows, health.canary.since.rows)
    is_worse = seen.mean > usual + _MORE_MISSING and is_certain(
        evidence_above(rows, max(usual, _ALWAYS_MISSING)), alpha
    )
    words = f"{percent(seen.mean)} of all readings are missing, {percent(usual)} is usual"
    if is_worse:
        words += "; look at the sensors: nothing is concluded from what is left"
    return HealthFinding(
        kind=Kind.QUALITY,
        sign=Sign.OPEN if is_worse else Sign.GOOD,
        words=words,
        value=seen.mean,
        against=usual,
        limit=_MORE_MISSING,
    )


def _usually_missing(before: Period, control: Shown) -> float:
    """What was missing before, and what control devices miss more by now; without a past, what those miss."""
    now, then = (_missing(one) if one.rows >= limits.HEALTH_ROWS else None for one in (control.since, control.before))
    own = _missing(before)
    if own is None:
        return now or 0.0
    return own if now is None or then is None else own + max(now - then, 0.0)


def _missing(period: Period) -> float | None:
    """Of all readings; None = it is not known."""
    return period.inputs.missing / period.inputs.values if period.inputs.values else None


def judge_mix(health: WaveHealth, *, task: Task, intent: Intent) -> tuple[HealthFinding, ...]:
    """Answers that go to other classes, as far as it is known."""
    paired = _paired_mix(health.canary.pairs, task=task, intent=intent) if health.canary.shadowed else None
    alone = (_alone_mix(group, health.control, intent=intent) for group in groups_alone(health.canary))
    return tuple(one for one in (paired, *alone) if one is not None)


def _paired_mix(pairs: Pairs, *, task: Task, intent: Intent) -> HealthFinding | None:
    """Beside the old model's; None = it is not known."""
    if task is Task.REGRESSION or len(pairs.cells) <= 2:
        return None
    moved = distance(*mix_of(pairs))
    words = f"{percent(moved)} of the answers went to other classes than the old model's{_expected(intent)}"
    return _mix(Sign.TOLD, words, moved)


def _alone_mix(group: Group, control: Shown, *, intent: Intent) -> HealthFinding | None:
    """Beside their own past and the control share; None = it is not known."""
    own = _own_mix(group.part.before, group.part.since)
    if own is None:
        return None
    others = _own_mix(control.before, control.since)
    beyond = own - (others or 0.0)
    told = "" if others is None else f", {percent(others)} on control devices"
    words = f"{percent(own)} of the answers{group.where} go to other classes than before{told}"
    if intent is Intent.HEAL or beyond <= _OTHER_MIX:
        return _mix(Sign.TOLD, words + _expected(intent), own)
    words += f"; more than {points(_OTHER_MIX)}, and no old model beside it tells whether rightly"
    return _mix(Sign.OPEN, words, own)


def tell_estimate(health: WaveHealth) -> HealthFinding | None:
    """What confidences say of the accuracy; None = nothing."""
    now = health.canary.since.inputs.estimated_accuracy
    if now is None:
        return None
    past = health.canary.before.inputs.estimated_accuracy
    before = "" if past is None else f", {percent(past)} before"
    return HealthFinding(
        kind=Kind.ESTIMATE,
        sign=Sign.TOLD,
        words=f"confidences alone say {percent(now)} accuracy{before}; that decides nothing",
        value=now,
        against=past,
    )


def distance(first: Sequence[int], second: Sequence[int]) -> float:
    """The share that went to other bins (total variation) between counts, neither of which is empty."""
    totals = sum(first), sum(second)
    pairs = zip(first, second, strict=True)
    return sum(abs(one / totals[0] - other / totals[1]) for one, other in pairs) / 2


def _own_mix(before: Period, since: Period) -> float | None:
    first, second = before.inputs.mix, since.inputs.mix
    if not any(first) or not any(second) or len(first) != len(second):
        return None
    return distance(first, second)


def _expected(intent: Intent) -> str:
    return ", as is expected of a model that heals" if intent is Intent.HEAL else ""


def _mix(sign: Sign, words: str, value: float) -> HealthFinding:
    return HealthFinding(kind=Kind.MIX, sign=sign, words=words, value=value, limit=_OTHER_MIX)
