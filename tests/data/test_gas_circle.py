"""Sensors that age by thirty months: the fleet sees each change, and heals with sixty labels."""

import json
import os
import subprocess
import sys

import pytest

from tests.data.folder import data_folder

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(1200)]


def demo(folder, *options):
    command = [sys.executable, "-m", "edgeops.cli.entry", "demo", "--scenario", "gas", "--json"]
    ended = subprocess.run(
        [*command, "--data", str(data_folder() / "gas_drift"), "--picture", str(folder / "picture"), *options],
        capture_output=True, text=True, check=False, timeout=1_100, env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_each_batch_is_seen_before_a_label_is_served_and_healed(tmp_path):
    document = demo(tmp_path)
    assert [one["batch"] for one in document["batches"]] == [3, 4, 5, 6, 8, 9]
    for one in document["batches"]:
        assert one["drift"]
        assert one["drift_at"] < one["first_label_at"]
        assert 0 < one["labels"] <= 60
        assert one["after"] >= 0.93
        assert one["stable_after"]
    assert document["control"] == {"windows": document["control"]["windows"], "alarms": 0}
    assert document["control"]["windows"] > 0
    assert document["mean_after"] >= 0.97
    assert document["mean_after"] > document["mean_before"] > document["mean_static"]
    assert {path.suffix for path in tmp_path.iterdir()} == {".svg", ".png"}


def test_without_a_change_nothing_happens(tmp_path):
    document = demo(tmp_path, "--control")
    assert document["control"]["alarms"] == 0
    assert document["batches"] == []
    assert document["rollouts"] == 1
