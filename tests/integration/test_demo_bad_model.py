"""A model that passes every check before its rollout is stopped by the canary, with real agents and a real broker."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_the_bad_model_does_not_leave_the_canary_and_the_canary_gets_the_good_one_back(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "edgeops.cli.entry", "demo", "--scenario", "bad-model", "--json"],
        capture_output=True, text=True, check=False, timeout=400,
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert document["stopped_in_wave"] == 1
    assert document["devices"] == {"all": 3, "asked": 1, "restored": 3}
    assert min(document["stated_accuracy"].values()) > 0.95, "both models look well before the rollout"
    assert "they differ on" in document["reason"]
    bad = [one for one in document["evidence"] if one["sign"] == "bad"]
    assert [one["kind"] for one in bad] == ["answers"]
    assert list(tmp_path.iterdir()) == []
