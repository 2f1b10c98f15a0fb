"""Twenty devices together: what all see is the fleet's, what one sees is its own.

A run is twenty devices, each with independent rows of sixteen channels in windows of 500, against one reference;
judged after each round of windows with all rounds before it. One channel moves from the first round on: on no device,
on all of them a little, or on one of them clearly. A run is false when any judgement finds what is not there: anything
where nothing moved; a device of its own where all moved alike; the fleet, or another device, where one moved.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import _peers, _pictures
from bench._streams import CHANNELS, POLICY, WINDOW, cpu_seconds, in_processes, noise, reference_of, windows
from edgeops.drift.finding import FleetFinding, Verdict
from edgeops.drift.verdict import judge_fleet
from edgeops.sketch.reference import ReferenceProfile

RUNS = 400
PEER_RUNS = 40
DEVICES = 20
ROUNDS = 4
REFERENCE_ROWS = 5_000
ALL_BY, ONE_BY = 0.25, 1.0
FALSE_BAR, FOUND_BAR = 0.05, 0.99

NONE, ALL, ONE = "none", "all", "one"

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """One run: rows of the reference, of each device, and which channel of which device moves."""

    reference: Array
    devices: list[Array]
    channel: int
    moved: int

    def shifted(self, device: int, by: float) -> Array:
        """The rows of a device with its channel moved."""
        values = self.devices[device].copy()
        values[:, self.channel] += np.float32(by)
        return values


def measure(*, runs: int = RUNS, pictures: Path = _pictures.FOLDER) -> dict[str, Any]:
    """The worst share of false runs; the other side is exact KS on every device by itself."""
    began = cpu_seconds()
    seen = in_processes(study, range(runs))
    false = {case: _share(seen, "false", case) for case in (NONE, ALL, ONE)}
    found = {case: _share(seen, "found", case) for case in (ALL, ONE)}
    alone = [one["KS"] for one in seen if "KS" in one]
    _pictures.draw_fleet(pictured(0), POLICY.floor, pictures)
    return {
        "name": "drift_fleet",
        "value": round(100 * max(false.values()), 2),
        "unit": "% false",
        "baseline": round(100 * float(np.mean(alone)), 2),
        "bar": f"<= {FALSE_BAR:.0%}, and found >= {FOUND_BAR:.0%} fleet-wide, >= {FOUND_BAR:.0%} local",
        "holds": max(false.values()) <= FALSE_BAR and min(found.values()) >= FOUND_BAR,
        "inside": (
            f"value: the worst of three cases, {runs:,} seeded runs each of {DEVICES} devices x {ROUNDS} windows of "
            f"{WINDOW} independent rows x {len(CHANNELS)} channels, {REFERENCE_ROWS:,} rows of reference, judged after "
            f"each round; false where any of them is. Nothing moved: false {false[NONE]:.1%} of runs. One channel of "
            f"all by {ALL_BY:g} sigma: found fleet-wide in {found[ALL]:.1%} ({_by_round(seen, ALL)} by round), a "
            f"device called local in {false[ALL]:.1%}. One channel of one by {ONE_BY:g} sigma: found local in "
            f"{found[ONE]:.1%} ({_by_round(seen, ONE)}), the fleet or another device called moved in "
            f"{false[ONE]:.1%}. baseline: exact KS with Bonferroni on each device's raw rows alarms somewhere in so "
            f"many of {len(alone)} runs although nothing moved. {cpu_seconds() - began:.0f} s of CPU"
        ),
    }


def study(seed: int) -> dict[Any, Any]:
    """By ("false" | "found", case) what was said in each round; of the first runs whether KS alarms on any device."""
    rows = rows_of(seed)
    profile = reference_of(rows.reference)
    seen: dict[Any, Any] = {}
    for case in (NONE, ALL, ONE):
        rounds = [_verdicts(found) for found in _judged(profile, cases(rows, case))]
        fleet = np.array([is_fleet for is_fleet, _ in rounds])
        local = np.array([is_local for _, is_local in rounds])
        others = np.delete(local, rows.moved, axis=1).any(axis=1)
        if case == ALL:
            seen["false", case], seen["found", case] = local.any(axis=1), fleet
        elif case == ONE:
            seen["false", case], seen["found", case] = fleet | others, local[:, rows.moved]
        else:
            seen["false", case] = fleet | local.any(axis=1)
    if seed < PEER_RUNS:
        seen["KS"] = any(_peers.ks_alarms(rows.reference, values, window=WINDOW).any() for values in rows.devices)
    return seen


def rows_of(seed: int) -> Rows:
    """The rows of a run."""
    random = np.random.default_rng(seed)
    reference = noise(REFERENCE_ROWS, 0.0, random)
    devices = [noise(ROUNDS * WINDOW, 0.0, random) for _ in range(DEVICES)]
    return Rows(reference, devices, channel=seed % len(CHANNELS), moved=seed % DEVICES)


def cases(rows: Rows, case: str) -> list[Array]:
    """What the devices see."""
    by = {NONE: [0.0] * DEVICES, ALL: [ALL_BY] * DEVICES, ONE: [0.0] * DEVICES}[case]
    if case == ONE:
        by[rows.moved] = ONE_BY
    return [rows.shifted(device, shift) for device, shift in enumerate(by)]


def pictured(seed: int) -> list[_pictures.Situation]:
    """The last judgement of one run, case by case."""
    rows = rows_of(seed)
    profile = reference_of(rows.reference)
    situations = []
    for case, title in (
        (NONE, "Nothing moved"),
        (ALL, f"All moved by {ALL_BY:g} sigma"),
        (ONE, f"Device {rows.moved + 1} moved by {ONE_BY:g} sigma"),
    ):
        *_, found = _judged(profile, cases(rows, case))
        local = list(found.local.values())
        situations.append(
            _pictures.Situation(
                title=title,
                verdict=str(found.fleet.verdict),
                of_devices=np.array([one.channels[rows.channel].distance for one in local]),
                is_local=np.array([one.verdict is Verdict.DRIFT for one in local]),
                of_fleet=found.fleet.channels[rows.channel].distance,
            )
        )
    return situations


def _judged(profile: ReferenceProfile, devices: list[Array]) -> list[FleetFinding]:
    arrived = {f"device-{place:02}": windows(profile, values) for place, values in enumerate(devices)}
    return [
        judge_fleet(profile, {name: own[:last] for name, own in arrived.items()}, POLICY, channels=CHANNELS)
        for last in range(1, ROUNDS + 1)
    ]


def _verdicts(found: FleetFinding) -> tuple[bool, list[bool]]:
    return found.fleet.verdict is Verdict.DRIFT, [one.verdict is Verdict.DRIFT for one in found.local.values()]


def _share(seen: list[dict[Any, Any]], what: str, case: str) -> float:
    return float(np.mean([one[what, case].any() for one in seen]))


def _by_round(seen: list[dict[Any, Any]], case: str) -> str:
    by_then = np.logical_or.accumulate([one["found", case] for one in seen], axis=1).mean(axis=0)
    return "/".join(f"{100 * share:.1f}" for share in by_then)
