"""Pictures of trainings: what is drawn, and what is left out."""

import math
from xml.etree import ElementTree as ET

from edgeops.cli.sparkline import sparkline
from edgeops.learning.curves import Curve, draw_curves

SVG = "{http://www.w3.org/2000/svg}"


def curve(name="gas run-1", *, training=(1.0, 0.5, 0.25), validation=(1.2, 0.6, 0.7)):
    return Curve(name=name, numbers=range(1, len(training) + 1), training=training, validation=validation)


def lines(picture):
    return list(ET.fromstring(picture).iter(f"{SVG}polyline"))


def test_each_run_has_two_lines_of_one_colour_and_its_name():
    picture = draw_curves([curve(), curve("gas run-2")])
    drawn = lines(picture)
    assert ["stroke-dasharray" in one.attrib for one in drawn] == [True, False, True, False]
    first, second = {one.get("stroke") for one in drawn[:2]}, {one.get("stroke") for one in drawn[2:]}
    assert len(first) == len(second) == 1
    assert first != second
    texts = [one.text for one in ET.fromstring(picture).iter(f"{SVG}text")]
    assert {"gas run-1", "gas run-2", "epoch"} <= set(texts)


def test_a_training_without_epochs_says_so():
    assert "no epoch yet" in draw_curves([curve(training=(), validation=())])


def test_a_curve_fits_into_one_line_of_a_terminal():
    assert sparkline([3.0, 2.0, 1.0, math.nan]) == "█▅▁ "
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert len(sparkline(range(10_000))) <= 61
    assert sparkline(range(10_000))[-1] == "█"
