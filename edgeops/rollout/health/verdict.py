"""The health gate's verdict over all that a wave has shown.

Every kind of evidence is judged by itself. One that proves harm stops the model; if none does, all that must be shown
has to be; else it is undecided, and the words say what is missing. How long that is waited for is not decided here.
"""

import msgspec

from edgeops.artifact.manifest import Task
from edgeops.protocol.messages import Intent
from edgeops.rollout.health.answers import judge_answers
from edgeops.rollout.health.errors import judge_crashes, judge_errors
from edgeops.rollout.health.finding import HealthFinding, Kind, Sign, counted
from edgeops.rollout.health.inputs import judge_mix, judge_quality, tell_estimate
from edgeops.rollout.health.latency import judge_latency, judge_memory
from edgeops.rollout.health.wave import WaveHealth
from edgeops.rollout.policy import HealthPolicy
from edgeops.rollout.verdict import Health, Healthy, Undecided, Unhealthy

#: Half of `alpha` is for labels, the other half for four others, of which each may stop a model: errors, crashes,
#: latency, and answers that differ more than is possible. Data quality is looked at as often and stops none.
_OTHERS = 4
#: Fewer devices, control included, have nobody to be compared with but themselves.
_FEW_DEVICES = 3


def health_verdict(health: WaveHealth, policy: HealthPolicy, *, task: Task, intent: Intent) -> Health:
    """Judge what a wave has shown; `findings_of` are its evidence."""
    findings = findings_of(health, policy, task=task, intent=intent)
    evidence = {"findings": msgspec.to_builtins(findings)}
    weak = _weakness(health)
    if bad := [one.words for one in findings if one.sign is Sign.BAD]:
        return Unhealthy("; and ".join(bad) + (f" ({weak})" if weak else ""), evidence)
    if missing := [one.words for one in findings if one.sign is Sign.OPEN]:
        return Undecided("; and ".join(missing), evidence)
    proofs = "; ".join(one.words for one in findings if one.sign is Sign.GOOD)
    return Healthy(f"{weak}: {proofs}" if weak else proofs, evidence)


def findings_of(health: WaveHealth, policy: HealthPolicy, *, task: Task, intent: Intent) -> tuple[HealthFinding, ...]:
    """What each kind of evidence says, the strongest first."""
    alpha = policy.alpha / 2 / _OTHERS
    found = (
        judge_telemetry(health, policy),
        judge_answers(health, policy, task=task, intent=intent),
        *judge_errors(health, policy, alpha=alpha),
        judge_crashes(health, alpha=alpha),
        *judge_latency(health, policy, alpha=alpha),
        judge_memory(health, policy),
        judge_quality(health, alpha=alpha),
        *judge_mix(health, task=task, intent=intent),
        tell_estimate(health),
    )
    return tuple(one for one in found if one is not None)


def judge_telemetry(health: WaveHealth, policy: HealthPolicy) -> HealthFinding:
    """Whether every device has been heard, and enough: silence is no health."""
    canary = health.canary
    missing = []
    if canary.heard < canary.devices or not canary.devices:
        missing.append(
            f"{canary.heard} of {counted(canary.devices, 'device')} have been heard since they took the model"
        )
    if health.silent:
        missing.append(f"{counted(health.silent, 'device')} fell silent")
    if health.quiet:
        missing.append(f"{counted(health.quiet, 'device')} sent nothing in the last part of the bake and since")
    if health.removed:
        missing.append(f"{counted(health.removed, 'device')} left the fleet, and no other of the wave is there")
    if canary.since.rows < policy.min_rows:
        missing.append(f"{canary.since.rows:,} of {counted(policy.min_rows, 'input')} answered")
    if canary.paired < canary.shadowed:
        missing.append(
            f"{canary.paired} of {counted(canary.shadowed, 'device')} sent what the old model answers beside it"
        )
    if canary.shadowed and canary.pairs.seen < policy.min_rows:
        missing.append(f"{canary.pairs.seen:,} of {counted(policy.min_rows, 'input')} answered by both models")
    if missing and health.distrusted:
        missing.append(f"what {counted(health.distrusted, 'quarantined device')} showed is not believed")
    if missing:
        return HealthFinding(kind=Kind.TELEMETRY, sign=Sign.OPEN, words=f"not enough was heard: {', '.join(missing)}")
    pairs = f", {canary.pairs.seen:,} of them by both models" if canary.shadowed else ""
    control = f"; {counted(health.control.heard, 'control device')}" if health.control.heard else ""
    words = f"{canary.since.rows:,} inputs on {counted(canary.devices, 'device')}{pairs}{control}"
    return HealthFinding(
        kind=Kind.TELEMETRY, sign=Sign.GOOD, words=words, value=canary.since.rows, limit=policy.min_rows
    )


def _weakness(health: WaveHealth) -> str:
    """Why the evidence is weak; empty if it is not."""
    if not (health.canary.shadowed or health.canary.before.windows or health.control.since.windows):
        return "weak evidence: a first model, with nothing to compare it with"
    devices = health.canary.devices + health.control.heard
    if devices < _FEW_DEVICES:
        return (
            f"weak evidence: {counted(devices, 'device')}, compared with {'itself' if devices == 1 else 'themselves'}"
        )
    alone = health.canary.devices - health.canary.shadowed
    where = f" on {alone:,} of {counted(health.canary.devices, 'device')}" if health.canary.shadowed else ""
    return f"weak evidence: no old model answered the same inputs{where}" if alone > 0 else ""
