"""False verdicts and power on streams whose truth is known; beside ours what else there is, on the same arrays.

A run is one device: a reference in time order, then windows of 500 rows as they come, judged after each together with
all before it (sketched, packed, unpacked, judged). It is seen twice: as it is, and with a shift of one of the sixteen
channels from the first window on. A run is false when any of its judgements says DRIFT although nothing moved; a shift
is found when any does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import _peers, _pictures
from bench._streams import (
    CHANNELS,
    DAY,
    NAMES,
    POLICY,
    WINDOW,
    cpu_seconds,
    day_and_night,
    in_processes,
    judgements,
    noise,
    reference_of,
)
from edgeops.drift.finding import Finding, Verdict

RUNS = 1_000
#: Of each stream the others see so many windows.
PEER_WINDOWS = 4
FALSE_BAR = 0.05

#: What a judgement said.
LACKING, STABLE, DRIFTED = range(3)
_CODES = {Verdict.NOT_ENOUGH_EVIDENCE: LACKING, Verdict.STABLE: STABLE, Verdict.DRIFT: DRIFTED}

#: Of a run, per window: what was said of it as it is; of the shifted one, DRIFTED from the first time on; and whether
#: the channel that moved, and no other, was named that first time. The others: whether they alarmed, as it is and (in
#: independent rows) shifted.
SAME, SHIFTED, NAMED = "same", "shifted", "named"

Array = np.ndarray[Any, Any]
#: By those names and the others', (runs, windows).
Figures = dict[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A world that does not change, and a shift that is laid over it."""

    name: str
    in_words: str
    #: Lag-1 autocorrelation of the noise.
    rho: float
    reference_rows: int
    windows: int
    #: In standard deviations of the noise.
    shift: float
    #: Share of the shifted runs that must be found; None = reported only.
    least_found: float | None = None
    #: On top of the noise a sine of amplitude 1 in every channel, with a phase of its own.
    is_daily: bool = False
    #: The others are slow and see the first runs.
    peer_runs: int = 50


CONDITIONS = (
    Condition(
        name="rho 0",
        in_words="independent readings\nr = 0",
        rho=0.0,
        reference_rows=5_000,
        windows=4,
        shift=0.5,
        least_found=0.99,
        peer_runs=200,
    ),
    Condition(
        name="rho .5",
        in_words="each a little like\nthe last, r = .5",
        rho=0.5,
        reference_rows=5_000,
        windows=4,
        shift=0.5,
    ),
    Condition(
        name="rho .9", in_words="much like the last\nr = .9", rho=0.9, reference_rows=5_000, windows=4, shift=1.0
    ),
    Condition(
        name="rho .99",
        in_words="slow sensor\nr = .99",
        rho=0.99,
        reference_rows=5_000,
        windows=POLICY.horizon_windows,
        shift=1.0,
        least_found=0.8,
    ),
    Condition(
        name="day and night",
        in_words="day and\nnight",
        rho=0.0,
        reference_rows=3 * DAY,
        windows=DAY // WINDOW,
        shift=1.0,
        is_daily=True,
    ),
)
_INDEPENDENT, _REPEATING, _SLOW = "rho 0", "rho .9", "rho .99"


def measure(
    *, runs: int = RUNS, conditions: Sequence[Condition] = CONDITIONS, pictures: Path = _pictures.FOLDER
) -> dict[str, Any]:
    """The worst share of false runs; the other side is exact KS with Bonferroni where readings repeat (rho .9)."""
    began = cpu_seconds()
    figures = {condition.name: study_all(condition, runs) for condition in conditions}
    draw(conditions, figures, pictures)
    false = [_any(figures[condition.name][SAME] == DRIFTED) for condition in conditions]
    return {
        "name": "drift",
        "value": round(100 * max(false), 2),
        "unit": "% false",
        "baseline": round(100 * _any(figures[_REPEATING][_peers.KS]), 2),
        "bar": f"<= {FALSE_BAR:.0%}, and found {_power_bars(conditions)}",
        "holds": max(false) <= FALSE_BAR and all(_is_found(one, figures[one.name]) for one in conditions),
        "inside": (
            f"value: runs in which any judgement says DRIFT although nothing moved, the worst of {len(conditions)} "
            f"conditions, {runs:,} seeded runs each; baseline: runs at {_REPEATING} in which exact KS with Bonferroni "
            f"alarms. A run: a reference in time order, then windows of {WINDOW} rows of {len(CHANNELS)} channels, "
            "judged after each with all before it. "
            f"{'. '.join(_told(one, figures[one.name]) for one in conditions)}. KS, ADWIN and Page-Hinkley see the "
            f"raw rows of the first {PEER_WINDOWS} windows of the first {_peer_runs(conditions, runs)} runs, with "
            f"river's defaults, and alarm when any channel does. {cpu_seconds() - began:.0f} s of CPU"
        ),
    }


def study_all(condition: Condition, runs: int) -> Figures:
    """Every run of a condition."""
    seen = in_processes(study, [condition] * runs, range(runs))
    return {key: np.array([one[key] for one in seen if key in one]) for key in seen[0]}


def study(condition: Condition, seed: int) -> Figures:
    """One run."""
    reference, stream = streams(condition, seed)
    moved = shifted(condition, stream, channel=seed % len(CHANNELS))
    profile = reference_of(reference)
    said = [_CODES[found.verdict] for found in judgements(profile, stream)]
    found, is_named = _until_found(judgements(profile, moved), NAMES[seed % len(CHANNELS)])
    later = condition.windows - len(found)
    seen = {
        SAME: np.array(said, np.int8),
        SHIFTED: np.array(found + found[-1:] * later, np.int8),
        NAMED: np.array([is_named]),
    }
    if seed < condition.peer_runs:
        rows = PEER_WINDOWS * WINDOW
        seen |= _peers.alarms(reference, stream[:rows], window=WINDOW)
        if condition.name == _INDEPENDENT:
            others = _peers.alarms(reference, moved[:rows], window=WINDOW)
            seen |= {_of_shifted(method): alarmed for method, alarmed in others.items()}
    return seen


def streams(condition: Condition, seed: int) -> tuple[Array, Array]:
    """Rows of the reference and of what comes after it."""
    random = np.random.default_rng([seed, *condition.name.encode()])
    known, rows = condition.reference_rows, condition.windows * WINDOW
    values = noise(known + rows, condition.rho, random)
    reference, stream = values[:known], values[known:]
    if condition.is_daily:
        # The stream begins at any hour.
        phases, first = random.random(len(CHANNELS)), int(random.integers(DAY))
        reference += day_and_night(known, phases)
        stream += day_and_night(rows, phases, first=first)
    return reference, stream


def shifted(condition: Condition, stream: Array, *, channel: int) -> Array:
    """The stream with one channel moved from its first row on."""
    moved = stream.copy()
    moved[:, channel] += np.float32(condition.shift)
    return moved


def draw(conditions: Sequence[Condition], figures: dict[str, Figures], folder: Path) -> None:
    """The pictures of docs/drift.md that these figures make."""
    plain = next(one for one in conditions if one.name == _INDEPENDENT)
    reference, stream = streams(plain, 0)
    profile = reference_of(reference)
    *_, found = judgements(profile, shifted(plain, stream, channel=0)[: 2 * WINDOW])
    _pictures.draw_gap(found.channels[0], folder)
    shares = {"EdgeOps": [_any(figures[one.name][SAME] == DRIFTED) for one in conditions]}
    shares |= {method: [_any(figures[one.name][method]) for one in conditions] for method in _peers.METHODS}
    _pictures.draw_false_alarms([one.in_words for one in conditions], shares, FALSE_BAR, folder)
    by_window = [
        np.array([(figures[_SLOW][key] == code).mean(axis=0) for code in (LACKING, STABLE, DRIFTED)])
        for key in (SAME, SHIFTED)
    ]
    _pictures.draw_evidence(*by_window, folder)


def _until_found(said: Iterable[Finding], name: str) -> tuple[list[int], bool]:
    """What was said up to the first DRIFT, and whether that names this channel alone."""
    codes: list[int] = []
    for finding in said:
        codes.append(_CODES[finding.verdict])
        if finding.verdict is Verdict.DRIFT:
            return codes, _named(finding) == [name]
    return codes, False


def _named(finding: Finding) -> list[str]:
    return [one.name for one in finding.channels if one.drifted]


def _is_found(condition: Condition, seen: Figures) -> bool:
    return condition.least_found is None or _any(seen[SHIFTED] == DRIFTED) >= condition.least_found


def _any(alarmed: Array) -> float:
    """The share of runs (runs, windows) with an alarm in any window."""
    return float(alarmed.any(axis=1).mean())


def _of_shifted(method: str) -> str:
    return f"{method} {SHIFTED}"


def _power_bars(conditions: Sequence[Condition]) -> str:
    bars = [(one.least_found, one.name) for one in conditions if one.least_found is not None]
    return ", ".join(f">= {least:.0%} at {name}" for least, name in bars)


def _peer_runs(conditions: Sequence[Condition], runs: int) -> str:
    return "/".join(str(min(runs, one.peer_runs)) for one in conditions)


def _told(condition: Condition, seen: Figures) -> str:
    """All figures of a condition."""
    same, moved = seen[SAME], seen[SHIFTED] == DRIFTED
    until = np.where(moved.any(axis=1), moved.argmax(axis=1) + 1, np.inf)
    named = seen[NAMED][moved.any(axis=1)].mean() if moved.any() else 0.0
    others = ", ".join(f"{method} {_any(seen[method]):.1%}" for method in _peers.METHODS)
    text = (
        f"{condition.name} ({condition.reference_rows:,} rows of reference, {condition.windows} windows): false "
        f"{_any(same == DRIFTED):.1%} of runs, {(same == DRIFTED).mean():.2%} of judgements "
        f"({(same == LACKING).mean():.1%} not enough evidence); {condition.shift:g} sigma in one channel found in "
        f"{moved.any(axis=1).mean():.1%}, half of them by window {np.median(until):.0f}, that channel alone named in "
        f"{named:.1%}; false by {others}"
    )
    if condition.name == _INDEPENDENT:
        windows_alone = ", ".join(f"{method} {seen[method].mean():.1%}" for method in _peers.METHODS)
        found = ", ".join(f"{method} {_any(seen[_of_shifted(method)]):.1%}" for method in _peers.METHODS)
        text += f" (of windows: {windows_alone}), found by {found}"
    return text
