"""A damaged pointer takes no model away that this device committed and still has whole, whatever the update was at."""

import pytest

from device_agent.agent import Agent
from device_agent.config import StateFolder
from device_agent.store.slots import Slots
from device_agent.store.state import DeploymentStore
from edgeops.digest import digest_bytes
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.protocol.messages import Evidence, UpdateState
from edgeops.update import machine
from edgeops.update.events import Emptied, Started
from edgeops.update.update import Shown, Update, Wanted
from tests.golden.tiny import tiny_artifact
from tests.unit.test_agent_damage import DEADLINE_S, DEVICE, GARBAGE

MODEL = tiny_artifact()
DIGEST = digest_bytes(MODEL)
EVIDENCE = Evidence(inferences=5, errors=0)


def wanted(digest, *, revision) -> Wanted:
    target = None if digest is None else "models/a/1-int8.json"
    return Wanted(epoch=1, revision=revision, target=target, digest=digest, installation="i")


COMMITTED = Update(
    state=UpdateState.COMMITTED,
    wanted=wanted(DIGEST, revision=1),
    mark=(1, 1),
    shown=Shown(digest=DIGEST, evidence=EVIDENCE),
)
OTHER = wanted(digest_bytes(b"another"), revision=3)
FETCHING = machine.step(COMMITTED, Started(OTHER))[0]
EMPTY = machine.step(COMMITTED, Emptied(wanted(None, revision=2)))[0]
FETCHING_AFTER_EMPTY = machine.step(EMPTY, Started(OTHER))[0]


@pytest.fixture
def started(tmp_path):
    state = StateFolder(tmp_path)
    write_private_key(state.key, SigningKey.generate())
    agents = []

    def start(update: Update) -> str | None:
        folder = state.deployment("gas-one")
        DeploymentStore(folder).save(update)
        slots = Slots(folder)
        (folder / "part").write_bytes(MODEL)
        slots.stage(DIGEST, folder / "part", descriptor=b"{}")
        (folder / "pointer.json").write_bytes(GARBAGE)
        agents.append(Agent(state, DEVICE))
        agents[-1]._deployments.start()
        [(_, deployed)] = agents[-1]._deployments
        active = deployed.updates.running().active
        return None if active is None else active.digest

    yield start
    for agent in agents:
        agent._deployments.stop()
        agent._tray.close(DEADLINE_S)
        agent._spool.close()
        agent._control._socket.close()


@pytest.mark.parametrize("update", [COMMITTED, FETCHING])
def test_what_was_committed_answers_although_the_pointer_is_damaged_and_there_is_no_contact(started, update):
    assert started(update) == DIGEST


@pytest.mark.parametrize("update", [EMPTY, FETCHING_AFTER_EMPTY])
def test_what_shall_run_no_more_does_not_come_back_with_a_damaged_pointer(started, update):
    assert started(update) is None
