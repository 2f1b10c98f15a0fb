"""Two runs side by side."""

from edgeops.learning.environment import Environment
from edgeops.learning.run_difference import run_difference

HERE = Environment(python="3.11", libraries={"keras": "3.15"})


def test_parameters_that_are_the_same_are_left_out():
    asked = (
        {"recipe": "dense", "seed": 0, "epochs": None},
        {"recipe": "dense", "seed": 1, "epochs": None, "batch": 64.0},
    )
    found = run_difference(asked, (HERE, HERE), ({}, {}))
    assert found.parameters == {"seed": (0, 1), "batch": (None, 64.0)}
    assert found.environment == ()


def test_places_differ_by_what_may_change_a_result():
    found = run_difference(({}, {}), (HERE, Environment(python="3.13", libraries={"keras": "3.15"})), ({}, {}))
    assert [change.words for change in found.environment] == ["python: 3.11 -> 3.13"]


def test_figures_stand_side_by_side_with_their_intervals_where_there_are_any():
    old = {"int8": {"accuracy": 0.9, "accuracy-low": 0.85, "accuracy-high": 0.93, "macro-f1": 0.8}}
    new = {"int8": {"accuracy": 0.95}, "float32": {"accuracy": 0.96}}
    first, second, third = run_difference(({}, {}), (HERE, HERE), (old, new)).metrics
    assert (first.name, first.values, first.intervals) == ("accuracy", (0.9, 0.95), ((0.85, 0.93), None))
    assert (second.name, second.values) == ("macro-f1", (0.8, None))
    assert (third.variant, third.values) == ("float32", (None, 0.96))
