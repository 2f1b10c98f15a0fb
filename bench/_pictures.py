"""Draws what the drift rows measured, for docs/drift.md: small SVG files, the same bytes from the same figures.

matplotlib is imported when a picture is drawn: the rows' worker processes do not need it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from edgeops.drift.finding import ChannelFinding

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
GAP, FALSE_ALARMS, EVIDENCE, FLEET = "drift-gap.svg", "drift-false-alarms.svg", "drift-evidence.svg", "drift-fleet.svg"

#: Colour-blind safe (Okabe & Ito).
_GREY, _ORANGE, _BLUE, _GREEN, _RED, _SKY = "#999999", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#56B4E9"
_STYLE = {
    # What makes ids of clip paths and glyphs the same each time.
    "svg.hashsalt": "edgeops",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}

#: Windows of a long horizon that are drawn.
_POINTS = 60

Array = np.ndarray[Any, Any]


def draw_gap(channel: ChannelFinding, folder: Path) -> None:
    """Two histograms of one channel, and the gap D between their running totals."""
    counts = np.array([channel.reference_histogram, channel.window_histogram], np.float64)
    shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    totals = np.cumsum(shares, axis=1)
    drawers = np.arange(1, shares.shape[1] + 1)
    widest = int(np.abs(totals[0] - totals[1]).argmax())
    with _picture(folder / GAP, inches=(8.4, 3.4)) as figure:
        left, right = figure.subplots(1, 2)
        left.bar(drawers, shares[1], width=0.9, color=_ORANGE, label=f"window, {counts[1].sum():,.0f} rows")
        left.step(
            np.append(drawers, drawers[-1] + 1) - 0.5,
            np.append(shares[0], shares[0, -1]),
            where="post",
            color=_BLUE,
            linewidth=2,
            label=f"training, {counts[0].sum():,.0f} rows",
        )
        left.set(title="How many readings fell into each drawer", ylabel="% of the readings")
        left.set_ylim(0, 1.3 * shares.max())
        left.legend(loc="upper left")
        right.plot(drawers, totals[0], color=_BLUE, linewidth=2, label="training")
        right.plot(drawers, totals[1], color=_ORANGE, linewidth=2, label="window")
        right.annotate(
            "",
            (drawers[widest], totals[0, widest]),
            (drawers[widest], totals[1, widest]),
            arrowprops={"arrowstyle": "<->", "color": _RED, "linewidth": 2, "shrinkA": 0, "shrinkB": 0},
        )
        right.text(
            drawers[widest] - 1,
            totals[:, widest].max() + 4,
            f"the widest gap:\nD = {channel.distance:.2f}",
            color=_RED,
            ha="right",
        )
        right.set(title="Added up from the left", ylabel="% of the readings so far", ylim=(0, 104))
        right.legend(loc="lower right")
        for axes in (left, right):
            axes.set(xlabel="drawer: small readings … large readings", xlim=(0, 33), xticks=[1, 8, 16, 24, 32])


def draw_false_alarms(
    conditions: Sequence[str], shares: Mapping[str, Sequence[float]], bar: float, folder: Path
) -> None:
    """Runs without any change in which each method alarmed."""
    colours = (_BLUE, _ORANGE, _SKY, _GREY)
    width = 0.8 / len(shares)
    with _picture(folder / FALSE_ALARMS, inches=(8.4, 3.6)) as figure:
        axes = figure.subplots()
        for place, ((method, values), colour) in enumerate(zip(shares.items(), colours, strict=True)):
            at = np.arange(len(conditions)) + (place - (len(shares) - 1) / 2) * width
            axes.bar(at, 100 * np.array(values), width=0.92 * width, color=colour, label=method)
            for where, value in zip(at, values, strict=True):
                weight = "bold" if place == 0 else "normal"
                label = f"{100 * value:.0f}" if value in {0, 1} else f"{100 * value:.1f}"
                axes.text(where, 100 * max(value, bar) + 1.5, label, ha="center", size=8, weight=weight)
        axes.axhline(100 * bar, color=_RED, linewidth=1, linestyle="--")
        axes.text(len(conditions) - 0.52, 100 * bar + 1.5, f"{bar:.0%}", color=_RED, size=8, ha="right")
        axes.set_xticks(range(len(conditions)), conditions)
        axes.set(ylim=(0, 118), yticks=range(0, 101, 20), ylabel="% of devices with a false alarm")
        axes.set_title("Nothing has changed. Who alarms all the same?")
        axes.legend(loc="upper left", ncols=len(shares), bbox_to_anchor=(0, 1.0))


def draw_evidence(same: Array, shifted: Array, folder: Path) -> None:
    """What was said after each window, (3, windows) shares of "not enough evidence", stable, drift."""
    labels, colours = ("not enough evidence", "stable", "drift"), ("#DDDDDD", _GREEN, _RED)
    with _picture(folder / EVIDENCE, inches=(8.4, 3.4)) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        titles = ("The world stays as it was", "One of 16 channels has moved by 1 sigma")
        for axes, shares, title in zip(panels, (same, shifted), titles, strict=True):
            last = shares.shape[1]
            at = np.unique(np.geomspace(1, last, _POINTS).round().astype(int))
            axes.stackplot(at, 100 * shares[:, at - 1], colors=colours, labels=labels, linewidth=0)
            axes.set(title=title, xlabel="windows that came", xlim=(1, last), ylim=(0, 100), xscale="log")
            ticks = [2**power for power in range(last.bit_length())]
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
        panels[0].set_ylabel("% of devices")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A fleet as one channel of it was judged."""

    title: str
    #: Of the fleet.
    verdict: str
    #: (devices,) D of each, and whether it is a finding of its own.
    of_devices: Array
    is_local: Array
    #: D of all together.
    of_fleet: float


def draw_fleet(situations: Sequence[Situation], floor: float, folder: Path) -> None:
    """One device against all of them, in each situation."""
    top = 1.1 * max(seen.of_devices.max() for seen in situations)
    with _picture(folder / FLEET, inches=(8.4, 3.4)) as figure:
        panels = figure.subplots(1, len(situations), sharey=True)
        for axes, seen in zip(panels, situations, strict=True):
            at, is_local = np.arange(1, len(seen.of_devices) + 1), seen.is_local
            axes.axhline(seen.of_fleet, color=_BLUE, linewidth=2, label="the fleet together")
            axes.scatter(at[~is_local], seen.of_devices[~is_local], color=_GREY, s=22, label="one device", zorder=3)
            axes.scatter(
                at[is_local], seen.of_devices[is_local], color=_RED, marker="D", s=40, label="local finding", zorder=3
            )
            axes.axhline(floor, color="black", linewidth=1, linestyle="--", label=f"what would matter: {floor:.2f}")
            axes.set(xlabel="device", xticks=[1, 5, 10, 15, 20], ylim=(0, top))
            axes.set_title(f"{seen.title}\nfleet: {seen.verdict}")
        panels[0].set_ylabel("D of the channel")
        figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside lower center", ncols=4)


@contextmanager
def _picture(path: Path, *, inches: tuple[float, float]) -> Iterator[Any]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
        # A hundredth of a point is finer than any screen, and half of the file.
        path.write_text(re.sub(r"\b([1-9]\d*\.\d{2})\d+", r"\1", drawn.getvalue()), encoding="utf-8")
