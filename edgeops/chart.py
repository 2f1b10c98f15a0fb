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


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points that belong together; a point that is no number is left out, and a line is broken there."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    #: Joined by a line, else dots.
    is_line: bool = True
    #: Beside each dot.
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Series over common axes."""

    title: str
    x: str
    y: str
    series: Sequence[Series]


def draw(chart: Chart) -> str:
    """The SVG of a chart."""
    frame = _Frame.around(chart)
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(chart.title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        _text(_WIDTH / 2, 20, chart.title, size=14),
        *frame.axes(chart),
    ]
    for number, series in enumerate(chart.series):
        colour = COLOURS[number % len(COLOURS)]
        parts += frame.line(series, colour) if series.is_line else frame.dots(series, colour)
        if len(chart.series) > 1:
            parts.append(_text(_WIDTH - _RIGHT, _TOP + 14 * number, series.name, colour=colour, anchor="end"))
    return "\n".join([*parts, "</svg>"]) + "\n"


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
        for x, y in zip(series.xs, series.ys, strict=True):
            if math.isfinite(x) and math.isfinite(y):
                piece.append(f"{_short(self.x(x))},{_short(self.y(y))}")
            elif piece:
                pieces.append(piece)
                piece = []
        for points in (*pieces, piece):
            if len(points) > 1:
                yield f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
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
    """Round numbers from below the lowest to above the highest; two at least."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - (abs(low) or 1.0) * 0.5, high + (abs(high) or 1.0) * 0.5
    rough = (high - low) / _TICKS
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
