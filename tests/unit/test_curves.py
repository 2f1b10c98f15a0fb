"""Pictures of trainings: what is drawn, and what is left out."""

import math
import re
from xml.etree import ElementTree as ET

from edgeops.cli.sparkline import sparkline
from edgeops.learning.curves import Curve, draw_curves

SVG = "{http://www.w3.org/2000/svg}"


def curve(name="gas run-1", *, training=(1.0, 0.5, 0.25), validation=(1.2, 0.6, 0.7)):
    return Curve(name=name, numbers=range(1, len(training) + 1), training=training, validation=validation)


def lines(picture):
    paths = ET.fromstring(picture).iter(f"{SVG}path")
    return [path.get("d") for path in paths if path.get("fill") == "none"]


def test_each_run_has_two_lines_and_its_name():
    picture = draw_curves([curve(), curve("gas run-2")])
    assert len(lines(picture)) == 4
    texts = [one.text for one in ET.fromstring(picture).iter(f"{SVG}text")]
    assert {"gas run-1", "gas run-2", "epoch"} <= set(texts)
    assert draw_curves([curve(), curve("gas run-2")]) == picture


def test_a_higher_loss_is_drawn_higher_up():
    training, _ = lines(draw_curves([curve()]))
    heights = [float(point.split()[1]) for point in re.split("[ML]", training)[1:]]
    assert heights == sorted(heights)


def test_a_loss_that_is_no_number_is_a_gap_and_a_training_without_epochs_says_so():
    training = lines(draw_curves([curve(training=(1.0, math.nan, 0.5, 0.4), validation=(math.inf,) * 4)]))
    assert [path.count("L") for path in training] == [0, 1]
    assert "no epoch yet" in draw_curves([curve(training=(), validation=())])


def test_a_long_training_is_drawn_with_few_points_and_its_last_one():
    losses = [1 / (one + 1) for one in range(10_000)]
    picture = draw_curves([curve(training=losses, validation=losses)])
    assert len(picture) < 40_000
    assert lines(picture)[0].split("L")[-1].startswith("704.0 ")


def test_a_name_cannot_become_markup():
    picture = draw_curves([curve("<script>&")])
    assert "<script>" not in picture
    ET.fromstring(picture)


def test_equal_losses_and_one_epoch_can_be_drawn():
    assert len(lines(draw_curves([curve(training=(1.0,), validation=(1.0,))]))) == 2


def test_a_curve_fits_into_one_line_of_a_terminal():
    assert sparkline([3.0, 2.0, 1.0, math.nan]) == "█▅▁ "
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert len(sparkline(range(10_000))) <= 61
    assert sparkline(range(10_000))[-1] == "█"
