"""A real agent: its owner holds it, a window keeps it waiting, and what it lost on disk it says and gets back."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from edgeops.digest import digest_hex
from edgeops.protocol import messages
from edgeops.protocol.messages import Maintenance, Reason, UpdateState
from edgeops.protocol.topics import DownKind
from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually

pytestmark = pytest.mark.slow

_S = UpdateState
_NOW = datetime.now(UTC)
#: Two days from now, whatever the hour.
_CLOSED = Maintenance(zone="UTC", days=((_NOW + timedelta(days=2)).weekday(),), opens=0, closes=60)


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path / "site")
    yield rig
    rig.close()


def _owner(rig, *command):
    line = [sys.executable, "-m", "device_agent.cli", "--state", str(rig.state.path), *command]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _desire(rig, revision, model, *, installation, maintenance=()):
    digest, target = model
    wanted = messages.DesiredDeployment(
        deployment=DEPLOYMENT,
        target=target,
        digest=digest,
        installation=installation,
        trial_inferences=5,
        maintenance=maintenance,
    )
    rig.server.say(DownKind.DESIRED, messages.Desired(epoch=1, revision=revision, deployments=(wanted,)))


def _waits(rig, state, reason):
    told = rig.server.state()
    return told is not None and (told.state, told.reason) == (state, reason)


def test_an_agent_waits_for_its_owner_and_its_window_and_gets_back_what_its_disk_lost(rig):
    first, second = rig.server.publish_model(version=1), rig.server.publish_model(version=2)
    rig.play(500, rate_hz=50, loop=True)
    rig.start_agent()
    _desire(rig, 1, first, installation="inst-1")
    eventually(lambda: rig.committed(first[0]), what="the first model is committed")

    assert _owner(rig, "label", "site=plant-1") == "site=plant-1\n"
    eventually(lambda: rig.server.reported[-1].facts.labels == {"site": "plant-1"}, what="the label is told")
    assert rig.server.reported[-1].facts.sensors[DEPLOYMENT][:2] == ("x1", "x2")
    assert rig.server.reported[-1].facts.os

    # The owner's hold: nothing is fetched, a kill changes nothing.
    _owner(rig, "hold", "--reason", "a customer visits")
    _desire(rig, 2, second, installation="inst-2", maintenance=(_CLOSED,))
    eventually(lambda: _waits(rig, _S.FETCHING, Reason.HELD), what="it is held")
    assert "a customer visits" in rig.server.state().hold
    assert "a customer visits" in _owner(rig, "status")
    rig.agent.kill()
    rig.agent.wait()
    rig.server.reported.clear()
    rig.start_agent()
    eventually(lambda: _waits(rig, _S.FETCHING, Reason.HELD), what="it is held after a kill")

    # Released it fetches, and waits for its window.
    _owner(rig, "release")
    eventually(lambda: _waits(rig, _S.STAGED, Reason.WINDOW), what="it waits for its window")
    assert rig.server.state().active == first[0]
    assert "opens" in rig.server.state().detail
    _desire(rig, 3, second, installation="inst-2")
    eventually(lambda: rig.committed(second[0]), what="the second model is committed")

    # What was committed is damaged: the first one answers, the agent says so, and gets it back.
    assert rig.stop_agent() == 0
    file = rig.state.deployment(DEPLOYMENT) / "slots" / digest_hex(second[0]) / "artifact.tflite"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    rig.server.reported.clear()
    rig.start_agent()
    eventually(lambda: _lost(rig) == (first[0], second[0]), what="it tells what it lost and what answers")
    eventually(lambda: rig.committed(second[0]), what="it is back")
    assert rig.server.state().instead_of is None


def _lost(rig):
    """What answered, and in place of what, when it was told first."""
    states = [one for told in rig.server.reported for one in told.deployments if one.instead_of is not None]
    return (states[0].active, states[0].instead_of) if states else None
