"""Draws how trainings went: the losses of each run over its epochs, as a small SVG file.

The same figures give the same bytes. Losses that are no numbers, or beyond what can be drawn, are gaps.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

#: Colour-blind safe (Okabe & Ito); runs beyond them begin anew.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9")
_GREY = "#999999"
_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 24, 44
_LINE = 16
#: Points of a line; of more epochs some are left out, never the last.
_POINTS = 720
_TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One run: its name, and for each epoch that is drawn its number and both losses."""

    name: str
    numbers: Sequence[int]
    training: Sequence[float]
    validation: Sequence[float]


def draw_curves(curves: Sequence[Curve]) -> str:
    """An SVG document: validation losses are whole lines, training losses dashed ones."""
    losses = [one for curve in curves for one in (*curve.training, *curve.validation) if math.isfinite(one)]
    low, high = (min(losses), max(losses)) if losses else (0.0, 1.0)
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    last = max((curve.numbers[-1] for curve in curves if curve.numbers), default=1)
    frame = _Frame(low=low, high=high, last=max(last, 2), height=_HEIGHT + _LINE * len(curves))
    return "\n".join(
        (
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {frame.height}" '
                f'width="{_WIDTH}" height="{frame.height}" font-family="sans-serif" font-size="12">'
            ),
            f'<rect width="{_WIDTH}" height="{frame.height}" fill="white"/>',
            *frame.axes(),
            *(line for place, curve in enumerate(curves) for line in _drawn(frame, curve, place)),
            *([] if losses else [_text(_WIDTH / 2, _HEIGHT / 2, "no epoch yet", anchor="middle")]),
            "</svg>",
            "",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    low: float
    high: float
    last: int
    height: int

    def x(self, number: float) -> float:
        return _LEFT + (number - 1) / (self.last - 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, loss: float) -> float:
        return _TOP + (self.high - loss) / (self.high - self.low) * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self) -> Iterator[str]:
        for place in range(_TICKS):
            loss = self.low + place / (_TICKS - 1) * (self.high - self.low)
            y = self.y(loss)
            yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="{_GREY}" stroke-opacity="0.3"/>'
            yield _text(_LEFT - 6, y + 4, f"{loss:.3g}", anchor="end")
        for number in sorted({1 + round(place / (_TICKS - 1) * (self.last - 1)) for place in range(_TICKS)}):
            yield _text(self.x(number), _HEIGHT - _BOTTOM + 18, str(number), anchor="middle")
        yield _text(_LEFT, 14, "loss: whole line = validation, dashed = training")
        yield _text(_WIDTH - _RIGHT, _HEIGHT - 8, "epoch", anchor="end")


def _drawn(frame: _Frame, curve: Curve, place: int) -> Iterator[str]:
    colour = _COLOURS[place % len(_COLOURS)]
    for losses, dashes in ((curve.training, ' stroke-dasharray="5 4" stroke-opacity="0.7"'), (curve.validation, "")):
        for path in _paths(frame, curve.numbers, losses):
            yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
    y = _HEIGHT + _LINE * place
    yield f'<path d="M{_LEFT} {y - 4}h24" stroke="{colour}" stroke-width="2"/>'
    yield _text(_LEFT + 32, y, curve.name)


def _paths(frame: _Frame, numbers: Sequence[int], losses: Sequence[float]) -> Iterator[str]:
    """Unbroken stretches."""
    every = math.ceil(len(numbers) / _POINTS)
    stretch: list[str] = []
    for place, (number, loss) in enumerate(zip(numbers, losses, strict=True)):
        if math.isfinite(loss) and (place % every == 0 or place == len(numbers) - 1):
            stretch.append(f"{frame.x(number):.1f} {frame.y(loss):.1f}")
        elif not math.isfinite(loss) and stretch:
            yield _path(stretch)
            stretch = []
    if stretch:
        yield _path(stretch)


def _path(points: Sequence[str]) -> str:
    # A line of one point shows its cap, if it goes anywhere.
    return "M" + "L".join(points) + ("h0.1" if len(points) == 1 else "")


def _text(x: float, y: float, words: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
