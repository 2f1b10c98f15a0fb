"""Good and bad canaries before the health gate: which are stopped, and after how many inputs and labels.

Each canary is a wave of three devices that see all of `PAIRS` real inputs, dealt by chance. After every round of
windows the gate looks at what was shown so far, and people label a few of the disagreements; the first verdict that is
not "undecided" ends it. A canary that is still undecided when inputs and labels are used up is paused, so it is stopped
as well: a false stop if it is good, and never spread if it is bad.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench._canaries import FAULTS, GOOD, LOSS_OF_BAD, MOST_LOSS_OF_GOOD, WORLDS, Array, Canary, canaries, folder
from bench._streams import cpu_seconds, in_processes
from edgeops.artifact.manifest import Task
from edgeops.learning.sampling import choose, nominate
from edgeops.protocol.messages import Intent, Paired, Phase, Window
from edgeops.rollout.health.device import DeviceHealth, with_window
from edgeops.rollout.health.verdict import health_verdict
from edgeops.rollout.health.wave import Labels, Shown, Stated, WaveHealth, replaced, with_device
from edgeops.rollout.policy import HealthPolicy
from edgeops.rollout.verdict import Healthy, Undecided, Unhealthy

CANARIES = 100
ORDERS = 10
PAIRS = 2_000
DEVICES = 3
WINDOW_PAIRS = 50
#: Labels that people give between two looks.
LABELS_A_LOOK = 12
FALSE_BAR, FOUND_BAR = 0.05, 0.95
#: A fall of the mean confidence that a gate without labels would stop at.
_CONFIDENCE_FALL = 0.025
_RAW = bytes(32)

PASSED, STOPPED, PAUSED = "passed", "stopped", "paused"


@dataclass(frozen=True)
class Ending:
    """What became of a canary in one order of its inputs."""

    world: str
    kind: str
    loss: float
    #: PASSED, STOPPED, PAUSED; with labels, and when nobody labels.
    verdict: str
    unlabelled: str
    pairs: int
    labels: int
    #: Whether its mean confidence is lower than the old model's by as much as would matter.
    looks_unsure: bool


def measure(*, number: int = CANARIES, orders: int = ORDERS) -> dict[str, Any]:
    """The share of bad canaries that are found; the other side is a gate that goes by confidences alone."""
    row = {"name": "health_canaries", "unit": "% of bad found"}
    bar = f">= {FOUND_BAR:.0%} of bad found, <= {FALSE_BAR:.0%} of good stopped"
    missing = [name for name in ("wisdm_windows", "occupancy") if not (folder() / name).exists()]
    if missing:
        why = (
            f"not measured: no {', '.join(missing)} in {folder()}; set EDGEOPS_TEST_DATA to the research data's folder"
        )
        return {**row, "value": 0, "baseline": None, "bar": bar, "holds": False, "inside": why}
    began = cpu_seconds()
    made = canaries(number, number)
    endings = [ending for several in in_processes(judge, made, [orders] * len(made)) for ending in several]
    good, bad = ([one for one in endings if (one.kind == GOOD) is is_good] for is_good in (True, False))
    found, false = 1 - _share(bad, PASSED), 1 - _share(good, PASSED)
    return {
        **row,
        "value": round(100 * found, 1),
        "baseline": round(100 * float(np.mean([one.looks_unsure for one in bad])), 1),
        "bar": bar,
        "holds": found >= FOUND_BAR and false <= FALSE_BAR,
        "inside": (
            f"{number} good canaries (another seed, loss <= {100 * MOST_LOSS_OF_GOOD:g} point) and {number} bad ones "
            f"({', '.join(FAULTS)}; each loses {100 * LOSS_OF_BAD:g} points) of {' and '.join(WORLDS)}, each in "
            f"{orders} orders of {PAIRS:,} inputs on {DEVICES} devices, looked at every "
            f"{DEVICES * WINDOW_PAIRS} inputs. Bad: {_told(bad)}. Good: {_told(good)}; of those that lose half a "
            f"point or more {_told([one for one in good if one.loss >= 0.005])}. "
            f"{'. '.join(_of(endings, kind) for kind in (GOOD, *FAULTS))}. Nobody labels (labels = 0): of the bad "
            f"{_unlabelled(bad)}; of the good {_unlabelled(good)}. baseline: bad ones whose mean confidence falls by "
            f"{100 * _CONFIDENCE_FALL:g} points; so do {np.mean([one.looks_unsure for one in good]):.1%} of the good "
            f"ones. {cpu_seconds() - began:.0f} s of CPU"
        ),
    }


def judge(canary: Canary, orders: int) -> list[Ending]:
    """A canary in several orders of its inputs."""
    return [_ending(canary, np.random.default_rng(order)) for order in range(orders)]


def _ending(canary: Canary, random: np.random.Generator) -> Ending:
    rows = random.permutation(len(canary.truths))[:PAIRS]
    labelled, health = _looks(canary, rows, random)
    unlabelled, _ = _first(health, HealthPolicy(labels=0))
    verdict, place = _first(labelled, HealthPolicy())
    at = labelled[place]
    fall = canary.old_confidence[rows].mean() - canary.new_confidence[rows].mean()
    return Ending(
        world=canary.world,
        kind=canary.kind,
        loss=canary.loss,
        verdict=verdict,
        unlabelled=unlabelled,
        pairs=at.canary.pairs.rows,
        labels=at.labels.given,
        looks_unsure=bool(fall >= _CONFIDENCE_FALL),
    )


def _looks(canary: Canary, rows: Array, random: np.random.Generator) -> tuple[list[WaveHealth], list[WaveHealth]]:
    """All that was shown at each look, with labels and without."""
    stated = Stated(new_accuracy=canary.new_stated, old_accuracy=canary.old_stated)
    labels, given = Labels(), np.zeros(len(rows), np.bool_)
    with_labels, without = [], []
    for seen, shown in _rounds(canary, rows):
        chosen = _chosen(canary, rows[:seen], given[:seen], random, last=seen == len(rows))
        given[chosen] = True
        labels = _labels(canary, rows[given])
        with_labels.append(WaveHealth(canary=shown, labels=labels, stated=stated))
        without.append(WaveHealth(canary=shown, stated=stated))
    return with_labels, without


def _rounds(canary: Canary, rows: Array) -> Iterator[tuple[int, Shown]]:
    """How many inputs were seen, and what that showed, window by window on each device."""
    devices = [DeviceHealth(shadowed=True)] * DEVICES
    shown = Shown()
    for device in devices:
        shown = with_device(shown, device)
    for start in range(0, len(rows), DEVICES * WINDOW_PAIRS):
        last = min(start + DEVICES * WINDOW_PAIRS, len(rows))
        for place, part in enumerate(np.array_split(rows[start:last], DEVICES)):
            grown = with_window(devices[place], _window(canary, part))
            shown, devices[place] = replaced(shown, devices[place], grown), grown
        yield last, shown


def _window(canary: Canary, rows: Array) -> Window:
    """One telemetry window all of whose inputs both models answered, each as fast as the other."""
    classes = int(canary.truths.max()) + 1
    cells = np.bincount(canary.old[rows] * classes + canary.new[rows], minlength=classes**2)
    time_us = {"latency_p50_us": 10_000, "latency_p95_us": 12_000}
    times_us = time_us | {f"shadow_{name}": value for name, value in time_us.items()}
    paired = Paired(shadow=_RAW, rows=len(rows), cells=tuple(cells.tolist()), **times_us)
    counts = {"rows": len(rows), "source_rows": len(rows), "errors": 0, "dropped": 0, "duration_ms": 10_000}
    return Window(deployment="bench", digest=_RAW, phase=Phase.LIVE, sketch=b"", paired=paired, **counts, **time_us)


def _chosen(canary: Canary, rows: Array, given: Array, random: np.random.Generator, *, last: bool) -> Array:
    """Places among the rows of disagreements that are labelled now, as the product chooses them: by chance."""
    places = np.flatnonzero((canary.old[rows] != canary.new[rows]) & ~given)
    wanted = HealthPolicy().labels - int(given.sum())
    wanted = min(wanted, len(places), len(places) if last else LABELS_A_LOOK)
    if wanted <= 0:
        return places[:0]
    points, doubt = np.zeros((len(places), 1)), 1 - canary.new_confidence[rows[places]]
    named = nominate(points, doubt, len(places), random_share=1.0, random=random)
    nominees = np.array([one.index for one in named])
    by_chance, devices = np.ones(len(nominees), np.bool_), nominees % DEVICES
    picked = choose(points[nominees], doubt[nominees], by_chance, devices, wanted, random_share=1.0, random=random)
    return places[nominees[picked]]


def _labels(canary: Canary, rows: Array) -> Labels:
    truths, new, old = canary.truths[rows], canary.new[rows], canary.old[rows]
    new_right, old_right = int((new == truths).sum()), int((old == truths).sum())
    return Labels(new_right=new_right, old_right=old_right, neither=len(rows) - new_right - old_right)


def _first(looks: list[WaveHealth], policy: HealthPolicy) -> tuple[str, int]:
    """The first verdict that ends it, and at which look."""
    for place, health in enumerate(looks):
        match health_verdict(health, policy, task=Task.CLASSIFICATION, intent=Intent.IMPROVE):
            case Healthy():
                return PASSED, place
            case Unhealthy():
                return STOPPED, place
            case Undecided():
                pass
    return PAUSED, len(looks) - 1


def _share(endings: list[Ending], verdict: str) -> float:
    return sum(one.verdict == verdict for one in endings) / max(len(endings), 1)


def _told(endings: list[Ending]) -> str:
    if not endings:
        return "none"
    shares = ", ".join(f"{verdict} {_share(endings, verdict):.1%}" for verdict in (STOPPED, PAUSED, PASSED))
    pairs, labels = (np.mean([getattr(one, name) for one in endings]) for name in ("pairs", "labels"))
    return f"{shares} of {len(endings):,}, on average after {pairs:.0f} inputs and {labels:.0f} labels"


def _of(endings: list[Ending], kind: str) -> str:
    by_world = [
        f"{world} {1 - _share([one for one in endings if (one.kind, one.world) == (kind, world)], PASSED):.1%}"
        for world in WORLDS
    ]
    return f"{kind}, not passed: {', '.join(by_world)}"


def _unlabelled(endings: list[Ending]) -> str:
    shares = (
        f"{verdict} {np.mean([one.unlabelled == verdict for one in endings]):.1%}"
        for verdict in (STOPPED, PAUSED, PASSED)
    )
    return ", ".join(shares)
