"""The real agent process against a real broker and a server that keeps to the protocol."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeops.digest import digest_bytes
from edgeops.protocol import messages
from edgeops.protocol.messages import Phase, Presence, Reason, UpdateState
from edgeops.protocol.topics import DownKind
from edgeops.update.faults import FailPoint
from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_an_agent_installs_a_model_plays_a_file_and_every_row_is_accounted_for(rig):
    digest, target = rig.server.publish_model()
    classes = rig.play(1300, rate_hz=300)  # slow enough that the trial ends while rows still come
    rig.start_agent()
    eventually(lambda: rig.server.state() is not None, what="the agent reports")
    assert rig.server.state().active is None
    assert rig.server.state().state is UpdateState.IDLE
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    eventually(lambda: rig.committed(digest), what="the model is committed")
    eventually(rig.ended, what="the file is played")
    windows = rig.server.windows()
    assert sum(window.source_rows for window in windows) == 1300
    assert {window.phase for window in windows} == {Phase.TRIAL, Phase.LIVE}
    answers = rig.server.predictions()
    assert set(answers) == {str(row) for row in range(1300)}
    assert sum(answers[str(row)].answer == klass for row, klass in enumerate(classes)) > 0.95 * 1300
    final = [report for report in rig.server.reports() if report.state is UpdateState.COMMITTED]
    assert [report.installation for report in final] == ["inst-1"]
    assert rig.server.reported[-1].desired_revision == 1
    assert rig.stop_agent() == 0
    presences = [entry[0] for entry in rig.server.statuses]
    eventually(lambda: rig.server.statuses[-1][0] is Presence.OFFLINE, what="the farewell")
    assert presences[0] is Presence.ONLINE
    assert not rig.state.socket.exists()


@pytest.mark.parametrize(
    "fail_point",
    [
        FailPoint.BLOCK_WRITTEN,
        FailPoint.SAVED_TRIAL,
        FailPoint.DID_SEND_EVIDENCE,
        FailPoint.DID_COMMIT,
        FailPoint.WINDOW_SPOOLED,
        f"{FailPoint.WINDOW_SPOOLED}:3",
        f"{FailPoint.RECORDS_TAKEN}:2",
    ],
)
def test_a_kill_at_any_point_loses_no_row_and_counts_none_twice(rig, fail_point):
    digest, target = rig.server.publish_model()
    rig.play(1700)
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    rig.start_agent(fail_point=fail_point)
    eventually(rig.died, what=f"the agent dies at {fail_point}")
    assert rig.agent.returncode == -signal.SIGKILL
    rig.start_agent()
    eventually(lambda: rig.committed(digest), what="the model is committed after the restart")
    eventually(rig.ended, what="the file is played to its end")
    assert rig.server.rows() == 1700
    assert set(rig.server.predictions()) == {str(row) for row in range(1700)}
    assert [r.state for r in rig.server.reports() if r.state is not UpdateState.TRIAL] == [UpdateState.COMMITTED]


def test_a_lost_connection_costs_no_row(rig):
    digest, target = rig.server.publish_model()
    rig.play(900, rate_hz=600)
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    rig.start_agent()
    eventually(lambda: rig.committed(digest), what="the model is committed")
    rig.broker.stop()
    rig.broker.start()
    eventually(rig.ended, what="the file is played to its end")
    assert rig.server.rows() == 900
    births = [seq for presence, _, seq in rig.server.statuses if presence is Presence.ONLINE]
    assert len(births) == 2
    assert births == sorted(births)


def test_a_digest_that_nobody_signed_is_rejected_and_the_incumbent_stays(rig):
    digest, target = rig.server.publish_model()
    rig.play(60)
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    rig.start_agent()
    eventually(lambda: rig.committed(digest), what="the first model is committed")
    rig.server.desire(2, (DEPLOYMENT, digest_bytes(b"smuggled"), target))
    eventually(lambda: rig.server.state().state is UpdateState.REJECTED, what="the smuggled digest is rejected")
    state = rig.server.state()
    assert (state.active, state.reason) == (digest, Reason.NOT_LISTED)


def test_a_forged_desired_state_changes_nothing_and_is_counted(rig):
    digest, target = rig.server.publish_model()
    rig.play(10)
    rig.start_agent()
    eventually(lambda: rig.server.state() is not None, what="the agent reports")
    wanted = messages.DesiredDeployment(deployment=DEPLOYMENT, target=target, digest=digest)
    forged = messages.Desired(epoch=9, revision=9, deployments=(wanted,))
    rig.server.say(DownKind.DESIRED, forged, spoiled=True)
    eventually(lambda: rig.status()["counters"].get("envelope.signature"), what="the forgery is counted")
    assert rig.status()["desired"] == [0, 0]
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    eventually(lambda: rig.committed(digest), what="an honest one is carried out")


def test_a_new_fleet_key_is_learnt_through_tuf_and_the_message_is_not_lost(rig):
    digest, target = rig.server.publish_model()
    rig.play(20)
    rig.start_agent()
    eventually(lambda: rig.server.reported, what="the agent reports")
    rig.server.rotate_key()
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    eventually(lambda: rig.committed(digest), what="the desired state under the new key")


def test_two_deployments_of_one_device_run_their_own_models(rig):
    first, first_target = rig.server.publish_model(version=1)
    second, second_target = rig.server.publish_model(version=2, variant="float32")
    rig.play(520)
    rig.play(130, deployment="meter-backup")
    rig.server.desire(1, (DEPLOYMENT, first, first_target), ("meter-backup", second, second_target))
    rig.start_agent()
    eventually(lambda: rig.committed(first), what="the first deployment")
    eventually(lambda: rig.committed(second, "meter-backup"), what="the second deployment")
    eventually(lambda: rig.ended() and rig.ended("meter-backup"), what="both files are played")
    assert (rig.server.rows(), rig.server.rows("meter-backup")) == (520, 130)


def test_a_deployment_without_configuration_gets_its_model_slot_and_no_source(rig):
    digest, target = rig.server.publish_model()
    rig.start_agent()
    rig.server.desire(1, ("meter-spare", digest, target))
    eventually(
        lambda: (state := rig.server.state("meter-spare")) and state.state is UpdateState.TRIAL, what="a trial begins"
    )
    assert (rig.state.deployment("meter-spare") / "slots").is_dir()
    assert [item["source"] for item in rig.status()["deployments"]] == ["none"]


def test_the_command_line_plays_a_file_and_shows_the_state(rig):
    digest, target = rig.server.publish_model()
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    rig.play(50)
    rig.start_agent()
    eventually(lambda: rig.committed(digest), what="the model is committed")
    file = rig.folder / "again.csv"
    file.write_text("x4,x3,x2,x1\n" + "0.1,0.2,0.3,0.4\n" * 30)
    played = _command(rig, "replay", str(file), "--deployment", DEPLOYMENT, "--once", "--predictions", "off")
    assert (played.returncode, played.stdout) == (0, "")
    eventually(rig.ended, what="the second file is played")
    eventually(lambda: rig.server.rows() == 80, what="its rows are counted")
    shown = _command(rig, "status", "--json")
    assert json.loads(shown.stdout)["deployments"][0]["active"] == digest
    file.write_text("x4,x3,x2\n0.1,0.2,0.3\n")
    refused = _command(rig, "replay", str(file), "--deployment", DEPLOYMENT)
    assert refused.returncode == 1
    assert "lacks x1" in refused.stderr


def test_a_second_agent_in_the_same_folder_is_refused(rig):
    rig.start_agent()
    eventually(rig.status, what="the agent answers its owner")
    second = _command(rig, "run")
    assert second.returncode == 6
    assert "already" in second.stderr


def test_the_daemon_loads_nothing_that_belongs_to_the_server_or_the_command_line():
    banned = ("typer", "click", "pydantic", "tuf", "sqlalchemy", "tensorflow", "fastapi", "rich", "httpx")
    code = (
        "import sys, device_agent.agent, device_agent.cli, device_agent.lock, device_agent.events;"
        f"print([name for name in {banned} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def _command(rig: Rig, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device_agent.cli", "--state", str(Path(rig.state.path)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
