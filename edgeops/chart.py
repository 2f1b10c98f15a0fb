"""Charts as SVG (SVG 1.1), drawn with nothing but text: for people who would rather look.

A chart is a value, and drawing it is pure. Numbers are written short, so that a picture of the same values is the same
bytes. It knows nothing of what it shows.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

#: Told apart by people of any colour vision (Okabe & Ito 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 50
_TICKS = 5
#: Points of a line.
_POINTS = 640
#: Of bars: how high each is, and the room for its name.
_BAR, _NAMES, _NAME_LETTERS = 22, 190, 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points that belong together; a point that is no number is left out, and a line is broken there.

    Of a line of very many points some are left out, never the last.
    """

    #: Told beside the chart where there are several; empty = not told.
    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    #: Joined by a line, else dots.
    is_line: bool = True
    #: Beside each dot.
    notes: Sequence[str] = ()
    is_dashed: bool = False
    #: Place among the colours; None = its place among the series.
    colour: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Series over common axes."""

    title: str
    x: str
    y: str
    series: Sequence[Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A finite value under a name, and where it lies with some certainty."""

    name: str
    value: float
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Values side by side, the first on top, counted from 0."""

    title: str
    x: str
    bars: Sequence[Bar]


def draw(chart: Chart) -> str:
    """The SVG of a chart."""
    frame = _Frame.around(chart)
    parts = [*_paper(chart.title, _HEIGHT), *frame.axes(chart)]
    told = 0
    for number, series in enumerate(chart.series):
        colour = COLOURS[(number if series.colour is None else series.colour) % len(COLOURS)]
        parts += frame.line(series, colour) if series.is_line else frame.dots(series, colour)
        if len(chart.series) > 1 and series.name:
            parts.append(_text(_WIDTH - _RIGHT, _TOP + 14 * told, series.name, colour=colour, anchor="end"))
            told += 1
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw_bars(chart: Bars) -> str:
    """The SVG of values side by side."""
    bottom = _TOP + _BAR * max(len(chart.bars), 1)
    reached = [0.0, *(one.value for one in chart.bars), *(end for one in chart.bars for end in one.bounds or ())]
    ticks = _ticks(reached)

    def x(value: float) -> float:
        return _NAMES + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (_WIDTH - _NAMES - _RIGHT)

    parts = list(_paper(chart.title, bottom + _BOTTOM))
    for tick in ticks:
        place = _short(x(tick))
        parts.append(f'<line x1="{place}" y1="{_TOP}" x2="{place}" y2="{bottom}" stroke="#dddddd"/>')
        parts.append(_text(x(tick), bottom + 18, f"{tick:.6g}"))
    for number, one in enumerate(chart.bars):
        top, middle = _TOP + _BAR * number, _TOP + _BAR * (number + 0.5)
        left, right = sorted((x(0.0), x(one.value)))
        parts.append(_text(_NAMES - 8, middle + 4, _within(one.name), anchor="end"))
        parts.append(
            f'<rect x="{_short(left)}" y="{_short(top + 3)}" width="{_short(right - left)}" height="{_BAR - 6}" '
            f'fill="{COLOURS[0]}"/>'
        )
        if one.bounds is not None:
            low, high, y = _short(x(one.bounds[0])), _short(x(one.bounds[1])), _short(middle)
            parts.append(f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke="{COLOURS[1]}" stroke-width="3"/>')
    parts.append(_text((_NAMES + _WIDTH - _RIGHT) / 2, bottom + _BOTTOM - 10, chart.x))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _paper(title: str, height: int) -> Iterator[str]:
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" role="img">'
    yield f"<title>{escape(title)}</title>"
    yield '<rect width="100%" height="100%" fill="white"/>'
    yield _text(_WIDTH / 2, 20, title, size=14)


def _within(name: str) -> str:
    """As much of it as has room beside a bar."""
    return name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1]}\u2026"


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie on the paper."""

    x_ticks: tuple[float, ...]
    y_ticks: tuple[float, ...]

    @classmethod
    def around(cls, chart: Chart) -> "_Frame":
        xs = [x for one in chart.series for x in one.xs if math.isfinite(x)]
        ys = [y for one in chart.series for y in one.ys if math.isfinite(y)]
        return cls(_ticks(xs), _ticks(ys))

    def x(self, value: float) -> float:
        low, high = self.x_ticks[0], self.x_ticks[-1]
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self, chart: Chart) -> Iterator[str]:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        for tick in self.y_ticks:
            y = _short(self.y(tick))
            yield f'<line x1="{_LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="#dddddd"/>'
            yield _text(_LEFT - 8, self.y(tick) + 4, f"{tick:.6g}", anchor="end")
        for tick in self.x_ticks:
            yield _text(self.x(tick), bottom + 18, f"{tick:.6g}")
        yield f'<line x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="black"/>'
        yield _text((_LEFT + right) / 2, _HEIGHT - 10, chart.x)
        place = f"16 {_short((_TOP + bottom) / 2)}"
        yield f'<text transform="translate({place}) rotate(-90)" text-anchor="middle">{escape(chart.y)}</text>'

    def line(self, series: Series, colour: str) -> Iterator[str]:
        pieces, piece = list[list[str]](), list[str]()
        every, last = math.ceil(len(series.xs) / _POINTS), len(series.xs) - 1
        for place, (x, y) in enumerate(zip(series.xs, series.ys, strict=True)):
            if not (math.isfinite(x) and math.isfinite(y)):
                pieces.append(piece)
                piece = []
            elif place % every == 0 or place == last:
                piece.append(f"{_short(self.x(x))},{_short(self.y(y))}")
        dashes = ' stroke-dasharray="5 4" stroke-opacity="0.7"' if series.is_dashed else ""
        for points in (*pieces, piece):
            if len(points) > 1:
                yield f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
            elif points:
                alone_x, alone_y = points[0].split(",")
                yield f'<circle cx="{alone_x}" cy="{alone_y}" r="3" fill="{colour}"/>'

    def dots(self, series: Series, colour: str) -> Iterator[str]:
        notes = series.notes or [""] * len(series.xs)
        for x, y, note in zip(series.xs, series.ys, notes, strict=True):
            if not (math.isfinite(x) and math.isfinite(y)):
                continue
            yield f'<circle cx="{_short(self.x(x))}" cy="{_short(self.y(y))}" r="5" fill="{colour}"/>'
            if note:
                is_left = self.x(x) > _WIDTH * 0.7
                shift, anchor = (-9, "end") if is_left else (9, "start")
                yield _text(self.x(x) + shift, self.y(y) - 7, note, anchor=anchor)


def _ticks(values: Sequence[float]) -> tuple[float, ...]:
    """Round numbers from below the lowest to above the highest, whole ones of whole ones; two at least."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - (abs(low) or 1.0) * 0.5, high + (abs(high) or 1.0) * 0.5
    rough = (high - low) / _TICKS
    if all(isinstance(value, int) for value in values):
        rough = max(rough, 1.0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return tuple(number * step for number in range(first, last + 1))


def _text(x: float, y: float, text: str, *, colour: str = "black", anchor: str = "middle", size: int = 12) -> str:
    return (
        f'<text x="{_short(x)}" y="{_short(y)}" fill="{colour}" text-anchor="{anchor}" font-size="{size}">'
        f"{escape(text)}</text>"
    )


def _short(number: float) -> str:
    return f"{number:.1f}"
