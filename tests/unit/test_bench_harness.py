"""The harness that measures the bars: it must notice a missed one."""

import json
import sys
import types

import pytest

import bench
from bench import __main__ as harness


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """A bench of two rows whose figures the test sets."""
    figures = {"fast": True, "slow": True}
    for name in list(figures):
        module = types.ModuleType(f"bench.{name}")
        module.measure = lambda name=name: {
            "name": name,
            "value": 1.5,
            "unit": "us",
            "baseline": None,
            "bar": "<= 2 us",
            "holds": figures[name],
            "inside": "nothing",
        }
        monkeypatch.setitem(sys.modules, f"bench.{name}", module)
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setattr(bench, "__path__", [str(tmp_path)])
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results.json")
    return figures


def results():
    return {row["name"]: row for row in json.loads(harness.RESULTS.read_text())}


def test_all_rows_are_measured_and_written(rows, capsys):
    assert harness.main([]) == 0
    assert list(results()) == ["fast", "slow"]
    assert set(results()["fast"]) == {"name", "value", "unit", "baseline", "bar", "holds", "machine", "inside"}
    assert "<= 2 us" in capsys.readouterr().out


def test_a_bar_that_does_not_hold_fails_the_run(rows, capsys):
    rows["slow"] = False
    assert harness.main([]) == 1
    assert "MISSED" in capsys.readouterr().out


def test_one_row_replaces_its_earlier_result_only(rows):
    harness.main([])
    rows["slow"] = False
    assert harness.main(["--name", "slow"]) == 1
    assert (results()["fast"]["holds"], results()["slow"]["holds"]) == (True, False)


def test_an_unknown_row_is_a_usage_error(rows, capsys):
    assert harness.main(["--name", "nope"]) == 2
    assert "there are: fast, slow" in capsys.readouterr().err


def test_the_first_rows_exist():
    assert {"telemetry_bytes", "sketch_update"} <= set(harness.row_names())
