"""Measures an artifact on this machine in a child process, beside the model that runs: what a blessing rests on.

    python -m device_agent.benchmark ARTIFACT

prints one JSON verdict: whether the golden vectors are answered as they must be, and what an inference costs. The child
has the lowest priority and gives way: a block of inferences during which something else took the processor is set
aside, and measured again after a pause. One thread; the inputs are the golden windows, one after the other.
Whether the artifact may be loaded at all is asked before, and what the figures are worth is decided by the server.
"""

import os
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from device_agent.facts import resident_bytes
from device_agent.first_answers import Unfit, load_tried
from device_agent.heat import read_heat, was_throttled
from device_agent.pairing import percentiles_us
from device_agent.verdict_child import NoVerdict, verdict_of
from edgeops import limits
from edgeops.errors import PlatformError
from edgeops.model.golden import golden_windows
from edgeops.model.model import Model
from edgeops.model.runtime import runtime_facts
from edgeops.protocol.messages import Millicelsius, Reason

#: The lowest priority that there is (nice(2)).
_NICENESS = 19
_WARM_UP = 5
#: A block takes about this long, and rests so long when it was disturbed.
_BLOCK_S = 0.02
_LARGEST_BLOCK = 50
_PAUSE_S = 0.05


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What the child found; fields as in `edgeops.protocol.messages.Benchmarked`."""

    reason: Reason
    detail: str
    inferences: int = 0
    latency_p50_us: int = 0
    latency_p95_us: int = 0
    latency_p99_us: int = 0
    disturbed: int = 0
    memory_bytes: int = 0
    millicelsius_before: Millicelsius | None = None
    millicelsius_after: Millicelsius | None = None
    throttled: bool | None = None


def run_benchmark(artifact: Path) -> Measured:
    """Measure in a child with PROBE_MEMORY_BYTES of address space and BENCHMARK_TIMEOUT; for a worker thread."""
    verdict = verdict_of(
        "device_agent.benchmark",
        str(artifact),
        name="benchmark",
        kind=Measured,
        timeout=limits.BENCHMARK_TIMEOUT,
    )
    return Measured(reason=Reason.PROBE, detail=verdict.detail) if isinstance(verdict, NoVerdict) else verdict


def measure(artifact: Path) -> Measured:
    """Load, compare with the golden vectors, time; in this process."""
    try:
        # Loaded before the first look: the runtime is there for every model.
        runtime_facts()
    except PlatformError as error:
        return Measured(reason=Reason.INCOMPATIBLE, detail=str(error)[: limits.MAX_DETAIL_LENGTH])
    before_bytes = resident_bytes()
    tried = load_tried(artifact)
    if isinstance(tried, Unfit):
        return Measured(reason=tried.reason, detail=tried.detail)
    model, detail = tried
    windows = golden_windows(model)
    before = read_heat()
    timed = time_windows(model, windows)
    after = read_heat()
    p50, p95, p99 = percentiles_us(timed.latencies_ns, (0.50, 0.95, 0.99))
    return Measured(
        reason=Reason.NONE,
        detail=detail,
        inferences=len(timed.latencies_ns),
        latency_p50_us=p50,
        latency_p95_us=p95,
        latency_p99_us=p99,
        disturbed=timed.disturbed,
        memory_bytes=max(0, resident_bytes() - before_bytes),
        millicelsius_before=before.millicelsius,
        millicelsius_after=after.millicelsius,
        throttled=was_throttled(before, after),
    )


@dataclass(slots=True)
class Timed:
    """Inference times of undisturbed blocks; of all where the machine is never at rest."""

    latencies_ns: list[int] = field(default_factory=list)
    #: Inferences that were set aside.
    disturbed: int = 0


def time_windows(model: Model, windows: NDArray[np.float32]) -> Timed:
    """Time BENCHMARK_INFERENCES answers to (windows, rows, columns) in turn, or as many as BENCHMARK_SPAN lets."""
    started = time.monotonic()
    for at in range(_WARM_UP):
        model.predict(windows[at % len(windows)])
    block = max(1, min(_LARGEST_BLOCK, int(_BLOCK_S * _WARM_UP / (time.monotonic() - started))))
    timed = Timed()
    aside: list[int] = []
    until = time.monotonic() + limits.BENCHMARK_SPAN.total_seconds()
    at = 0
    while len(timed.latencies_ns) < limits.BENCHMARK_INFERENCES and (at == 0 or time.monotonic() < until):
        taken = _times_taken()
        times_ns = [_time_ns(model, windows[place % len(windows)]) for place in range(at, at + block)]
        at += block
        if _times_taken() == taken:
            timed.latencies_ns += times_ns
        else:
            aside += times_ns
            time.sleep(_PAUSE_S)
    timed.disturbed = len(aside)
    if len(timed.latencies_ns) < min(limits.BENCHMARK_INFERENCES, at) // 2:
        # The machine is never at rest: what it costs there is what is known.
        timed.latencies_ns += aside
    return timed


def _time_ns(model: Model, window: NDArray[np.float32]) -> int:
    started_ns = time.perf_counter_ns()
    model.predict(window)
    return time.perf_counter_ns() - started_ns


def _times_taken() -> int:
    """How often something else took the processor from this thread (getrusage(2), ru_nivcsw)."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def main() -> None:
    """Run as a child process; see the module's docstring."""
    os.nice(_NICENESS)
    sys.stdout.write(msgspec.json.encode(measure(Path(sys.argv[1]))).decode() + "\n")


if __name__ == "__main__":
    main()
