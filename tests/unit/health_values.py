"""What devices and waves show, for the tests of the health gate."""

from edgeops.artifact.manifest import Task
from edgeops.protocol.messages import Intent, Paired, Phase, Window
from edgeops.rollout.health.device import DeviceHealth, Inputs, Live, Pairs, Period
from edgeops.rollout.health.spread import spread_of, step_of
from edgeops.rollout.health.verdict import findings_of, health_verdict
from edgeops.rollout.health.wave import Shown, WaveHealth, with_device
from edgeops.rollout.policy import HealthPolicy

POLICY = HealthPolicy()
RAW = bytes(32)


def times(ms, windows=40):
    """So many windows that took as long."""
    return spread_of([step_of(1_000 * ms)] * windows)


def period(*, rows=2_000, errors=0, dropped=0, p95_ms=12.0, windows=40, crashes=0, missing=0, mix=()):
    """Windows of one model."""
    return Period(
        windows=windows,
        rows=rows,
        errors=errors,
        dropped=dropped,
        duration_ms=10_000 * windows,
        latency_p95=times(p95_ms, windows),
        inputs=Inputs(values=4 * rows, missing=missing, mix=mix),
        crashes=crashes,
    )


def pairs(*, cells=(600, 0, 0, 400), new_errors=0, old_errors=0, new_ms=12.0, old_ms=12.0, windows=40, rows=None):
    """Inputs that both had."""
    return Pairs(
        windows=windows,
        rows=sum(cells) if rows is None else rows,
        new_errors=new_errors,
        old_errors=old_errors,
        cells=cells,
        ratio_p95=spread_of([step_of(new_ms / old_ms)] * windows),
        new_p95=times(new_ms, windows),
        old_p95=times(old_ms, windows),
    )


def device(**fields):
    """A device that is as well as before."""
    values = {"shadowed": True, "before": period(), "since": period(), "pairs": pairs(), **fields}
    since = values["since"]
    return DeviceHealth(**{"live": Live(rows=since.rows, errors=since.errors), **values})


def held_back(**fields):
    """A device that is held back, and as well as before."""
    return device(shadowed=False, pairs=Pairs(), **fields)


def shown(*devices):
    """What they show together."""
    together = Shown()
    for one in devices:
        together = with_device(together, one)
    return together


CONTROL = shown(*[held_back()] * 4)


def wave(*devices, **fields):
    """A wave of these devices, beside four that were held back."""
    return WaveHealth(**{"canary": shown(*devices or [device()]), "control": CONTROL, **fields})


def judged(health, *, policy=POLICY, task=Task.CLASSIFICATION, intent=Intent.IMPROVE):
    """The verdict."""
    return health_verdict(health, policy, task=task, intent=intent)


def found(kind, health, *, policy=POLICY, task=Task.CLASSIFICATION, intent=Intent.IMPROVE):
    """What one kind of evidence says; None = nothing."""
    findings = findings_of(health, policy, task=task, intent=intent)
    return next((one for one in findings if one.kind is kind), None)


def window(*, rows=50, p95_us=12_000, paired=None, phase=Phase.LIVE, **fields):
    """A telemetry window."""
    values = {"source_rows": rows, "errors": 0, "dropped": 0, "duration_ms": 10_000, "latency_p50_us": 0, **fields}
    return Window(
        deployment="pump1", digest=RAW, phase=phase, rows=rows, latency_p95_us=p95_us, sketch=b"", paired=paired,
        **values,
    )  # fmt: skip


def paired(*, rows=10, p95_us=12_000, shadow_p95_us=10_000, **fields):
    """Its pairs."""
    return Paired(shadow=RAW, rows=rows, latency_p95_us=p95_us, shadow_latency_p95_us=shadow_p95_us, **fields)
