"""The time that an answer takes, and the memory.

Each telemetry window is one vote: whether the 95th percentile of the new model is beyond the limit, compared with that
of the old one on the same inputs where pairs are owed; else with the device's own median before, less what the control
share changed by meanwhile. The median window decides (a sign test), so a host that is busy for a while, however busy,
has as many votes as it has windows.
"""

from math import exp, log

from edgeops import limits
from edgeops.rollout.health.betting import Side, share_of, side_of
from edgeops.rollout.health.finding import HealthFinding, Kind, Sign, counted, ms, sign_of
from edgeops.rollout.health.spread import STEPS, Spread, moved
from edgeops.rollout.health.wave import WaveHealth
from edgeops.rollout.health.zone import MOST
from edgeops.rollout.policy import HealthPolicy

#: Windows after which it is known that a rise is too small to be looked at; and that a time as a whole is.
_WINDOWS_OF_A_RISE = 10
_WINDOWS_OF_A_TIME = 3


def judge_latency(health: WaveHealth, policy: HealthPolicy, *, alpha: float) -> HealthFinding:
    """Whether answers take longer."""
    ratios, new_us, old_us = _compared(health)
    if new_us is None or old_us is None:
        sign = Sign.OPEN if health.canary.shadowed else Sign.TOLD
        return HealthFinding(
            kind=Kind.LATENCY, sign=sign, words=f"no window tells how long both take{_elsewhere(health)}"
        )
    beyond = sum(count for step, count in ratios.counts if step > STEPS * log(policy.max_latency_ratio))
    words = f"p95 {ms(new_us)}{_against(health, old_us)}; limit {policy.max_latency_ratio:g} x"
    if beyond:
        words += f", exceeded in {beyond} of {counted(ratios.total, 'window')}"
    side = side_of(share_of(beyond, ratios.total), MOST, alpha=alpha, alpha_below=policy.alpha / 2)
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


def _compared(health: WaveHealth) -> tuple[Spread, float | None, float | None]:
    """Ratios by window, and what is typical of the new model and of what it is compared with, in microseconds."""
    canary, control = health.canary, health.control
    if canary.shadowed:
        return canary.pairs.ratio_p95, canary.pairs.new_p95.typical, canary.pairs.old_p95.typical
    meanwhile = control.own_p95.median or 0
    before = canary.before.latency_p95.typical
    expected = None if before is None else before * exp(meanwhile / STEPS)
    return moved(canary.own_p95, -meanwhile), canary.since.latency_p95.typical, expected


def _is_small(windows: int, new_us: float, old_us: float, *, least_us: float) -> bool:
    """Whether it is known that the new model takes so little, or so little more, that nobody notices."""
    if windows < _WINDOWS_OF_A_RISE:
        return windows >= _WINDOWS_OF_A_TIME and new_us < least_us
    return new_us - old_us < least_us


def _against(health: WaveHealth, old_us: float) -> str:
    if health.canary.shadowed:
        return f" against {ms(old_us)} of the old model on the same inputs{_elsewhere(health)}"
    return _elsewhere(health).replace(", ", " against ", 1)


def _elsewhere(health: WaveHealth) -> str:
    before, control = health.canary.before.latency_p95.typical, health.control.since.latency_p95.typical
    told = [] if before is None else [f"{ms(before)} before"]
    if control is not None:
        told.append(f"{ms(control)} on {counted(health.control.heard, 'control device')}")
    return f", {' and '.join(told)}" if told else ""


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:.1f}"
