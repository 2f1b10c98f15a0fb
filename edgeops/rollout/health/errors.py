"""Inputs without an answer, and starts of the agent that nobody asked for.

On the same inputs, errors of the new model alone are set against those of the old one alone. Devices without pairs are
set against their own past and against the control share: whatever happened there too is not the new model's fault. In a
wave of both kinds each is judged by itself, so that no device hides behind another one's pairs.
"""

from edgeops import limits
from edgeops.rollout.health.betting import (
    Observed,
    Side,
    difference_of,
    evidence_above,
    is_certain,
    lower_bound,
    share_of,
    side_of,
    upper_bound,
)
from edgeops.rollout.health.device import Pairs, Period
from edgeops.rollout.health.finding import HealthFinding, Kind, Sign, counted, percent, points, sign_of
from edgeops.rollout.health.wave import Group, Shown, WaveHealth, groups_alone
from edgeops.rollout.health.zone import Zone, error_zone
from edgeops.rollout.policy import HealthPolicy

#: Crashes that are no accident where nothing is known of the time before.
_CRASHES = 3
#: How sure it is what was usual before.
_USUAL_ALPHA = 0.1


def judge_errors(health: WaveHealth, policy: HealthPolicy, *, alpha: float) -> tuple[HealthFinding, ...]:
    """Inputs that ended in an error, or were dropped because the model is slow.

    One finding of the devices beside which the old model answers, one of the others, and those share `alpha`.
    """
    groups, shadowed = groups_alone(health.canary), bool(health.canary.shadowed)
    each = alpha / (len(groups) + shadowed)
    paired = (_paired(health.canary.pairs, policy, alpha=each),) if shadowed else ()
    return (*paired, *(_alone(group, health.control, policy, alpha=each) for group in groups))


def _alone(group: Group, control: Shown, policy: HealthPolicy, *, alpha: float) -> HealthFinding:
    """Against the devices' own past and the control share."""
    zone = error_zone(policy)
    before, since = group.part.before, group.part.since
    seen = _unanswered(since)
    is_known = bool(before.met or _tells(control.since))
    usual, surely = _usual(before, control) if is_known else (0.0, zone.limit)
    raised = Zone(surely, max(usual + zone.limit, surely), usual + zone.high)
    side = side_of(seen, raised, alpha=alpha, alpha_below=policy.alpha / 2)
    words = f"{percent(seen.mean)} of {since.met:,} inputs{group.where} had no answer{_elsewhere(before, control)}"
    if not is_known:
        words += ", and nothing is known of the time before"
        if side is Side.UNKNOWN and since.met and seen.mean <= zone.limit and since.rows >= policy.min_rows:
            # There is no rise to prove. How many inputs must be seen is in the policy.
            side = Side.BELOW
    return _found(side, words, value=seen.mean, against=usual if is_known else None, limit=zone.limit)


def _usual(before: Period, control: Shown) -> tuple[float, float]:
    """What share of the inputs has no answer anyway: an estimate, and what it is at most.

    The devices' own past, and what the control share has more of than before (difference in differences). Without a
    past of their own, what control devices show is all that there is.
    """
    if not before.met:
        others = _unanswered(control.since)
        return others.mean, upper_bound(others, _USUAL_ALPHA)
    own = _unanswered(before)
    usual, surely = own.mean, upper_bound(own, _USUAL_ALPHA)
    if _tells(control.since) and _tells(control.before):
        now, then = _unanswered(control.since), _unanswered(control.before)
        usual += max(now.mean - then.mean, 0.0)
        surely += max(upper_bound(now, _USUAL_ALPHA) - lower_bound(then, _USUAL_ALPHA), 0.0)
    return usual, min(surely, 1.0)


def _tells(control: Period) -> bool:
    """Whether control devices met so many inputs that what they show is no chance."""
    return control.met >= limits.HEALTH_ROWS


def _paired(pairs: Pairs, policy: HealthPolicy, *, alpha: float) -> HealthFinding:
    """Errors of one model alone on the same inputs: those that both make are the input's fault."""
    zone = error_zone(policy)
    outcomes = difference_of(pairs.new_errors, pairs.old_errors, pairs.seen)
    side = side_of(outcomes, zone, alpha=alpha, alpha_below=policy.alpha / 2)
    new, old = pairs.new_errors / max(pairs.seen, 1), pairs.old_errors / max(pairs.seen, 1)
    words = (
        f"of {pairs.seen:,} inputs that both models had, {pairs.new_errors} ({percent(new)}) ended in an error of the "
        f"new one alone, {pairs.old_errors} ({percent(old)}) in one of the old one alone"
    )
    return _found(side, words, value=new, against=old, limit=zone.limit)


def judge_crashes(health: WaveHealth, *, alpha: float) -> HealthFinding | None:
    """Starts that nobody asked for, by the time that windows cover; None = there were none.

    Given how many there were in all, those since are a share like that of the time since (conditional test of two
    Poisson rates, Przyborowski and Wilenski 1940), whenever one looks.
    """
    since, before, control = health.canary.since, health.canary.before, health.control.since
    if not since.crashes:
        return None
    others, elsewhere_ms = before.crashes + control.crashes, before.duration_ms + control.duration_ms
    words = (
        f"{counted(since.crashes, 'start')} of the agent that nobody asked for, {others} before and on control devices"
    )
    if elsewhere_ms and since.duration_ms:
        expected = since.duration_ms / (since.duration_ms + elsewhere_ms)
        seen = share_of(since.crashes, since.crashes + others)
        is_bad = since.crashes > 1 and is_certain(evidence_above(seen, expected), alpha)
    else:
        is_bad = since.crashes >= _CRASHES
    sign = Sign.BAD if is_bad else Sign.TOLD
    return HealthFinding(kind=Kind.CRASHES, sign=sign, words=words, value=since.crashes, against=others)


def _unanswered(period: Period) -> Observed:
    return share_of(period.errors + period.dropped, period.met)


def _elsewhere(before: Period, control: Shown) -> str:
    told = []
    if before.met:
        told.append(f"{percent(_unanswered(before).mean)} before")
    if control.since.met:
        earlier = f" ({percent(_unanswered(control.before).mean)} before)" if control.before.met else ""
        told.append(
            f"{percent(_unanswered(control.since).mean)} on {counted(control.heard, 'control device')}{earlier}"
        )
    return f", against {' and '.join(told)}" if told else ""


def _found(side: Side, words: str, *, value: float, against: float | None, limit: float) -> HealthFinding:
    words += f"; limit {points(limit)} more"
    if side is Side.UNKNOWN:
        words += "; too few inputs to be certain"
    return HealthFinding(kind=Kind.ERRORS, sign=sign_of(side), words=words, value=value, against=against, limit=limit)
