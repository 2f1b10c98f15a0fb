"""Files of the state folder that are not what they should be: set aside, counted, and the agent goes on."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from device_agent.agent import Agent, Ending
from device_agent.config import Deployment, Replay, write_deployment
from device_agent.control import ask
from device_agent.holds import Holds, write_holds
from device_agent.store.slots import Slots
from device_agent.store.state import DeploymentStore
from edgeops.digest import digest_bytes
from edgeops.errors import MessageError
from edgeops.protocol.messages import UpdateState
from edgeops.update.leave import Hold
from edgeops.update.update import Update, Wanted
from tests.golden.tiny import tiny_artifact
from tests.unit.bad_sectors import BadDatabases, overwrite, put_on_bad_sectors
from tests.unit.lone_agent import DEADLINE_S, DEVICE, end, enrolled

MODEL = tiny_artifact()
INCUMBENT = digest_bytes(MODEL)
GARBAGE = b"\x00\xff{"
#: Name in the state folder -> the counter that the server sees.
FILES = {
    "boot": "boot.damaged",
    "clock.json": "clock.damaged",
    "marks.json": "marks.damaged",
    "starts.json": "starts.damaged",
    "holds.json": "holds.damaged",
    "labels.json": "labels.damaged",
    "spool.db": "spool.corrupt",
    "trust/fleet_keys.json": "fleet-keys.damaged",
    "trust/ca.json": "authorities.damaged",
    "deployments/gas-one/update.json": "slot.damaged",
    "deployments/gas-one/pointer.json": "slot.damaged",
    "deployments/gas-one/bake.json": "slot.damaged",
    "deployments/gas-one/config.json": "config.damaged",
}


@pytest.fixture
def state(tmp_path):
    return enrolled(tmp_path)


@pytest.fixture
def start(state):
    agents = []

    def make() -> Agent:
        agents.append(Agent(state, DEVICE))
        agents[-1]._deployments.start()
        return agents[-1]

    def end_all() -> None:
        for agent in agents:
            end(agent)
        agents.clear()

    make.end = end_all
    yield make
    end_all()


@pytest.mark.parametrize(("name", "counter"), FILES.items())
def test_a_damaged_file_is_set_aside_and_counted_and_the_agent_goes_on(state, start, name, counter):
    write_deployment(state, "gas-one", Deployment())
    file = state.path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    # SQLite takes a short file for an empty one.
    file.write_bytes(GARBAGE * 1000)
    agent = start()
    [(_, deployed)] = agent._deployments
    deployed.feed.stop(DEADLINE_S)
    assert agent._all_counters()[counter] == 1
    assert file.with_name(f"{file.name}.corrupt").read_bytes() == GARBAGE * 1000


def commit(state, name):
    """A deployment at work: its model answers, and nothing is owed."""
    folder = state.deployment(name)
    wanted = Wanted(epoch=1, revision=1, target="models/a/1-int8.json", digest=INCUMBENT, installation="inst-1")
    slots = Slots(folder)
    (folder / "part").write_bytes(MODEL)
    slots.stage(INCUMBENT, folder / "part", descriptor=b"{}")
    slots.commit(INCUMBENT)
    DeploymentStore(folder).save(Update(state=UpdateState.COMMITTED, wanted=wanted, mark=(1, 1)))


@pytest.mark.parametrize(("name", "counter"), FILES.items())
def test_a_file_on_a_bad_sector_is_set_aside_and_counted_and_the_incumbent_answers(
    state, start, monkeypatch, name, counter
):
    commit(state, "gas-one")
    databases = BadDatabases(monkeypatch)
    file = state.path / name
    file.parent.mkdir(exist_ok=True)
    if file == state.spool:
        start()
        start.end()
        databases.add(file)
    else:
        put_on_bad_sectors(file)
    agent = start()
    [(_, deployed)] = agent._deployments
    deployed.feed.stop(DEADLINE_S)
    assert deployed.updates.running().active.digest == INCUMBENT
    assert agent._has_disk, "so it talks to its server"
    assert agent._all_counters()[counter] == 1
    assert file.with_name(f"{file.name}.corrupt").exists()


def test_holds_on_a_bad_sector_hold_everything(state, start):
    write_holds(state, Holds(deployments={"another": Hold()}))
    commit(state, "gas-one")
    put_on_bad_sectors(state.holds)
    [told] = start()._deployments.states()
    assert "damaged" in told.hold


def test_a_card_that_gives_nothing_at_all_is_no_damage_and_the_spool_waits_for_it(state, start, monkeypatch):
    commit(state, "gas-one")
    before = start()._spool.id
    start.end()
    databases = BadDatabases(monkeypatch)
    databases.all = True
    agent = start()
    [told] = agent._deployments.states()
    assert (told.active, agent._has_disk) == (INCUMBENT, False)
    databases.all = False
    start.end()
    assert start()._spool.id == before


def test_of_a_file_that_is_damaged_again_and_again_one_is_kept(state, start):
    for _ in range(3):
        state.marks.write_bytes(GARBAGE)
        start()
        start.end()
    assert [path.name for path in state.path.glob("marks.json*")] == ["marks.json.corrupt"]


def test_a_spool_that_is_damaged_is_followed_by_one_with_another_id(state, start):
    before = start()._spool.id
    start.end()
    state.spool.write_bytes(GARBAGE * 1000)
    assert start()._spool.id != before


@pytest.fixture
def running(state):
    """An agent at work in a thread of its own, and what it ends with."""
    agent = Agent(state, DEVICE)
    with ThreadPoolExecutor(1) as pool:
        yield agent, pool.submit(agent.run)
        agent.stop()


def test_an_owner_who_asks_is_told_of_a_damaged_spool_and_the_agent_ends_to_begin_again(state, running):
    _, ended = running
    overwrite(state.spool)
    with pytest.raises(MessageError, match=r"spool\.db is damaged: .*; the agent begins again with a new one"):
        ask(state.socket, {"do": "status"})
    assert ended.result(DEADLINE_S) is Ending.SPOOL_IS_DAMAGED
    assert state.spool.with_name("spool.db.corrupt").exists()


def test_an_agent_that_is_stopped_while_it_ends_does_not_begin_again(state, running):
    agent, ended = running
    agent._begin_again(Ending.SPOOL_IS_DAMAGED)
    agent.stop()
    assert ended.result(DEADLINE_S) is Ending.STOPPED


def test_an_owner_whose_configuration_is_lost_has_not_allowed_samples(state, start):
    write_deployment(state, "gas-one", Deployment(samples=False))
    state.configuration("gas-one").write_bytes(GARBAGE)
    agent = start()
    for _ in range(2):
        assert agent._deployments._configuration("gas-one") == Deployment(samples=False)
    start.end()
    assert start()._deployments._configuration("gas-one") == Deployment(samples=False)


def test_a_configuration_that_is_damaged_while_the_agent_runs_changes_nothing(state, start):
    order = Replay(file="/nowhere.csv", run="a")
    write_deployment(state, "gas-one", Deployment(source=order))
    agent = start()
    assert agent._deployments._configuration("gas-one").source == order
    state.configuration("gas-one").write_bytes(GARBAGE)
    for _ in range(2):
        assert agent._deployments._configuration("gas-one").source == order
