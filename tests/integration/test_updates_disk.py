"""What a deployment does when its disk has no room, or takes nothing."""

import msgspec
import pytest

from device_agent.facts import device_facts
from device_agent.probe import ProbeVerdict
from edgeops import limits
from edgeops.errors import DiskError
from edgeops.protocol.messages import Reason, UpdateState
from tests.golden.tiny import tiny_artifact
from tests.integration.updates_rig import DEPLOYMENT, Device, Server

pytestmark = [pytest.mark.slow, pytest.mark.processes]


def passes(_path, _set) -> ProbeVerdict:
    return ProbeVerdict(reason=Reason.NONE, detail="")


class Disk:
    """Has as much room as a test says, and takes no state while it is `stuck`."""

    def __init__(self, folder) -> None:
        self.free_bytes = 2**30
        self._file = folder / "device" / "deployments" / DEPLOYMENT / "update.json"
        self._kept = self._file.with_name("kept.json")

    def facts(self, folder):
        return msgspec.structs.replace(device_facts(folder), disk_free_bytes=self.free_bytes)

    def stick(self) -> None:
        """A folder in the place of a file cannot be replaced by one, not even by root."""
        self._file.replace(self._kept)
        self._file.mkdir()

    def loosen(self) -> None:
        self._file.rmdir()
        self._kept.replace(self._file)


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path)


@pytest.fixture
def device(tmp_path, server, disk):
    made = Device(tmp_path, server, probe=passes, facts=disk.facts)
    yield made
    made.close()


@pytest.fixture
def versions(server):
    return [server.publish(tiny_artifact(version=version)) for version in (1, 2, 3, 4)]


def install(device, descriptor, revision):
    device.desire(descriptor, revision=revision, installation=f"inst-{revision}")
    device.run()
    device.infer()
    device.acknowledge()
    assert device.active == descriptor.digest


def standing(device):
    state = device.updates.state()
    return state.state, state.reason


def test_a_model_without_room_fails_before_a_block_is_fetched(device, server, disk, versions):
    install(device, versions[0], 1)
    device.acknowledge()
    server.sent_blocks.clear()
    disk.free_bytes = limits.DISK_RESERVE_BYTES + versions[1].size_bytes - 1
    device.desire(versions[1], revision=2, installation="inst-2")
    device.run()
    assert standing(device) == (UpdateState.FAILED, Reason.DISK)
    assert not server.sent_blocks
    assert device.active == versions[0].digest
    assert [report.reason for report in device.reports()] == [Reason.DISK]


def test_slots_that_nobody_needs_make_room_and_active_and_previous_stay(device, server, disk, versions):
    for revision, descriptor in enumerate(versions[:3], start=1):
        install(device, descriptor, revision)
    slots = device.folder / "deployments" / DEPLOYMENT / "slots"
    assert len(list(slots.iterdir())) == 3
    disk.free_bytes = 0
    device.desire(versions[3], revision=4, installation="inst-4")
    device.run()
    assert standing(device) == (UpdateState.FAILED, Reason.DISK)
    assert {f"sha256:{slot.name}" for slot in slots.iterdir()} == {versions[1].digest, versions[2].digest}


def test_a_desired_state_that_cannot_be_stored_is_refused_and_the_server_sees_why(device, disk, versions):
    install(device, versions[0], 1)
    disk.stick()
    with pytest.raises(DiskError, match="check disk space"):
        device.desire(versions[1], revision=2, installation="inst-2")
    assert standing(device) == (UpdateState.COMMITTED, Reason.DISK)
    disk.loosen()
    install(device, versions[1], 2)
    assert standing(device) == (UpdateState.COMMITTED, Reason.NONE)


def test_what_is_decided_and_cannot_be_written_down_takes_effect_when_it_can(device, disk, versions):
    install(device, versions[0], 1)
    device.desire(versions[1], revision=2, installation="inst-2")
    device.run_until(UpdateState.PROBING)
    disk.stick()
    device.run()
    assert standing(device) == (UpdateState.PROBING, Reason.DISK)
    disk.loosen()
    device.later(limits.RETRY_MIN.total_seconds())
    assert standing(device) == (UpdateState.TRIAL, Reason.NONE)


def test_a_candidate_whose_end_cannot_be_written_down_answers_no_more(device, disk, versions):
    install(device, versions[0], 1)
    device.desire(versions[1], revision=2, installation="inst-2")
    device.run()
    disk.stick()
    device.infer(1, ok=False)
    running = device.updates.running()
    assert (running.active.digest, running.candidate) == (versions[0].digest, None)
    assert standing(device) == (UpdateState.TRIAL, Reason.DISK)
    disk.loosen()
    device.later(limits.RETRY_MIN.total_seconds())
    assert standing(device) == (UpdateState.ROLLED_BACK, Reason.INFERENCE)


def test_a_trial_that_the_disk_takes_no_note_of_is_inconclusive_at_last(device, disk, versions):
    install(device, versions[0], 1)
    device.desire(versions[1], revision=2, installation="inst-2")
    device.run()
    disk.stick()
    device.infer()
    assert device.updates.running().candidate is not None
    device.later(limits.TRIAL_TIMEOUT.total_seconds())
    assert device.updates.running().candidate is None
    disk.loosen()
    device.later(limits.RETRY_MIN.total_seconds())
    assert standing(device) == (UpdateState.ROLLED_BACK, Reason.INCONCLUSIVE)
    assert "disk" in device.reports()[-1].detail


def test_without_a_disk_what_is_active_answers_and_nothing_is_decided(tmp_path, server, device, versions):
    install(device, versions[0], 1)
    device.desire(versions[1], revision=2, installation="inst-2")
    device.run()
    device.close()
    before = device.folder.joinpath("deployments", DEPLOYMENT, "update.json").read_bytes()
    again = Device(tmp_path, server, probe=passes, has_disk=False)
    running = again.updates.running()
    assert (running.active.digest, running.candidate) == (versions[0].digest, None)
    again.infer()
    again.later(limits.TRIAL_TIMEOUT.total_seconds())
    assert standing(again) == (UpdateState.TRIAL, Reason.DISK)
    assert again.folder.joinpath("deployments", DEPLOYMENT, "update.json").read_bytes() == before
    again.close()
