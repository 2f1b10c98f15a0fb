"""The time that an answer takes, and the memory.

Each telemetry window is one vote: whether the 95th percentile of the new model is beyond the limit, compared with that
of the old one on the same inputs where pairs are owed; else with the device's own median before, less what the control
share changed by meanwhile. The median window decides (a sign test), so a host that is busy for a while, however busy,
has as many votes as it has windows.
"""

from dataclasses import dataclass
from math import exp

from edgeops import limits
from edgeops.rollout.health.betting import Side, share_of, side_of
from edgeops.rollout.health.device import Period
from edgeops.rollout.health.finding import HealthFinding, Kind, Sign, counted, ms, sign_of
from edgeops.rollout.health.spread import STEPS, Spread, moved, sides_of
from edgeops.rollout.health.wave import Group, Shown, WaveHealth, groups_alone
from edgeops.rollout.health.zone import MOST
from edgeops.rollout.policy import HealthPolicy

#: Windows after which it is known that a rise is too small to be looked at; and that a time as a whole is.
_WINDOWS_OF_A_RISE = 10
_WINDOWS_OF_A_TIME = 3


@dataclass(frozen=True, slots=True)
class _Compared:
    """Ratios by window, and what is typical of the new model and of what it is compared with, in microseconds."""

    ratios: Spread
    new_us: float | None
    old_us: float | None
    #: Of which devices, what the new model is compared with, and what else is known; in words.
    where: str
    against: str
    elsewhere: str
    #: Pairs are owed, so that without them nothing is proven.
    is_owed: bool


def judge_latency(health: WaveHealth, policy: HealthPolicy, *, alpha: float) -> tuple[HealthFinding, ...]:
    """Whether answers take longer.

    One finding of the devices beside which the old model answers, one of the others, and those share `alpha`.
    """
    compared = [_alone(group, health.control) for group in groups_alone(health.canary)]
    if health.canary.shadowed:
        compared.insert(0, _paired(health))
    return tuple(_judged(one, policy, alpha=alpha / len(compared)) for one in compared)


def _judged(compared: _Compared, policy: HealthPolicy, *, alpha: float) -> HealthFinding:
    ratios, new_us, old_us = compared.ratios, compared.new_us, compared.old_us
    if new_us is None or old_us is None:
        sign = Sign.OPEN if compared.is_owed else Sign.TOLD
        words = f"no window{compared.where} tells how long both take{compared.elsewhere}"
        return HealthFinding(kind=Kind.LATENCY, sign=sign, words=words)
    within, beyond = sides_of(ratios, policy.max_latency_ratio)
    words = f"p95 {ms(new_us)}{compared.where}{compared.against}; limit {policy.max_latency_ratio:g} x"
    if beyond:
        words += f", exceeded in {beyond} of {counted(ratios.total, 'window')}"
    if at_limit := ratios.total - within - beyond:
        words += f", met to within 1 % in {at_limit}"
    # What is at the limit is held against neither side.
    side = side_of(share_of(beyond, ratios.total), MOST, alpha=alpha)
    if side is not Side.ABOVE:
        unproven = side_of(share_of(ratios.total - within, ratios.total), MOST, alpha=policy.alpha / 2)
        side = Side.BELOW if unproven is Side.BELOW else Side.UNKNOWN
    if side is not Side.BELOW and _is_small(ratios.total, new_us, old_us, least_us=1000 * policy.min_latency_rise_ms):
        words += f"; less than {policy.min_latency_rise_ms:g} ms more are not looked at"
        side = Side.BELOW
    if side is Side.UNKNOWN:
        words += f"; {counted(ratios.total, 'window')} cannot tell for certain"
    return HealthFinding(
        kind=Kind.LATENCY,
        sign=sign_of(side),
        words=words,
        value=new_us / 1000,
        against=old_us / 1000,
        limit=policy.max_latency_ratio,
    )


def judge_memory(health: WaveHealth, policy: HealthPolicy) -> HealthFinding | None:
    """Whether the model takes more memory; None = it is not known."""
    known = health.canary.memory_devices
    if not known:
        return None
    new, old = health.canary.memory_bytes / known, health.canary.memory_before_bytes / known
    ratio = new / old
    is_bad = ratio > policy.max_memory_ratio and new - old >= limits.HEALTH_MEMORY_RISE_BYTES
    return HealthFinding(
        kind=Kind.MEMORY,
        sign=Sign.BAD if is_bad else Sign.GOOD,
        words=(f"{_mib(new)} MiB against {_mib(old)} of the old model; limit {policy.max_memory_ratio:g} x"),
        value=ratio,
        limit=policy.max_memory_ratio,
    )


def _paired(health: WaveHealth) -> _Compared:
    """On the same inputs."""
    pairs, elsewhere = health.canary.pairs, _elsewhere(health.canary.before, health.control)
    old_us = pairs.old_p95.typical
    against = "" if old_us is None else f" against {ms(old_us)} of the old model on the same inputs{elsewhere}"
    return _Compared(
        ratios=pairs.ratio_p95,
        new_us=pairs.new_p95.typical,
        old_us=old_us,
        where="",
        against=against,
        elsewhere=elsewhere,
        is_owed=True,
    )


def _alone(group: Group, control: Shown) -> _Compared:
    """With their own past, less what the control share changed by."""
    part, meanwhile = group.part, control.own_p95.median or 0
    before, elsewhere = part.before.latency_p95.typical, _elsewhere(part.before, control)
    return _Compared(
        ratios=moved(part.own_p95, -meanwhile),
        new_us=part.since.latency_p95.typical,
        old_us=None if before is None else before * exp(meanwhile / STEPS),
        where=group.where,
        against=elsewhere.replace(", ", " against "),
        elsewhere=elsewhere,
        is_owed=False,
    )


def _is_small(windows: int, new_us: float, old_us: float, *, least_us: float) -> bool:
    """Whether it is known that the new model takes so little, or so little more, that nobody notices."""
    if windows < _WINDOWS_OF_A_RISE:
        return windows >= _WINDOWS_OF_A_TIME and new_us < least_us
    return new_us - old_us < least_us


def _elsewhere(before: Period, control: Shown) -> str:
    before_us, control_us = before.latency_p95.typical, control.since.latency_p95.typical
    told = [] if before_us is None else [f"{ms(before_us)} before"]
    if control_us is not None:
        told.append(f"{ms(control_us)} on {counted(control.heard, 'control device')}")
    return f", {' and '.join(told)}" if told else ""


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:.1f}"
