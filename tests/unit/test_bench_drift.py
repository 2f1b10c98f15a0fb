"""The drift rows of the benchmark: the streams are what they promise, every row computes, the pictures are there."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy.stats import ks_2samp

from bench import _peers, _pictures, drift, drift_fleet, drift_occupancy, drift_verdict
from bench._streams import DAY, WINDOW, day_and_night, noise
from edgeops.drift.finding import Verdict

PAGE = Path(__file__).resolve().parents[2] / "docs" / "drift.md"
FIELDS = {"name", "value", "unit", "baseline", "bar", "holds", "inside"}


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.99])
def test_noise_has_the_autocorrelation_and_the_variance_it_promises(rho):
    values = noise(60_000, rho, np.random.default_rng(1)).astype(np.float64)
    assert (values[1:] * values[:-1]).mean() / np.square(values).mean() == pytest.approx(rho, abs=0.005)
    assert values.var() == pytest.approx(1.0, abs=0.06)


def test_noise_is_no_quieter_at_its_beginning():
    first = np.concatenate([noise(1, 0.99, np.random.default_rng(seed)) for seed in range(200)])
    assert first.std() == pytest.approx(1.0, abs=0.06)


def test_a_day_comes_back_and_the_stream_begins_at_any_hour():
    phases = np.array([0.0, 0.25])
    days = day_and_night(2 * DAY, phases)
    assert np.allclose(days[:DAY], days[DAY:], atol=1e-5)
    assert np.allclose(days[0], [0, 1], atol=1e-5)
    assert np.allclose(day_and_night(WINDOW, phases, first=3 * WINDOW), days[3 * WINDOW : 4 * WINDOW], atol=1e-5)


def test_the_short_way_to_an_exact_p_value_decides_as_scipy_does():
    random = np.random.default_rng(3)
    reference, stream = noise(2_000, 0.0, random), noise(12 * WINDOW, 0.3, random) + np.float32(0.06)
    expected = [
        any(ks_2samp(reference[:, channel], part[:, channel]).pvalue <= 0.05 / 16 for channel in range(16))
        for part in np.split(stream, 12)
    ]
    assert _peers.ks_alarms(reference, stream, window=WINDOW).tolist() == expected
    assert len(set(expected)) == 2


def test_the_drift_row_computes_and_draws(tmp_path):
    pytest.importorskip("river")
    small = [
        replace(one, reference_rows=min(one.reference_rows, 2_000), windows=min(one.windows, 4), peer_runs=1)
        for one in drift.CONDITIONS
    ]
    row = drift.measure(runs=1, conditions=small, pictures=tmp_path)
    assert set(row) == FIELDS
    assert row["baseline"] == 100.0
    assert all(one.name in row["inside"] for one in small)
    assert {path.name for path in tmp_path.iterdir()} == {
        _pictures.GAP,
        _pictures.FALSE_ALARMS,
        _pictures.EVIDENCE,
    }


def test_a_shift_that_is_found_names_its_channel():
    seen = drift.study(replace(drift.CONDITIONS[0], peer_runs=0), 5)
    assert seen[drift.SAME].tolist() == [drift.STABLE] * 4
    assert seen[drift.SHIFTED].tolist() == [drift.STABLE] + [drift.DRIFTED] * 3
    assert seen[drift.NAMED].tolist() == [True]


def test_the_fleet_row_computes_and_draws(tmp_path):
    row = drift_fleet.measure(runs=1, pictures=tmp_path)
    assert set(row) == FIELDS
    assert row["holds"]
    assert [path.name for path in tmp_path.iterdir()] == [_pictures.FLEET]


def test_the_same_figures_make_the_same_picture(tmp_path):
    figures = np.array([[0.9, 0.1], [0.1, 0.5], [0.0, 0.4]])
    for name in ("first", "second"):
        _pictures.draw_evidence(figures, figures, tmp_path / name)
    first, second = ((tmp_path / name / _pictures.EVIDENCE).read_bytes() for name in ("first", "second"))
    assert first == second


def test_the_cost_row_computes():
    row = drift_verdict.measure(devices=5, repeats=1)
    assert set(row) == FIELDS
    assert row["value"] > 0


def test_slow_climate_is_not_enough_evidence_with_the_reason():
    climate = noise(3_000, 0.9995, np.random.default_rng(2), channels=4)
    found = list(drift_occupancy.findings_of(climate[:2_000], climate[2_000:]))
    assert len(found) == 2 * 2 * 2
    assert all(one.verdict is Verdict.NOT_ENOUGH_EVIDENCE for one in found)
    assert all(drift_occupancy.is_explained(one) for one in found)


def test_without_the_data_the_occupancy_row_misses_its_bar_and_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEOPS_TEST_DATA", str(tmp_path))
    row = drift_occupancy.measure()
    assert not row["holds"]
    assert "set EDGEOPS_TEST_DATA" in row["inside"]


def test_the_page_shows_every_picture_and_they_are_small():
    shown = set(re.findall(r"\]\(pictures/([^)]+)\)", PAGE.read_text()))
    assert shown == {_pictures.GAP, _pictures.FALSE_ALARMS, _pictures.EVIDENCE, _pictures.FLEET}
    assert all((PAGE.parent / "pictures" / name).stat().st_size < 60_000 for name in shown)
