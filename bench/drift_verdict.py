"""What a verdict on a whole fleet costs: 1,000 devices of 16 channels."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench._streams import CHANNELS, POLICY, WINDOW, noise, reference_of, windows
from edgeops import limits
from edgeops.drift.finding import Verdict
from edgeops.drift.verdict import judge_fleet
from edgeops.sketch.packing import pack, unpack_all
from edgeops.sketch.window import Sketch

DEVICES = 1_000
REPEATS = 5
BAR_SECONDS = 1.0
#: What the server keeps of so many devices.
HELD = max(1, limits.DRIFT_HISTOGRAMS // (DEVICES * len(CHANNELS)))


def measure(*, devices: int = DEVICES, repeats: int = REPEATS) -> dict[str, Any]:
    """Median of interleaved repeats, CPU time of one thread; the other side reads the same windows from their bytes."""
    random = np.random.default_rng(1)
    reference = reference_of(noise(5_000, 0.0, random))
    fleet = {f"device-{place:04}": windows(reference, noise(HELD * WINDOW, 0.0, random)) for place in range(devices)}
    packed = [pack(window) for arrived in fleet.values() for window in arrived]
    newest = {device: arrived[-1:] for device, arrived in fleet.items()}
    judging, first_look, reading = [], [], []
    for _ in range(repeats):
        judging.append(_seconds(lambda: _judge(reference, fleet)))
        first_look.append(_seconds(lambda: _judge(reference, newest)))
        reading.append(_seconds(lambda: unpack_all(packed)))
    value = float(np.median(judging))
    return {
        "name": "drift_verdict",
        "value": round(value, 3),
        "unit": "s",
        "baseline": round(float(np.median(reading)), 3),
        "bar": f"<= {BAR_SECONDS:g} s",
        "holds": value <= BAR_SECONDS,
        "inside": (
            f"CPU time, median of {repeats}. value: one judgement of {devices:,} devices x {len(CHANNELS)} channels, "
            f"of the fleet and of each device against its siblings, over {HELD} windows of each, which is what the "
            f"server keeps of so many; over one window of each {float(np.median(first_look)):.3f} s. baseline: "
            f"unpacking those {len(packed):,} windows, which the server does once"
        ),
    }


def _judge(reference: Any, fleet: dict[str, list[Sketch]]) -> None:
    found = judge_fleet(reference, fleet, POLICY, channels=CHANNELS)
    assert found.fleet.verdict is Verdict.STABLE, "nothing moved"


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
