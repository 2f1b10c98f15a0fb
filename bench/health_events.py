"""Errors that triple and answers that take half as long again, before a gate that looks after every window.

Streams are seeded and made up. Errors: 1 % of the inputs end in an error of the old model, of the new one in 1 % or in
3 %. Time: log-normal by input, and a host that is busy in one window of ten and then takes two to five times as long,
for both models or for one of them. Each stream is looked at `LOOKS` times. A model is stopped if any look says so; the
other side is a test at 5 % that is made for one look (two proportions, and Student's t of the logarithms).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from bench._streams import cpu_seconds, in_processes
from edgeops.protocol.messages import Paired, Phase, Window
from edgeops.rollout.health.device import DeviceHealth, with_window
from edgeops.rollout.health.errors import judge_errors
from edgeops.rollout.health.finding import Sign
from edgeops.rollout.health.latency import judge_latency
from edgeops.rollout.health.wave import Shown, WaveHealth, replaced, with_device
from edgeops.rollout.policy import HealthPolicy

STREAMS = 400
LOOKS = 100
WINDOW_PAIRS = 50
USUAL, TRIPLED = 0.01, 0.03
SLOWER = 1.5
FALSE_BAR, FOUND_BAR = 0.05, 0.95
_P95_US = 12_000
_BUSY = 0.1
_RAW = bytes(32)
#: What the health gate gives each of these kinds of evidence of its alpha.
_ALPHA = HealthPolicy().alpha / 8
_Z = NormalDist().inv_cdf(0.95)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Ending:
    """What became of one stream: the look at which it ended, None = it never did."""

    stopped_at: int | None
    passed_at: int | None
    naively_stopped: bool


def measure(*, streams: int = STREAMS) -> dict[str, Any]:
    """The worst share of healthy streams that are stopped."""
    began = cpu_seconds()
    cases = [(kind, is_bad) for kind in ("errors", "latency") for is_bad in (False, True)]
    seen = {case: in_processes(follow, [case[0]] * streams, [case[1]] * streams, range(streams)) for case in cases}
    false = [_stopped(seen[kind, False]) for kind in ("errors", "latency")]
    found = [_stopped(seen[kind, True]) for kind in ("errors", "latency")]
    return {
        "name": "health_events",
        "value": round(100 * max(false), 2),
        "unit": "% false stops",
        "baseline": round(100 * max(_naive(seen[kind, False]) for kind in ("errors", "latency")), 1),
        "bar": f"<= {FALSE_BAR:.0%}; errors 1 % -> 3 % and p95 x {SLOWER} found >= {FOUND_BAR:.0%}",
        "holds": max(false) <= FALSE_BAR and min(found) >= FOUND_BAR,
        "inside": (
            f"{streams} seeded streams of each, {LOOKS} looks, {WINDOW_PAIRS} inputs that both models had in a window. "
            f"Errors {USUAL:.0%} -> {TRIPLED:.0%}: {_told(seen['errors', True])}; {USUAL:.0%} -> {USUAL:.0%}: "
            f"{_told(seen['errors', False])}. p95 x {SLOWER}: {_told(seen['latency', True])}; x 1: "
            f"{_told(seen['latency', False])}. baseline: healthy streams that a test at 5 % for one look stops "
            f"when it is made at every look, the worse of both. {cpu_seconds() - began:.0f} s of CPU"
        ),
    }


def follow(kind: str, is_bad: bool, seed: int) -> Ending:  # noqa: FBT001 - the arguments of a process
    """One stream, judged after each window until it is stopped or passed; what comes later may still stop it."""
    random = np.random.default_rng([seed, is_bad, *kind.encode()])
    device = DeviceHealth(shadowed=True)
    shown = with_device(Shown(), device)
    stopped_at = passed_at = None
    naive = _NAIVE[kind]()
    naively_stopped = False
    for look, paired in enumerate(_windows(kind, random, is_bad=is_bad), start=1):
        grown = with_window(device, _window(paired))
        shown, device = replaced(shown, device, grown), grown
        naively_stopped = naive.stops(paired) or naively_stopped
        if stopped_at is None:
            sign = _judged(kind, WaveHealth(canary=shown))
            stopped_at = look if sign is Sign.BAD else None
            passed_at = look if passed_at is None and sign is Sign.GOOD else passed_at
    return Ending(stopped_at, passed_at, naively_stopped)


def _judged(kind: str, health: WaveHealth) -> Sign:
    judge = judge_errors if kind == "errors" else judge_latency
    [finding] = judge(health, HealthPolicy(), alpha=_ALPHA)
    return finding.sign


def _windows(kind: str, random: np.random.Generator, *, is_bad: bool) -> Iterator[Paired]:
    for _ in range(LOOKS):
        yield _errors(random, is_bad=is_bad) if kind == "errors" else _times(random, is_bad=is_bad)


def _errors(random: np.random.Generator, *, is_bad: bool) -> Paired:
    old = random.random(WINDOW_PAIRS) < USUAL
    new = random.random(WINDOW_PAIRS) < (TRIPLED if is_bad else USUAL)
    return Paired(
        shadow=_RAW,
        rows=int((~old & ~new).sum()),
        errors=int((new & ~old).sum()),
        shadow_errors=int((old & ~new).sum()),
    )


def _times(random: np.random.Generator, *, is_bad: bool) -> Paired:
    times = np.exp(0.25 * random.standard_normal((2, WINDOW_PAIRS)))
    if random.random() < _BUSY:
        times *= random.uniform(2, 5)
    elif random.random() < _BUSY:
        times[random.integers(2)] *= random.uniform(2, 5)
    times[0] *= SLOWER if is_bad else 1.0
    new, old = (int(_P95_US * value) for value in np.percentile(times, 95, axis=1))
    return Paired(shadow=_RAW, rows=WINDOW_PAIRS, latency_p95_us=new, shadow_latency_p95_us=old)


def _window(paired: Paired) -> Window:
    return Window(
        deployment="bench",
        digest=_RAW,
        phase=Phase.LIVE,
        rows=paired.rows,
        source_rows=paired.rows,
        errors=paired.errors,
        dropped=0,
        duration_ms=10_000,
        latency_p50_us=paired.latency_p95_us,
        latency_p95_us=paired.latency_p95_us,
        sketch=b"",
        paired=paired,
    )


class _Proportions:
    """Whether more inputs end in an error of the new model alone than of the old one alone (one-sided)."""

    def __init__(self) -> None:
        self._more = self._less = 0

    def stops(self, paired: Paired) -> bool:
        self._more += paired.errors
        self._less += paired.shadow_errors
        return self._more - self._less > _Z * np.sqrt(max(self._more + self._less, 1))


class _Times:
    """Whether the mean logarithm of new by old is above 0 (one-sided)."""

    def __init__(self) -> None:
        self._ratios: list[float] = []

    def stops(self, paired: Paired) -> bool:
        self._ratios.append(float(np.log(paired.latency_p95_us / paired.shadow_latency_p95_us)))
        number = len(self._ratios)
        return number > 1 and float(np.mean(self._ratios)) > _Z * float(np.std(self._ratios, ddof=1)) / np.sqrt(number)


_NAIVE = {"errors": _Proportions, "latency": _Times}


def _stopped(endings: list[Ending]) -> float:
    """Of streams; one that passed before is out of the gate's hands."""
    return float(np.mean([one.stopped_at is not None and one.passed_at is None for one in endings]))


def _naive(endings: list[Ending]) -> float:
    return float(np.mean([one.naively_stopped for one in endings]))


def _told(endings: list[Ending]) -> str:
    stops = [one.stopped_at for one in endings if one.stopped_at is not None and one.passed_at is None]
    passes = [one.passed_at for one in endings if one.passed_at is not None]
    ever = np.mean([one.stopped_at is not None for one in endings])
    return (
        f"stopped {_when(stops, len(endings))}, passed {_when(passes, len(endings))} (looked at on and on, whatever it "
        f"passed, {ever:.1%} are stopped)"
    )


def _when(looks: list[int], streams: int) -> str:
    return f"{len(looks) / streams:.1%}" + (f" (half of them by window {np.median(looks):.0f})" if looks else "")
