"""What people ask about drift, through the API and the command line."""

import json
from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from edgeops.api.roles import Role
from edgeops.api.shapes import ChannelDrift
from edgeops.artifact.manifest import Output, Task
from edgeops.cli.app import run
from edgeops.cli.drift import _says
from edgeops.drift.finding import Verdict
from edgeops.errors import InputError, NotFoundError
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.monitoring import Monitoring
from tests.contract.rig import ApiRig
from tests.unit.drift_rig import CHANNELS, START, DriftRig, digest


@pytest.fixture
def rig(tmp_path):
    api = ApiRig(tmp_path)
    api.now = START
    fleet = DriftRig(tmp_path, config=api.config, database=api.database)
    api.fleet = fleet
    yield api
    api.close()


@pytest.fixture
def client(rig):
    return rig.client(Role.OPERATOR)


@pytest.fixture
def edgeops(rig, capsys):
    def command(*arguments):
        code = run(["drift", *arguments, "--url", rig.url, "--token", rig.tokens[Role.OPERATOR]])
        return code, capsys.readouterr()

    return command


class Estimating(Artifacts):
    """Takes every model for a regression whose answers may be 4 bar off."""

    def get(self, digest):
        known = super().get(digest)
        manifest = msgspec.structs.replace(
            known.manifest, task=Task.REGRESSION, metrics={"mae": 2.0}, output=Output(units="bar")
        )
        reference = msgspec.structs.replace(known.reference, intervals=np.full(32, 4, "<f4").tobytes())
        return replace(known, manifest=manifest, reference=reference)


def estimating(rig):
    rig.fleet.monitoring = Monitoring(rig.database, Estimating(Blobs(rig.config)))


def drifted(rig):
    rig.fleet.round(200)
    rig.fleet.round(200, shift=2.0)


# -- the API -------------------------------------------------------------------------


def test_before_anything_came_there_is_not_enough_evidence_and_never_stable(client):
    drift = client.drift("tiny")
    assert (drift.verdict, drift.findings) == ("not-enough-evidence", ())
    assert "3 devices are awaited" in drift.reason


def test_a_finding_has_everything_a_person_needs(rig, client):
    drifted(rig)
    drift = client.drift("tiny")
    assert drift.verdict == "drift"
    (finding,) = drift.findings
    assert finding.reason == drift.reason
    assert (finding.model, finding.version, finding.digest, finding.deployment) == ("tiny", 1, digest(), "bench")
    assert finding.device_id is None
    assert "data" in finding.kinds
    assert finding.drifted == ("x2",)
    assert [channel.name for channel in finding.channels] == list(CHANNELS)
    moved = finding.channels[1]
    assert moved.drifted
    assert moved.movement == "higher"
    assert len(moved.edges) == 31
    assert len(moved.reference_histogram) == len(moved.window_histogram) == 32
    assert moved.distance > moved.floor
    assert moved.p_value < 0.05
    answer = finding.channels[4]
    assert (answer.name, answer.kind) == ("answer", "prediction")


def test_of_a_regression_the_mean_error_is_estimated_while_its_inputs_are_stable(rig, client, edgeops):
    estimating(rig)
    rig.fleet.round(200)
    (finding,) = client.drift("tiny").findings
    assert finding.verdict == "stable"
    error = finding.estimated_error
    assert error.mae == pytest.approx(2.0)
    assert (error.unknown_because, error.evaluation_mae, error.units) == (None, 2.0, "bar")
    shown = edgeops("show", "tiny")[1].out
    assert "expected mean error now: 2 bar, 2 bar on the evaluation set (an estimate" in shown


def test_of_a_regression_whose_inputs_have_moved_it_is_said_why_the_mean_error_is_unknown(rig, client, edgeops):
    estimating(rig)
    drifted(rig)
    (finding,) = client.drift("tiny").findings
    assert finding.estimated_error.mae is None
    assert finding.estimated_error.evaluation_mae == 2.0
    shown = edgeops("show", "tiny")[1].out
    assert "expected mean error now: unknown, for inputs have moved" in shown
    assert "; 2 bar on the evaluation set" in shown


def test_of_classes_no_mean_error_is_told(rig, client, edgeops):
    rig.fleet.round(200)
    assert client.drift("tiny").findings[0].estimated_error is None
    assert "mean error" not in edgeops("show", "tiny")[1].out


def test_the_device_that_differs_comes_after_the_fleet(rig, client):
    for number in range(4, 8):
        rig.fleet.enrol(f"edge-{number}")
    of = tuple(f"edge-{number}" for number in range(1, 8))
    for _ in range(4):
        rig.fleet.round(200, of=of, shifts={"edge-5": 2.5})
    assert [one.device_id for one in client.drift("tiny").findings] == [None, "edge-5"]
    assert client.drift("tiny").verdict == "drift"
    assert [one.device_id for one in client.drift("tiny", device="edge-1").findings] == [None]
    assert client.drift("tiny", device="edge-1").verdict == "stable"


def test_a_check_judges_what_came_without_waiting(rig, client):
    rig.fleet.round(200)
    for device_id in ("edge-1", "edge-2"):
        rig.fleet.send(device_id, rig.fleet.weather.rows(200, shift=2.0))
    rig.now = rig.fleet.now
    assert client.drift("tiny").verdict == "stable"
    assert client.check_drift("tiny").verdict == "drift"
    assert client.drift("tiny").verdict == "drift"


def test_a_check_and_monitoring_tell_a_spell_once(rig, client):
    drifted(rig)
    rig.now = rig.fleet.now
    told = len(rig.fleet.news())
    client.check_drift("tiny")
    client.check_drift("tiny")
    assert len(rig.fleet.news()) == told


def test_history_is_the_latest_first_in_pages_without_channels(rig, client):
    for shift in (0, 2.0, 0, 0, 0, 0, 0, 0):
        rig.fleet.round(300, shift=shift, every_s=70)
    found = list(client.drift_history("tiny"))
    assert len(found) >= 2
    assert found[-1].verdict == "stable"
    assert all(one.channels is None for one in found)
    assert [one.first_at for one in found] == sorted((one.first_at for one in found), reverse=True)
    first = rig.request("GET", "/api/v1/models/tiny/drift/history", role=Role.VIEWER, params={"limit": 1}).json()
    assert [one["id"] for one in first["items"]] == [found[0].id]
    assert first["next"]
    assert list(client.drift_history("tiny", device="edge-1")) == []
    assert list(client.drift_history("tiny", deployment="elsewhere")) == []


def test_a_version_that_runs_no_more_is_shown_only_when_asked_for(rig, client):
    drifted(rig)
    rig.fleet.publish(2)
    for device_id in ("edge-1", "edge-2", "edge-3"):
        rig.fleet.report(device_id, version=2)
    assert client.drift("tiny").verdict == "not-enough-evidence"
    assert client.drift("tiny", version=1).verdict == "drift"


def test_a_model_that_nobody_runs_says_so(rig, client):
    assert "no device runs tiny" in client.drift("tiny", deployment="elsewhere").reason


@pytest.mark.parametrize("ask", ["drift", "check_drift"])
def test_what_is_unknown_is_not_found(client, ask):
    with pytest.raises(NotFoundError, match="no model 'nothing'"):
        getattr(client, ask)("nothing")
    with pytest.raises(NotFoundError, match="no device"):
        getattr(client, ask)("tiny", device="stranger")
    with pytest.raises(NotFoundError, match="no version 7 of a model 'tiny'"):
        getattr(client, ask)("tiny", version=7)
    with pytest.raises(InputError):
        getattr(client, ask)("tiny", version=0)


def test_the_history_of_an_unknown_model_is_not_found(client):
    with pytest.raises(NotFoundError):
        list(client.drift_history("nothing"))
    with pytest.raises(NotFoundError, match="no version 7"):
        list(client.drift_history("tiny", version=7))


# -- the command line -----------------------------------------------------------------


def test_a_check_ends_with_0_8_or_10(rig, edgeops):
    assert edgeops("check", "tiny")[0] == 10
    rig.fleet.round(200)
    assert edgeops("check", "tiny")[0] == 0
    rig.fleet.round(200, shift=2.0)
    rig.now = rig.fleet.now
    assert edgeops("check", "tiny")[0] == 8
    assert edgeops("check", "tiny", "--deployment", "elsewhere")[0] == 10
    assert edgeops("check", "nothing")[0] == 3


def test_what_is_shown_can_be_read_without_statistics(rig, edgeops):
    drifted(rig)
    code, told = edgeops("show", "tiny")
    assert code == 0
    lines = told.out.splitlines()
    assert lines[0] == "DRIFT: the world has changed"
    assert lines[1].startswith("tiny@1 in deployment bench, since ")
    row = next(line for line in lines if line.startswith("x2 ") and "█" in line)
    assert row.endswith("reads higher than in training")
    assert any(line.startswith("next: ") for line in lines)
    assert "see them with --all" in told.out
    assert len(edgeops("show", "tiny", "--all")[1].out.splitlines()) > len(lines)


def test_without_evidence_nothing_looks_healthy(rig, edgeops):
    before = edgeops("show", "tiny")[1].out
    rig.fleet.round(10)
    for told in (before, edgeops("show", "tiny")[1].out):
        assert told.startswith("NOT ENOUGH EVIDENCE")
        assert "STABLE" not in told
        assert "as in training" not in told


def test_a_broken_sensor_of_one_device_names_the_device_and_what_to_look_at(rig, edgeops):
    for number in range(4, 8):
        rig.fleet.enrol(f"edge-{number}")
    of = tuple(f"edge-{number}" for number in range(1, 8))
    for _ in range(4):
        rig.fleet.round(200, of=of, shifts={"edge-5": 2.5})
    _, told = edgeops("show", "tiny")
    assert told.out.startswith("STABLE")
    assert "DRIFT of one device" in told.out
    assert "edge-5" in told.out


def test_readings_that_cannot_be_trusted_are_no_new_world(rig, edgeops):
    rig.fleet.round(200)
    for device_id in ("edge-1", "edge-2", "edge-3"):
        rows = rig.fleet.weather.rows(200)
        rows[:, 1] = 1e6
        rig.fleet.send(device_id, rows)
    rig.fleet.wait(1)
    _, told = edgeops("show", "tiny")
    lines = told.out.splitlines()
    assert lines[0] == "DRIFT of data quality: readings cannot be trusted"
    assert "another world" not in told.out
    assert "look at that sensor first" in told.out


@pytest.mark.parametrize(
    ("distance", "local", "told"),
    [(0.07, False, "as in training"), (0.3, False, "differs, not proven"), (0.9, True, "not apart from its siblings")],
)
def test_what_differs_without_a_verdict_is_not_called_as_in_training(distance, local, told):
    channel = ChannelDrift(
        name="x1", kind="data", distance=distance, floor=0.08, p_value=0.2, effective_rows=30, drifted=False,
        movement="higher", edges=(), reference_histogram=(1, 1), window_histogram=(0, 2),
    )  # fmt: skip
    assert _says(channel, Verdict.DRIFT, local=local) == told


def test_documents_are_the_resources(rig, edgeops):
    drifted(rig)
    code, told = edgeops("check", "tiny", "--json")
    assert code == 8
    assert json.loads(told.out)["findings"][0]["channels"][1]["drifted"] is True
    code, told = edgeops("history", "tiny@1", "--json")
    assert code == 0
    assert [one["verdict"] for one in json.loads(told.out)] == ["drift", "stable"]


def test_history_is_a_table_of_spells(rig, edgeops):
    assert "nothing was found yet" in edgeops("history", "tiny")[1].out
    drifted(rig)
    lines = edgeops("history", "tiny")[1].out.splitlines()
    assert len(lines) == 3
    assert "drift" in lines[1]
    assert "1: x2" in lines[1]
    assert "stable" in lines[2]


def test_a_small_histogram_needs_no_unicode(rig, edgeops, monkeypatch):
    drifted(rig)
    monkeypatch.setattr("edgeops.cli.drift._can_show", lambda _: False)
    _, told = edgeops("show", "tiny")
    assert told.out.isascii()


def test_time_passes_without_windows_and_nothing_changes(rig, client):
    drifted(rig)
    before = client.drift("tiny")
    rig.fleet.now += timedelta(days=1)
    rig.fleet.monitoring.run_once(rig.fleet.now)
    assert client.drift("tiny") == before
