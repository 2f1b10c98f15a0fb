"""The gas row of the benchmark notices what it must notice, without training anything."""

import numpy as np
import pytest

from bench import _gas, gas


@pytest.fixture
def figures():
    """A study in which every bar holds."""
    accuracy = {_gas.CHOSEN: 99.0, _gas.WITH_SHARE: 98.5, _gas.BY_CHANCE: 97.0, _gas.MARGIN: 90.0}
    figures = {"static": np.full((5, 6), 60.0)}
    for way, after in accuracy.items():
        for labels in _gas.LABELS:
            figures[way, labels, "before"] = np.full((5, 6), 80.0)
            figures[way, labels, "after"] = np.full((5, 6), after)
            figures[way, labels, "float32"] = np.full((5, 6), after + 0.1)
    return figures


def missed(figures):
    return [bar.what for bar in gas._bars(figures) if not bar.holds]


def test_all_bars_hold_where_all_figures_are_good(figures):
    assert missed(figures) == []


@pytest.mark.parametrize(
    ("key", "points", "what"),
    [
        ("static", 70.0, ["static"]),
        ((_gas.CHOSEN, 10, "after"), 93.0, ["10 chosen"]),
        ((_gas.WITH_SHARE, 30, "after"), 96.0, ["30 chosen with 20% by chance"]),
        ((_gas.CHOSEN, 60, "before"), 70.0, ["past purchases only, 60 a batch"]),
        ((_gas.BY_CHANCE, 60, "after"), 98.5, ["30 chosen - 60 by chance"]),
        ((_gas.CHOSEN, 60, "float32"), 99.9, ["float32 - int8 at most"]),
    ],
)
def test_a_figure_beyond_its_bar_is_named(figures, key, points, what):
    figures[key] = np.full((5, 6), points)
    # What a changed accuracy does to the loss of quantizing is another bar.
    assert [one for one in missed(figures) if one in what or not one.startswith("float32")] == what


def test_one_bad_batch_is_not_hidden_by_five_good_ones(figures):
    figures[_gas.WITH_SHARE, 60, "after"][:, 3] = 92.0
    assert "worst batch of 60 chosen with 20% by chance" in missed(figures)


def test_without_the_data_the_row_misses_its_bar_and_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEOPS_TEST_DATA", str(tmp_path))
    row = gas.measure()
    assert not row["holds"]
    assert "set EDGEOPS_TEST_DATA" in row["inside"]
