"""How trainings went, as a picture: the losses of each run over its epochs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeops.chart import Chart, Series, draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One run: its name, and for each epoch that is drawn its number and both losses."""

    name: str
    numbers: Sequence[int]
    training: Sequence[float]
    validation: Sequence[float]


def draw_curves(curves: Sequence[Curve]) -> str:
    """An SVG document: validation losses are whole lines, training losses dashed ones."""
    series = tuple(one for place, curve in enumerate(curves) for one in _lines(curve, place))
    has_epochs = any(curve.numbers for curve in curves)
    title = "loss: whole line = validation, dashed = training" if has_epochs else "no epoch yet"
    return draw(Chart(title=title, x="epoch", y="loss", series=series))


def _lines(curve: Curve, place: int) -> Iterator[Series]:
    yield Series(name="", xs=curve.numbers, ys=curve.training, colour=place, is_dashed=True)
    yield Series(name=curve.name, xs=curve.numbers, ys=curve.validation, colour=place)
