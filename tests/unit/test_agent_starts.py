"""Starts of an agent that end within moments: on disk before a model answers, and what falls when they are too many."""

import msgspec
import pytest

from device_agent.agent import Agent
from device_agent.starts import Starts
from device_agent.store.slots import Pointer, Slots
from device_agent.store.state import DeploymentStore
from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.protocol.messages import Ack, Desired, DesiredDeployment, Evidence, Reason, UpdateState
from edgeops.update.streak import Standing, Streak
from edgeops.update.update import Shown, Update, Wanted
from tests.golden.tiny import tiny_artifact
from tests.unit.lone_agent import DEVICE, end, enrolled

MODELS = {digest_bytes(model): model for model in (tiny_artifact(version=number) for number in (1, 2))}
OLD, NEW = MODELS
TARGET = "models/a/1-int8.json"
GAS = {"gas": Standing(active=NEW, tries=False, asked=(1, 2))}
LASTS_S = limits.BAKE_NOTED_AFTER.total_seconds()


def on_disk(path) -> Streak | None:
    file = path / "starts.json"
    return msgspec.json.decode(file.read_bytes(), type=Streak) if file.exists() else None


# -- one start ------------------------------------------------------------------------------------


def start(folder, *, standings=GAS, power_on="p") -> Starts:
    starts = Starts(folder / "starts.json", power_on=power_on, now_s=0.0)
    starts.count(standings)
    return starts


def test_a_start_is_on_disk_until_it_has_lasted(tmp_path):
    starts = start(tmp_path)
    assert on_disk(tmp_path) == Streak(active={"gas": NEW}, power_on="p")
    starts.tick(LASTS_S - 0.1, {"feed-gas": 1})
    starts.tick(LASTS_S, {"feed-gas": 2})
    assert on_disk(tmp_path) is not None
    starts.tick(LASTS_S + 0.1, {"feed-gas": 3})
    assert on_disk(tmp_path) is None


def test_a_start_that_ends_in_order_is_forgotten(tmp_path):
    start(tmp_path)
    start(tmp_path).prove()
    assert on_disk(tmp_path) is None


def test_an_inference_that_hangs_does_not_last_however_long_it_takes(tmp_path):
    starts = start(tmp_path)
    for second in range(600):
        starts.tick(float(second), {"feed-gas": 1, "feed-pump": second})
    assert on_disk(tmp_path) is not None
    starts.tick(600.0, {"feed-gas": 2, "feed-pump": 600})
    assert on_disk(tmp_path) is None


def test_a_deployment_that_was_forgotten_meanwhile_holds_no_start_up(tmp_path):
    starts = start(tmp_path)
    starts.tick(LASTS_S, {"feed-gas": 1, "feed-pump": 1})
    starts.tick(LASTS_S + 1, {"feed-gas": 2})
    assert on_disk(tmp_path) is None


def test_the_server_is_written_down_only_in_the_midst_of_a_row(tmp_path):
    start(tmp_path).heard()
    assert on_disk(tmp_path).deaf == 1
    start(tmp_path).heard()
    assert (on_disk(tmp_path).starts, on_disk(tmp_path).deaf) == (2, 0)


def test_a_start_costs_the_disk_one_write_however_often_time_passes_and_the_server_speaks(tmp_path):
    starts = start(tmp_path)
    before = (tmp_path / "starts.json").stat().st_ino
    for second in range(int(LASTS_S)):
        starts.tick(float(second), {"feed-gas": second})
        starts.heard()
    assert (tmp_path / "starts.json").stat().st_ino == before


def test_a_start_in_mid_trial_is_not_counted_and_one_that_lasts_there_proves_the_rest(tmp_path):
    trial = {**GAS, "pump": Standing(active=None, tries=True, asked=(0, 0))}
    for _ in range(3):
        start(tmp_path)
    starts = start(tmp_path, standings=trial)
    assert (on_disk(tmp_path).starts, starts.falls(trial)) == (3, None)
    starts.prove()
    assert on_disk(tmp_path) is None


def test_a_disk_that_takes_nothing_holds_up_no_start_and_counts_none(tmp_path):
    start(tmp_path / "gone").tick(LASTS_S, {})
    assert not (tmp_path / "gone").exists()


def test_so_many_starts_and_the_deployment_is_named_that_falls(tmp_path):
    for _ in range(limits.ACTIVE_STARTS):
        starts = Starts(tmp_path / "starts.json", power_on="p", now_s=0.0)
        assert starts.falls(GAS) is None
        starts.count(GAS)
    assert Starts(tmp_path / "starts.json", power_on="p", now_s=0.0).falls(GAS) == "gas"


def test_a_damaged_file_is_set_aside_and_the_row_begins_anew(tmp_path):
    (tmp_path / "starts.json").write_bytes(b"\x00garbage")
    starts = start(tmp_path)
    assert (starts.damaged, on_disk(tmp_path).starts) == (1, 1)
    assert (tmp_path / "starts.json.corrupt").exists()


# -- a device -------------------------------------------------------------------------------------


class Mortal:
    """A device whose agents die without a word."""

    def __init__(self, folder):
        self.state = enrolled(folder)
        self.agent = None

    def commit(self, name, *, revision, old=OLD, new=NEW):
        """A deployment that committed `new` after `old`."""
        folder = self.state.deployment(name)
        wanted = Wanted(epoch=1, revision=revision, target=TARGET, digest=new, installation=f"inst-{name}")
        shown = Shown(digest=new, evidence=Evidence(inferences=5, errors=0), asked=(1, revision))
        DeploymentStore(folder).save(
            Update(state=UpdateState.COMMITTED, wanted=wanted, mark=(1, revision), shown=shown)
        )
        slots = Slots(folder)
        for digest in filter(None, (old, new)):
            (folder / "part").write_bytes(MODELS[digest])
            slots.stage(digest, folder / "part", descriptor=b"{}")
            slots.commit(digest)

    def boot(self):
        """The last agent died, and another one starts."""
        self.die()
        self.agent = Agent(self.state, DEVICE)
        self.agent._deployments.start()

    def die(self):
        if self.agent is None:
            return
        left = on_disk(self.state.path)
        end(self.agent)
        self.agent = None
        if left is not None:
            self.state.starts.write_bytes(msgspec.json.encode(left))

    def boots(self, count):
        for _ in range(count):
            self.boot()

    def told(self, name="gas"):
        return next(one for one in self.agent._deployments.states() if one.deployment == name)


@pytest.fixture
def device(tmp_path):
    device = Mortal(tmp_path)
    yield device
    device.die()


def test_a_model_that_takes_the_agent_down_gives_way_to_the_one_before_and_then_to_none(device):
    device.commit("gas", revision=2)
    device.boots(limits.ACTIVE_STARTS)
    assert (device.told().active, device.told().instead_of) == (NEW, None)
    device.boot()
    told = device.told()
    assert (told.active, told.instead_of, told.fallen) == (OLD, NEW, True)
    assert (told.state, told.reason) == (UpdateState.ROLLED_BACK, Reason.CRASHES)
    assert Slots(device.state.deployment("gas")).pointer == Pointer(active=OLD)
    device.boots(limits.ACTIVE_STARTS - 1)
    assert device.told().active == OLD
    device.boot()
    assert (device.told().active, device.told().instead_of, device.told().fallen) == (None, NEW, True)
    device.boots(2 * limits.ACTIVE_STARTS)
    assert device.told().active is None, "it never turns back"
    assert (on_disk(device.state.path) or Streak(active={}, power_on="")).starts <= limits.ACTIVE_STARTS + 1


def test_what_the_server_repeats_does_not_bring_it_back_and_another_installation_begins(device):
    device.commit("gas", revision=2)
    device.boots(limits.ACTIVE_STARTS + 1)

    def desire(revision, installation):
        part = DesiredDeployment(deployment="gas", target=TARGET, digest=NEW, installation=installation)
        device.agent._act_on(Desired(epoch=1, revision=revision, deployments=(part,)))
        return device.told().state

    assert desire(3, "inst-gas") is UpdateState.ROLLED_BACK
    assert desire(4, "inst-other") is UpdateState.FETCHING


def test_of_several_deployments_the_model_that_was_asked_for_last_falls_first(device):
    device.commit("gas", revision=5)
    device.commit("pump", revision=4)
    device.boots(limits.ACTIVE_STARTS + 1)
    assert [device.told(name).active for name in ("gas", "pump")] == [OLD, NEW]
    device.boots(limits.ACTIVE_STARTS)
    assert [device.told(name).active for name in ("gas", "pump")] == [OLD, OLD]


def test_an_agent_that_hears_its_server_is_given_more_starts(device):
    device.commit("gas", revision=2)
    for _ in range(2 * limits.ACTIVE_STARTS):
        device.boot()
        device.agent._act_on(Ack(spools=()))
    assert device.told().active == NEW


def test_agents_that_end_in_order_are_no_row(device):
    device.commit("gas", revision=2)
    for _ in range(2 * limits.ACTIVE_STARTS):
        device.boot()
        end(device.agent)
        device.agent = None
        assert on_disk(device.state.path) is None
    device.boot()
    assert device.told().active == NEW


def test_what_fell_stays_so_although_the_pointer_was_not_written_or_is_damaged(device):
    device.commit("gas", revision=2)
    device.boots(limits.ACTIVE_STARTS + 1)
    device.die()
    pointer = device.state.deployment("gas") / "pointer.json"
    pointer.write_bytes(msgspec.json.encode(Pointer(active=NEW, previous=OLD)))
    device.boot()
    assert device.told().active == OLD
    device.die()
    pointer.write_bytes(b"\x00garbage")
    device.boot()
    assert device.told().active is None
