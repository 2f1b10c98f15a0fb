"""Tries an artifact in a child process, where a crash costs no inference: load, golden vectors, acceptance, latency.

    python -m device_agent.probe ARTIFACT [ACCEPTANCE_SET]

prints one JSON verdict. The parent's side bounds time and memory and takes a crash or a hang for a verdict
too. It does not ask whether the artifact is trusted: that comes before and after.
"""

import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from device_agent.first_answers import Unfit, load_tried
from device_agent.verdict_child import NoVerdict, verdict_of
from edgeops import limits
from edgeops.artifact.acceptance import check_acceptance, decode_acceptance
from edgeops.errors import ArtifactError
from edgeops.model.model import Model
from edgeops.protocol.messages import Reason

_WARM_UP = 5
_MEASURED = 50
#: Measuring ends early for slow models.
_MEASURE_S = 5.0


class ProbeVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the trial in the child."""

    #: NONE = it passed.
    reason: Reason
    detail: str
    latency_p50_us: int = 0
    latency_p95_us: int = 0


def run_probe(artifact: Path, acceptance: Path | None) -> ProbeVerdict:
    """Probe in a child with PROBE_MEMORY_BYTES of address space and PROBE_TIMEOUT; for the worker thread.

    `acceptance` is the set that a model of a delegated key must pass; None = a person signed the model.
    """
    files = [str(file) for file in (artifact, acceptance) if file is not None]
    verdict = verdict_of("device_agent.probe", *files, name="probe", kind=ProbeVerdict, timeout=limits.PROBE_TIMEOUT)
    if isinstance(verdict, NoVerdict):
        return ProbeVerdict(reason=Reason.PROBE, detail=verdict.detail)
    return verdict


def probe(artifact: Path, acceptance: Path | None) -> ProbeVerdict:
    """Load, compare with the golden vectors, run the acceptance set, measure; in this process."""
    tried = load_tried(artifact)
    if isinstance(tried, Unfit):
        return ProbeVerdict(reason=tried.reason, detail=tried.detail)
    model, _ = tried
    refused = None if acceptance is None else _judge_acceptance(model, acceptance)
    return refused or _judge_latency(model, _measure_us(model))


def _judge_acceptance(model: Model, file: Path) -> ProbeVerdict | None:
    """The verdict on a model that falls short; None = it does not."""
    try:
        verdict = check_acceptance(model, decode_acceptance(file.read_bytes()))
    except OSError as error:
        return ProbeVerdict(reason=Reason.DISK, detail=f"cannot read the acceptance set: {error}")
    except ArtifactError as error:
        return ProbeVerdict(reason=Reason.ACCEPTANCE, detail=str(error))
    if verdict.passed:
        return None
    detail = f"the acceptance set is not passed: {'; '.join(verdict.shortfalls)}"
    return ProbeVerdict(reason=Reason.ACCEPTANCE, detail=detail[: limits.MAX_DETAIL_LENGTH])


def _judge_latency(model: Model, latencies_us: list[int]) -> ProbeVerdict:
    """Half of the answers beyond the budget of the 95th percentile is no noise of a busy machine."""
    latencies_us.sort()
    p50_us = latencies_us[len(latencies_us) // 2]
    p95_us = latencies_us[len(latencies_us) * 95 // 100]
    budget_ms = model.manifest.budgets.p95_latency_ms
    slow = p50_us > budget_ms * 1000
    detail = (
        f"half of the answers take longer than {p50_us / 1000:g} ms, 95 % may take {budget_ms:g} ms" if slow else ""
    )
    return ProbeVerdict(
        reason=Reason.PROBE if slow else Reason.NONE, detail=detail, latency_p50_us=p50_us, latency_p95_us=p95_us
    )


def _measure_us(model: Model) -> list[int]:
    window = model.manifest.window
    blank = np.zeros((window.rows, len(window.columns)), dtype=np.float32)
    for _ in range(_WARM_UP):
        model.predict(blank)
    latencies: list[int] = []
    end = time.monotonic() + _MEASURE_S
    while len(latencies) < _MEASURED and (not latencies or time.monotonic() < end):
        start = time.perf_counter_ns()
        model.predict(blank)
        latencies.append((time.perf_counter_ns() - start) // 1000)
    return latencies


def main() -> None:
    """Run as a child process; see the module's docstring."""
    artifact, *acceptance = map(Path, sys.argv[1:])
    verdict = probe(artifact, acceptance[0] if acceptance else None)
    sys.stdout.write(msgspec.json.encode(verdict).decode() + "\n")


if __name__ == "__main__":
    main()
