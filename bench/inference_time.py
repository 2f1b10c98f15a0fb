"""The agent's extra time per inference over the bare runtime, for models from tiny to 128 columns."""

import tempfile
from pathlib import Path
from typing import Any

from device_agent.store.spool import Spool
from device_agent.timing import Timing, time_inference
from tests.golden.tiny import tiny_artifact

INFERENCES = 10_000
REPEATS = 3
FIXED_US = 40.0
PER_ELEMENT_US = 0.003
PER_CHANNEL_US = 1.0


def measure() -> dict[str, Any]:
    """The worst model against its own bar; of each the median of the repeats."""
    timings = {name: _median(artifact) for name, artifact in _ARTIFACTS.items()}
    worst = max(timings, key=lambda name: timings[name].overhead_us / _bar_us(timings[name]))
    timing = timings[worst]
    return {
        "name": "inference_time",
        "value": round(timing.overhead_us, 1),
        "unit": "us",
        "baseline": round(timing.bare_mean_us, 1),
        "bar": f"<= {FIXED_US:.0f} us + 3 ns x elements + 1 us x channels = {_bar_us(timing):.1f} us",
        "holds": all(entry.overhead_us <= _bar_us(entry) for entry in timings.values()),
        "inside": (
            f"CPU time of one thread, mean of {INFERENCES:,} inferences in interleaved blocks, median of {REPEATS}. "
            "value: from the row at DeploymentCore.take to a null sink, with input window, preprocessing, answer, "
            "channels, sketch and telemetry windows in the spool, minus baseline: set_tensor + invoke + get_tensor of "
            f"every output. {'; '.join(_described(name, entry) for name, entry in timings.items())}"
        ),
    }


_ARTIFACTS = {
    "int8, 7 channels": tiny_artifact,
    "float32 with embedding, 9 channels": lambda: tiny_artifact(variant="float32", embedding=True),
    "int8 with embedding, 9 channels": lambda: tiny_artifact(variant="int8", embedding=True),
}


def _median(artifact: Any) -> Timing:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(artifact())
        spool = Spool.open(Path(folder) / "spool.db")
        timings = [time_inference(path, spool, inferences=INFERENCES) for _ in range(REPEATS)]
        spool.close()
    return sorted(timings, key=lambda timing: timing.overhead_us)[REPEATS // 2]


def _bar_us(timing: Timing) -> float:
    return FIXED_US + PER_ELEMENT_US * timing.elements + PER_CHANNEL_US * timing.channels


def _described(name: str, timing: Timing) -> str:
    return (
        f"{name}: {timing.overhead_us:.1f} of {_bar_us(timing):.1f} us, "
        f"p50 {timing.agent_p50_us} against {timing.bare_p50_us} us, "
        f"p99 {timing.agent_p99_us} against {timing.bare_p99_us} us"
    )
