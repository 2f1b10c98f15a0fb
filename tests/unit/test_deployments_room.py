"""Names of which nothing is left make room for those that are desired; what has no room is told, not forgotten."""

import pytest

from device_agent.agent import Agent
from device_agent.config import Deployment, write_deployment
from device_agent.store.slots import Slots
from device_agent.store.state import DeploymentStore
from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.protocol.messages import Desired, DesiredDeployment, Reason, UpdateState
from edgeops.update.update import Update, Wanted
from tests.unit.lone_agent import DEVICE, end, enrolled

DIGEST = digest_bytes(b"a")
TARGET = "models/a/1-int8.json"
MANY = [f"thief-{number:02}" for number in range(limits.MAX_DEPLOYMENTS)]
REFUSED = Update(
    state=UpdateState.REJECTED,
    wanted=Wanted(epoch=1, revision=1, target=TARGET, digest=DIGEST, installation=None),
    mark=(1, 1),
    reason=Reason.NOT_LISTED,
)


@pytest.fixture
def state(tmp_path):
    return enrolled(tmp_path)


@pytest.fixture
def started(state):
    agents = []

    def start() -> Agent:
        agents.append(Agent(state, DEVICE))
        agents[-1]._deployments.start()
        return agents[-1]

    yield start
    for agent in agents:
        end(agent)


def desired(revision, *names, nothing=()) -> Desired:
    parts = [DesiredDeployment(deployment=name, target=TARGET, digest=DIGEST) for name in names]
    parts += [DesiredDeployment(deployment=name, target=None, digest=None) for name in nothing]
    return Desired(epoch=1, revision=revision, deployments=tuple(parts))


def names(agent):
    return {name for name, _ in agent._deployments}


def fill(state, update, *, but=()):
    for name in MANY:
        DeploymentStore(state.deployment(name)).save(update)


def test_a_name_of_which_nothing_is_left_makes_room_for_a_new_one(state, started):
    fill(state, REFUSED)
    agent = started()
    agent._act_on(desired(2, "gas-one"))
    assert names(agent) == {*MANY[1:], "gas-one"}
    assert not state.deployment(MANY[0]).exists()
    assert set(agent._watchdog.turns) >= {"feed-gas-one", "updates-gas-one"}
    assert not set(agent._watchdog.turns) & {f"feed-{MANY[0]}", f"updates-{MANY[0]}"}
    assert agent._downlink.desired == (1, 2)
    assert agent._deployments.hindrance == ""


def test_names_that_a_newer_desired_state_wants_nothing_of_make_room(state, started):
    agent = started()
    agent._act_on(desired(1, nothing=MANY))
    agent._act_on(desired(2, "gas-one", "gas-two", nothing=MANY[:-2]))
    assert names(agent) == {*MANY[2:], "gas-one", "gas-two"}
    assert agent._downlink.desired == (1, 2)


def running(state, name):
    """It runs a model; the update after that was refused."""
    slots = Slots(state.deployment(name))
    (state.path / "part").write_bytes(b"a")
    slots.stage(DIGEST, state.path / "part", descriptor=b"{}")
    slots.commit(DIGEST)


def owned(state, name):
    write_deployment(state, name, Deployment())


def under_way(state, name):
    """It fetches."""
    DeploymentStore(state.deployment(name)).save(
        Update(state=UpdateState.FETCHING, wanted=REFUSED.wanted, mark=(1, 1), reported=False)
    )


@pytest.mark.parametrize("use", [running, owned, under_way])
def test_what_runs_or_is_under_way_or_its_owner_set_up_is_not_forgotten_and_the_server_hears_why(state, started, use):
    fill(state, REFUSED)
    for name in MANY:
        use(state, name)
    agent = started()
    agent._act_on(desired(2, "gas-one"))
    assert names(agent) == set(MANY)
    assert agent._downlink.desired == (0, 0)
    assert "'gas-one' would be deployment 17" in agent._deployments.hindrance
    agent._carry_out()
    assert agent._all_counters()["desired.refused"] == 1


def test_what_had_no_room_is_set_up_as_soon_as_there_is_some(state, started):
    fill(state, REFUSED)
    for name in MANY:
        owned(state, name)
    agent = started()
    agent._act_on(desired(2, "gas-one"))
    state.configuration(MANY[3]).unlink()
    agent._carry_out()
    assert names(agent) == {*MANY, "gas-one"} - {MANY[3]}
    assert (agent._downlink.desired, agent._deployments.hindrance) == ((1, 2), "")


def test_a_part_that_can_not_be_carried_out_does_not_count_as_carried_out(started):
    agent = started()
    half = DesiredDeployment(deployment="gas-one", target=TARGET, digest=None)
    agent._act_on(Desired(epoch=1, revision=1, deployments=(half,)))
    assert agent._downlink.desired == (0, 0)
    assert "it must name both or neither" in agent._deployments.hindrance
