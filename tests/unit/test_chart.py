"""Charts are well-formed, show every point inside the frame, and are the same bytes for the same values."""

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.chart import Bar, Bars, Chart, Series, draw, draw_bars

SVG = "{http://www.w3.org/2000/svg}"
finite = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)
numbers = finite | st.just(math.nan)


def chart_of(*series, title="loss"):
    return Chart(title=title, x="epoch", y="loss", series=series)


@given(st.lists(st.tuples(numbers, numbers), max_size=20), st.booleans())
def test_every_point_lies_inside_the_frame(points, is_line):
    xs, ys = [x for x, _ in points], [y for _, y in points]
    tree = ET.fromstring(draw(chart_of(Series(name="a", xs=xs, ys=ys, is_line=is_line))))
    places = [(float(one.get("cx")), float(one.get("cy"))) for one in tree.iter(f"{SVG}circle")]
    for line in tree.iter(f"{SVG}polyline"):
        places += [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
    told = sum(math.isfinite(x) and math.isfinite(y) for x, y in points)
    assert len(places) == told
    assert all(69.9 <= x <= 620.1 and 39.9 <= y <= 310.1 for x, y in places)


def test_a_line_is_broken_where_a_value_is_missing():
    svg = draw(chart_of(Series(name="a", xs=[1, 2, 3, 4, 5], ys=[1, 2, math.nan, 2, 1])))
    assert svg.count("<polyline") == 2


def test_a_long_line_has_few_points_and_its_last_one():
    ys = [1 / (one + 1) for one in range(10_000)]
    svg = draw(chart_of(Series(name="a", xs=range(1, 10_001), ys=ys)))
    assert len(svg) < 20_000
    (line,) = ET.fromstring(svg).iter(f"{SVG}polyline")
    assert line.get("points").split()[-1] == "620.0,310.0"


def test_a_higher_value_is_drawn_higher_up():
    (line,) = ET.fromstring(draw(chart_of(Series(name="a", xs=[1, 2, 3], ys=[1.0, 0.5, 0.25])))).iter(f"{SVG}polyline")
    heights = [float(point.split(",")[1]) for point in line.get("points").split()]
    assert heights == sorted(heights)


def test_whole_numbers_have_whole_ticks():
    texts = [
        one.text for one in ET.fromstring(draw(chart_of(Series(name="a", xs=[1, 2], ys=[7.0, 8.0])))).iter(f"{SVG}text")
    ]
    assert [one for one in texts if one in {"0.5", "1", "1.5", "2"}] == ["1", "2"]


@pytest.mark.parametrize("text", ["a < b & c", '"quoted"'])
def test_words_cannot_break_out_of_the_picture(text):
    tree = ET.fromstring(draw(chart_of(Series(name=text, xs=[1], ys=[1]), title=text)))
    assert tree.findtext(f"{SVG}title") == text


def test_the_same_values_are_the_same_bytes():
    series = Series(name="a", xs=[1.0, 2.0], ys=[0.1, 0.3])
    assert draw(chart_of(series)) == draw(chart_of(series))


@given(st.lists(st.tuples(finite, finite, finite), max_size=20))
def test_every_bar_lies_inside_its_frame(values):
    bars = [Bar(name="x", value=one, bounds=(min(low, high), max(low, high))) for one, low, high in values]
    tree = ET.fromstring(draw_bars(Bars(title="loss", x="share", bars=bars)))
    drawn = [one for one in tree.iter(f"{SVG}rect") if one.get("height") != "100%"]
    assert len(drawn) == len(values)
    for one in drawn:
        left, width = float(one.get("x")), float(one.get("width"))
        assert 189.9 <= left <= left + width <= 620.2
    for one in tree.iter(f"{SVG}line"):
        assert 189.9 <= float(one.get("x1")) <= 620.1


def test_a_long_name_is_cut_and_stays_text():
    tree = ET.fromstring(draw_bars(Bars(title="a", x="b", bars=[Bar(name="<" + "n" * 60, value=1.0)])))
    assert "<" + "n" * 26 + "\u2026" in [one.text for one in tree.iter(f"{SVG}text")]
