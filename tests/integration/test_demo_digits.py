"""One real pass from data to predictions on three devices, and back."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from edgeops.cli.app import run
from edgeops.errors import UnreachableError
from edgeops.local import demo, processes
from edgeops.local.part import Part
from edgeops.local.playing import wait_for_answers
from edgeops.local.scenarios.digits import Digits
from edgeops.local.stopwatch import Stopwatch
from edgeops.local.up import Site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("demo"), warm=True) as running:
        yield running


@pytest.fixture(scope="module")
def report(site):
    """The demo with seed 7."""
    return demo.run(site, Digits(), seed=7, watch=Stopwatch())


def test_three_separate_processes_answered(site, report):
    pids = {one.pid for one in report.devices}
    assert len(pids) == 3
    for pid in pids:
        assert "device_agent.cli" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def test_every_row_is_answered_by_the_committed_model(report):
    assert report.passed
    assert report.rows > 400
    assert report.joined == report.rows


def test_every_row_is_in_exactly_one_acknowledged_window(report):
    assert [one.window_rows for one in report.devices] == [one.rows for one in report.devices]


def test_the_devices_are_as_good_as_the_server_judged(report):
    assert report.accuracy == pytest.approx(report.artifacts["int8"].accuracy, abs=1e-6)
    assert report.accuracy > 0.9


def test_int8_is_smaller_and_about_as_good(report):
    whole, quantized = report.artifacts["float32"], report.artifacts["int8"]
    assert quantized.tflite_bytes < whole.tflite_bytes
    assert quantized.accuracy >= whole.accuracy - 0.02


def test_a_window_fits_its_budget(report):
    assert 0 < report.telemetry_bytes_per_window <= 900


def test_a_watched_rollout_ends_with_its_proof(site, report, capsys):
    demo.replay(site, Digits(), deployment="second")
    folder = ["--data", str(site.data)]
    assert (
        run(
            [
                "rollout",
                "create",
                "digits@1",
                "--deployment",
                "second",
                "--bake",
                "0s",
                "--min-rows",
                "20",
                "--watch",
                "--timeout",
                "60s",
                *folder,
            ]
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("rollout rollout-")
    assert "wave 1 of 2: 1 of 1 committed" in lines
    assert lines[-1] == "finished: proof: installed and healthy on 3 of 3 devices"


def test_waiting_has_an_end_and_an_aborted_rollout_a_bad_one(site, report, capsys):
    """All rows of `digits` are replayed, so the float32 model waits in TRIAL for more."""
    folder = ["--data", str(site.data)]
    create = ["rollout", "create", "digits@1", "--variant", "float32", "--deployment", "digits"]
    assert run([*create, "--watch", "--timeout", "1s", "--json", *folder]) == 9
    captured = capsys.readouterr()
    states = [json.loads(line) for line in captured.out.splitlines()]
    assert {state["state"] for state in states} == {"running"}
    assert captured.err.startswith("error: ")

    rollout = states[0]["id"]
    assert run(["rollout", "abort", rollout, *folder]) == 0
    capsys.readouterr()
    assert run(["rollout", "status", rollout, "--watch", *folder]) == 7
    assert "aborted" in capsys.readouterr().err
    assert run(["rollout", "abort", rollout, *folder]) == 6


@pytest.mark.long
@pytest.mark.parametrize("point", ["saved-staged", "did-start-trial", "window-spooled", "did-commit"])
def test_an_agent_killed_in_mid_rollout_loses_and_repeats_nothing(site, report, point):
    client, victim = site.client, site.agents[0]
    site.stop_agent(victim)
    site.start_agent(victim, environment={"EDGEOPS_FAIL_POINT": point})
    replayed = demo.replay(site, Digits(), deployment=f"crash-{point}")
    rollout = client.create_rollout(
        "digits", 1, variant="int8", deployment=replayed.deployment, waves=("1", "100%"), policy=demo.QUICK
    )
    assert victim.child.process.wait(60) == -signal.SIGKILL
    site.start_agent(victim)

    def has_ended() -> bool:
        return client.rollout(rollout.id).state != "running"

    processes.wait_until_ready(victim.child, has_ended, timeout_s=60)
    assert client.rollout(rollout.id).state == "finished", client.rollout(rollout.id).reason
    assert wait_for_answers(site, replayed, rollout.digest)
    rows = {
        device: sum(one.source_rows for one in client.telemetry(device, deployment=replayed.deployment))
        for device in replayed.shares
    }
    assert rows == {device: len(share) for device, share in replayed.shares.items()}


@pytest.mark.long
def test_each_process_killed_comes_back_and_the_site_works_on(site, report):
    """After each kill the agents report a new deployment; the last one then gets its model."""

    def is_back(part: Part, killed: int) -> bool:
        site.mend()
        try:
            return part.child.pid != killed and bool(site.client.health())
        except UnreachableError:
            return False

    for part in (*site.server, site.agents[0]):
        killed = part.child.pid
        part.child.process.kill()
        processes.wait_until_ready(site.agents[1].child, partial(is_back, part, killed), timeout_s=20)
        replayed = demo.replay(site, Digits(), deployment=f"after-{part.child.name}")
    version = site.client.version("digits", 1)
    rollout = demo.roll_out(site, version, replayed.deployment)
    assert wait_for_answers(site, replayed, rollout.digest)
    demo.publish(site, version)


@pytest.mark.long
def test_another_seed_gives_other_figures_and_a_stopped_agent_leaves_its_rows_missing(site, report):
    """One more pass, slowly replayed, whose last agent ends right after it committed."""
    client, stopped = site.client, site.agents[-1]
    demo.import_rows(site, Digits(), seed=8)
    version = demo.train(site, Digits(), seed=8)
    demo.publish(site, version)
    # A deployment of its own: the first one's model would answer these rows before the update came.
    replayed = demo.replay(site, Digits(), deployment="meter", rate_hz=10)
    rollout = demo.roll_out(site, version, replayed.deployment)
    stopped.child.process.kill()
    processes.stop([stopped.child])
    others = {device: share for device, share in replayed.shares.items() if device != stopped.device_id}
    assert wait_for_answers(site, replace(replayed, shares=others), rollout.digest)

    scores = demo.judge(client, Digits(), replayed, rollout)
    assert scores[stopped.device_id].joined < scores[stopped.device_id].rows
    assert all(scores[device].coverage == 1.0 for device in others)

    figures = {one.variant: (one.digest, one.metrics["accuracy"]) for one in version.artifacts}
    assert figures != {name: (one.digest, one.accuracy) for name, one in report.artifacts.items()}


@pytest.mark.long
def test_the_command_heals_prints_exactly_one_document_and_leaves_nothing_behind(tmp_path, tmp_path_factory):
    picture = tmp_path_factory.mktemp("picture") / "demo"
    ended = subprocess.run(
        [sys.executable, "-m", "edgeops.cli.entry", "demo", "--seed", "1", "--json", "--picture", str(picture)],
        capture_output=True, text=True, check=False, timeout=400,
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert document["seed"] == 1
    assert document["joined"] >= 0.99 * document["rows"]
    assert len({one["pid"] for one in document["devices"]}) == 3
    loop = document["loop"]
    assert loop["control"]["alarms"] == 0
    [change] = loop["batches"]
    assert change["drift"]
    assert change["drift_at"] < change["first_label_at"]
    assert 0 < change["labels"] <= 30
    assert change["after"] > change["before"]
    assert picture.with_suffix(".svg").stat().st_size > 0
    assert picture.with_suffix(".png").stat().st_size > 0
    assert list(tmp_path.iterdir()) == []
