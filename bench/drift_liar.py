"""How often one device that lies makes a verdict of a whole fleet, by trying again and again, or hides one.

A fleet is judged after each of 128 windows, a whole horizon, and counts as fooled when any of these judgements says
that it drifts. The honest devices stay in the world that the model learnt from. No device can read what others send;
what one could do that did is told beside the figure.
"""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift.finding import Verdict
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.verdict import judge_fleet
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.reference import ReferenceProfile
from edgeops.sketch.window import Sketch, Sketcher, merge_all

CHANNELS = tuple(Channel(name=f"x{index}", kind=ChannelKind.COLUMN, index=index) for index in range(16))
TURNS = 128
#: Devices with the liar, rows of a window, fleets; every other one is also judged without a lie.
FLEETS = ((3, 27, 18), (3, 500, 4), (5, 80, 4))
#: Fleets of the first kind with a liar that knows what the others send.
ALL_KNOWING = 10
BAR = 0.05

#: Fleets that have moved, by so many standard deviations on every channel; windows until they must be found.
MOVED = ((3, 27), (5, 27), (20, 27), (3, 500))
SHIFTS = (0.25, 0.5, 1.0)
MOVED_FLEETS = 10
FOUND_BY = 4

_FAR, _NEAR = 4.0, 0.25
_MORE = 50
_PROCESSES = 2

Rows = np.ndarray[Any, Any]
#: Rows (devices, rows, channels) of the honest ones, random -> what the liar sends.
Lie = Callable[[Rows, np.random.Generator], Sketch]


def measure() -> dict[str, Any]:
    """Share of fleets with a made verdict, with a liar and without one; what is hidden is inside."""
    began = time.monotonic()
    tasks = [(kind, seed) for kind in FLEETS for seed in range(kind[2])]
    hiding = [(moved, seed) for moved in MOVED for seed in range(MOVED_FLEETS)]
    with ProcessPoolExecutor(_PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        fooled = list(pool.map(_fooled, *zip(*tasks, strict=True), chunksize=1))
        found = list(pool.map(_found, *zip(*hiding, strict=True), chunksize=2))
        known = sum(pool.map(_fooled_by_one_that_knows, range(ALL_KNOWING)))
    with_liar = float(np.mean([made for made, _ in fooled]))
    without = float(np.mean([made for _, made in fooled if made is not None]))
    return {
        "name": "drift_liar",
        "value": round(100 * with_liar, 2),
        "unit": "% of fleets",
        "baseline": round(100 * without, 2),
        "bar": f"<= {BAR:.0%} of fleets",
        "holds": with_liar <= BAR,
        "inside": (
            f"both: fleets of {len(CHANNELS)} channels that did not move, judged after each of {TURNS} windows; those "
            "count of which any judgement says fleet-wide drift. value: one device lies in every window (far away on "
            f"all channels; so with {_MORE} times the rows; {_NEAR:g} sigma away on all channels), baseline: it does "
            f"not. {_by_kind(tasks, fooled)}; a liar that knew what the others send and leant {_NEAR:g} sigma to their "
            f"side: {known} of {ALL_KNOWING} of the first. Hiding: {_hidden(hiding, found)}. "
            f"{time.monotonic() - began:.0f} s with {_PROCESSES} processes"
        ),
    }


def _fooled(kind: tuple[int, int, int], seed: int) -> tuple[bool, bool | None]:
    """Whether a verdict was made, with the liar and without one; the latter of every other fleet only."""
    devices, rows, _ = kind
    made = _is_made(devices, rows, seed, _LIES[seed % len(_LIES)])
    if seed % 2:
        return made, None
    return made, _is_made(devices, rows, seed, lambda _, random: _sketch(_drawn(random, rows)))


def _fooled_by_one_that_knows(seed: int) -> bool:
    devices, rows, _ = FLEETS[0]
    return _is_made(devices, rows, seed, _lean)


def _is_made(devices: int, rows: int, seed: int, lie: Lie) -> bool:
    random = np.random.default_rng([seed, devices, rows])
    fleet: dict[str, list[Sketch]] = {f"device-{place}": [] for place in range(devices)}
    for _ in range(TURNS):
        _add_turn(fleet, rows, random, lie, shift=0.0)
        if _drifts(fleet):
            return True
    return False


def _found(moved: tuple[int, int], seed: int) -> dict[float, dict[str, bool]]:
    """By shift: whether it is found among honest devices, and although a liar hides it in one way or the other."""
    devices, rows = moved
    ways: dict[str, Lie] = {
        "honest": lambda _, random: _sketch(_drawn(random, rows) + np.float32(shift)),
        "calm": lambda _, random: _many(_sketch(_drawn(random, rows))),
        "contrary": lambda honest, random: _many(_far(honest, random)),
    }
    found: dict[float, dict[str, bool]] = {}
    for shift in SHIFTS:
        found[shift] = {}
        for way, lie in ways.items():
            random = np.random.default_rng([seed, devices, rows])
            fleet: dict[str, list[Sketch]] = {f"device-{place}": [] for place in range(devices)}
            for _ in range(FOUND_BY):
                _add_turn(fleet, rows, random, lie, shift=shift)
            found[shift][way] = _drifts(fleet)
    return found


def _add_turn(
    fleet: dict[str, list[Sketch]], rows: int, random: np.random.Generator, lie: Lie, *, shift: float
) -> None:
    honest = np.array([_drawn(random, rows) + np.float32(shift) for _ in range(len(fleet) - 1)])
    windows = [*(_sketch(one) for one in honest), lie(honest, random)]
    for own, window in zip(fleet.values(), windows, strict=True):
        own.append(window)


def _drifts(fleet: dict[str, list[Sketch]]) -> bool:
    found = judge_fleet(_reference(), fleet, DriftPolicy(), channels=CHANNELS)
    return found.fleet.verdict is Verdict.DRIFT


# -- what is sent ------------------------------------------------------------------------------------


@cache
def _reference() -> ReferenceProfile:
    rows = _drawn(np.random.default_rng(100), 5_000)
    return build_reference(rows, [channel.name for channel in CHANNELS], discrete=(), ordered=True)


def _drawn(random: np.random.Generator, rows: int) -> Rows:
    return random.normal(size=(rows, len(CHANNELS))).astype(np.float32)


def _sketch(rows: Rows) -> Sketch:
    sketcher = Sketcher(_reference())
    sketcher.add(rows)
    return sketcher.sketch()


def _many(window: Sketch) -> Sketch:
    return merge_all([window] * _MORE, channels=len(CHANNELS))


def _far(honest: Rows, _: np.random.Generator) -> Sketch:
    """Beyond all that the reference knows."""
    return _sketch(np.full_like(honest[0], -_FAR))


def _near(honest: Rows, random: np.random.Generator) -> Sketch:
    return _sketch(_drawn(random, honest.shape[1]) - np.float32(_NEAR))


def _lean(honest: Rows, random: np.random.Generator) -> Sketch:
    """On every channel to the side on which the others are by chance."""
    sides = np.sign(honest.mean(axis=(0, 1)))
    return _sketch(_drawn(random, honest.shape[1]) + np.float32(_NEAR) * sides)


_LIES: tuple[Lie, ...] = (_far, lambda honest, random: _many(_far(honest, random)), _near)


# -- what came of it -----------------------------------------------------------------------------------


def _by_kind(tasks: list[tuple[tuple[int, int, int], int]], fooled: list[tuple[bool, bool | None]]) -> str:
    parts = []
    for kind in FLEETS:
        own = [made for (of, _), (made, _) in zip(tasks, fooled, strict=True) if of == kind]
        parts.append(f"{kind[0]} devices, {kind[1]} rows a window: {sum(own)} of {len(own)} fleets")
    return "; ".join(parts)


def _hidden(hiding: list[tuple[tuple[int, int], int]], found: list[dict[float, dict[str, bool]]]) -> str:
    parts = []
    for moved in MOVED:
        own = [one for (of, _), one in zip(hiding, found, strict=True) if of == moved]
        ways = (
            f"{'/'.join(f'{100 * np.mean([one[shift][way] for one in own]):.0f}' for shift in SHIFTS)} {way}"
            for way in own[0][SHIFTS[0]]
        )
        parts.append(f"{moved[0]} devices, {moved[1]} rows a window: {', '.join(ways)}")
    return (
        f"% of fleets found after {FOUND_BY} windows whose devices moved {'/'.join(map(str, SHIFTS))} sigma on all "
        f"channels, if the last device is honest, or calm or contrary with {_MORE} times the rows: {'; '.join(parts)}"
    )
