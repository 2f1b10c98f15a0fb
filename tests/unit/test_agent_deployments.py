"""The agent's main thread and its deployments, without a broker: time passes, and one that is broken harms no other."""

import time
from collections.abc import Callable

import pytest

from device_agent.agent import Agent
from device_agent.link import Arrived
from edgeops.digest import digest_bytes
from edgeops.protocol.messages import Desired, DesiredDeployment, UpdateState
from edgeops.protocol.topics import Down, DownKind
from tests.unit.lone_agent import DEADLINE_S, DEVICE, end, enrolled


@pytest.fixture
def state(tmp_path):
    return enrolled(tmp_path)


@pytest.fixture
def agent(state):
    agents = []

    def make() -> Agent:
        agents.append(Agent(state, DEVICE))
        return agents[-1]

    yield make
    for made in agents:
        end(made)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def wants(*names: str) -> Desired:
    deployments = tuple(
        DesiredDeployment(deployment=name, target="models/a/1-int8.json", digest=digest_bytes(b"a")) for name in names
    )
    return Desired(epoch=1, revision=1, deployments=deployments)


def states(agent: Agent) -> dict[str, UpdateState]:
    return {state.deployment: state.state for state in agent._deployments.states()}


def test_time_passes_for_updates_however_busy_the_queue_is(agent):
    agent = agent()
    agent._act_on(wants("gas-one"))
    [(_, deployed)] = agent._deployments
    until(lambda: deployed.updates._retry_at is not None)  # without a connection it waits
    deployed.updates.contact()
    turn = deployed.updates._turn
    noise = Arrived(Down("somebody-else", DownKind.ACK), b"")

    def busy() -> bool:
        agent._handle(noise)
        return deployed.updates._turn > turn

    until(busy)


def test_a_deployment_whose_files_cannot_be_read_holds_up_no_other(agent, state):
    for name in ("gas-broken", "gas-sound"):
        (state.deployments / name).mkdir(parents=True)
    (state.deployments / "gas-broken" / "slots").touch()
    agent = agent()
    agent._deployments.start()
    assert set(states(agent)) == {"gas-sound"}
    assert agent._all_counters()["deployment.unusable"] == 1


def test_a_deployment_that_could_not_be_set_up_is_set_up_later(agent, state):
    broken = state.deployments / "gas-broken" / "slots"
    broken.parent.mkdir(parents=True)
    broken.touch()
    agent = agent()
    agent._deployments.start()
    broken.unlink()
    agent._deployments.tick(time.monotonic())
    assert set(states(agent)) == {"gas-broken"}


def test_a_desired_state_reaches_every_deployment_that_can_store_it_and_stays_unfinished(agent, state):
    state.deployments.mkdir()
    (state.deployments / "gas-broken").write_text("no folder")
    agent = agent()
    agent._act_on(wants("gas-broken", "gas-sound"))
    assert states(agent) == {"gas-sound": UpdateState.FETCHING}
    assert agent._downlink.desired == (0, 0)
    (state.deployments / "gas-broken").unlink()
    agent._carry_out()
    assert states(agent) == {"gas-broken": UpdateState.FETCHING, "gas-sound": UpdateState.FETCHING}
    assert agent._downlink.desired == (1, 1)


def test_damaged_fleet_keys_count_as_none(agent, state):
    state.fleet_keys.parent.mkdir(parents=True)
    state.fleet_keys.write_bytes(b"\xff{")
    assert agent()._keys.accepted.publics == {}
