"""A deployment installs what TUF lists, and nothing else."""

from pathlib import Path

import msgspec
import pytest

from device_agent.facts import device_facts
from device_agent.probe import ProbeVerdict
from edgeops import limits
from edgeops.artifact.blockplan import BlockMap
from edgeops.artifact.manifest import encode_value, target_path
from edgeops.artifact.package import Artifact, open_artifact, package, tflite_part
from edgeops.model.golden import _Golden
from edgeops.protocol.messages import DeviceFacts, Reason, UpdateState
from tests.golden.tiny import tiny_artifact
from tests.integration.updates_rig import DEPLOYMENT, NOW, Device, Server


@pytest.fixture(scope="module")
def artifacts():
    return [tiny_artifact(version=version) for version in (1, 2)]


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


@pytest.fixture
def device(tmp_path, server):
    device = Device(tmp_path, server)
    yield device
    device.close()


def passes(_path, _set) -> ProbeVerdict:
    """Where the probe is not what a test is about."""
    return ProbeVerdict(reason=Reason.NONE, detail="")


def installed(device, descriptor, *, revision=1, installation="inst-1"):
    device.desire(descriptor, revision=revision, installation=installation)
    device.run()
    device.infer()
    device.acknowledge()
    device.run()
    assert device.state is UpdateState.COMMITTED
    return device


def outcome(device):
    state = device.updates.state()
    return state.state, state.reason


def test_a_listed_model_runs_after_its_trial_and_the_servers_ack(device, server, artifacts):
    descriptor = server.publish(artifacts[0])
    device.desire(descriptor, revision=1)
    assert device.updates.state().candidate == descriptor.digest
    device.run()
    running = device.updates.running()
    assert running.active is None
    assert running.candidate.path.read_bytes() == artifacts[0]
    device.infer(4)
    assert device.reports() == []
    device.infer(1)
    [evidence] = device.reports()
    assert (evidence.state, evidence.evidence.inferences) == (UpdateState.TRIAL, 5)
    assert device.active is None
    device.acknowledge()
    assert device.active == descriptor.digest
    assert device.updates.running().candidate is None
    [final] = device.reports()
    assert (final.state, final.installation, final.reason) == (UpdateState.COMMITTED, "inst-1", Reason.NONE)
    assert not server.subscribed
    assert device.changes > 0


def test_a_fetch_by_a_slow_line_is_seen_to_turn_however_long_it_takes(device, server, artifacts):
    seen = []

    def at_the_fourth_time(_index, data):
        seen.append(device.turns)
        return data if len(seen) > 3 else None

    server.on_the_way = at_the_fourth_time
    device.desire(server.publish(artifacts[0]), revision=1)
    device.run_until(UpdateState.VERIFYING)
    assert len(seen) >= 4
    assert seen == sorted(set(seen))
    assert seen[0] > 0


def test_a_second_model_keeps_the_first_as_previous(device, server, artifacts):
    first, second = (server.publish(artifact) for artifact in artifacts)
    installed(device, first)
    installed(device, second, revision=2, installation="inst-2")
    state = device.updates.state()
    assert (state.active, state.previous) == (second.digest, first.digest)


def test_trouble_of_this_machine_refuses_nothing_and_is_counted(device, server, artifacts):
    root = device.folder / "trust" / "root.json"
    root.write_bytes(b"\x00{")
    device.desire(server.publish(artifacts[0]), revision=1)
    device.run()
    assert outcome(device) == (UpdateState.FETCHING, Reason.NONE)
    assert device.trust.failures == 1
    root.unlink()
    device.settle()
    assert device.state is UpdateState.TRIAL
    assert device.trust.failures == 1


def test_a_digest_that_is_not_listed_is_rejected(device, server, artifacts):
    listed = server.publish(artifacts[0])
    device.desire(listed, digest="sha256:" + "a" * 64, revision=1)
    device.run()
    assert outcome(device) == (UpdateState.REJECTED, Reason.NOT_LISTED)
    [report] = device.reports()
    assert report.reason is Reason.NOT_LISTED
    assert not server.sent_blocks


def test_a_withdrawn_target_is_rejected(device, server, artifacts):
    descriptor = server.publish(artifacts[0])
    server.withdraw(descriptor)
    device.desire(descriptor, revision=1)
    device.run()
    assert outcome(device) == (UpdateState.REJECTED, Reason.NOT_LISTED)


def test_a_model_withdrawn_between_staging_and_trial_refuses_activation(device, server, artifacts):
    descriptor = server.publish(artifacts[0])
    device.desire(descriptor, revision=1)
    device.run_until(UpdateState.STAGED)
    server.withdraw(descriptor)
    device.run()
    assert outcome(device) == (UpdateState.REJECTED, Reason.WITHDRAWN)
    assert device.updates.running().candidate is None
    assert [report.state for report in device.reports()] == [UpdateState.REJECTED]


def test_without_contact_the_question_waits_and_is_asked_again(device, server, artifacts):
    descriptor = server.publish(artifacts[0])
    server.connected = False
    device.desire(descriptor, revision=1)
    device.run()
    assert device.state is UpdateState.FETCHING
    server.connected = True
    device.updates.contact()
    device.later(0)
    assert device.state is UpdateState.TRIAL


def test_a_corrupted_block_is_noticed_and_asked_for_again(device, server, artifacts):
    descriptor = server.publish(artifacts[0])
    spoilt = []

    def once(index, data):
        if index in spoilt:
            return data
        spoilt.append(index)
        return bytes(len(data))

    server.on_the_way = once
    device.desire(descriptor, revision=1)
    device.run()
    assert device.state is UpdateState.TRIAL
    assert spoilt


def test_blocks_that_never_come_end_as_failed_after_all_attempts(device, server, artifacts):
    descriptor = server.publish(artifacts[0])
    server.on_the_way = lambda _index, _data: None
    device.updates._steps._around.blocks._monotonic = _leaps()
    device.desire(descriptor, revision=1)
    device.run()
    for _ in range(limits.FETCH_ATTEMPTS):
        device.later(limits.UPDATE_RETRY_AFTER.total_seconds())
    assert outcome(device) == (UpdateState.FAILED, Reason.FETCH)


def _leaps():
    """A clock that is past every deadline at the next look."""
    now = 0.0

    def monotonic():
        nonlocal now
        now += limits.FETCH_TIMEOUT.total_seconds()
        return now

    return monotonic


def test_a_download_goes_on_where_the_last_one_ended(tmp_path, server, artifacts):
    tiny = opened(tmp_path, artifacts[0])
    long_card = package(
        tflite_part(artifacts[0]), tiny.manifest, reference=tiny.reference, golden=tiny.golden, card="card " * 80_000
    )
    descriptor = server.publish(long_card)
    device = Device(tmp_path, server, probe=passes)
    count = -(-descriptor.size_bytes // limits.BLOCK_BYTES)
    assert count > limits.BLOCK_WINDOW
    server.on_the_way = lambda index, data: data if index < limits.BLOCK_WINDOW else None
    device.updates._steps._around.blocks._monotonic = _slow_then_leaps(3 * limits.BLOCK_WINDOW)
    device.desire(descriptor, revision=1)
    device.run()
    assert device.state is UpdateState.FETCHING
    device.close()
    [saved] = (device.folder / "deployments" / "gas" / "fetch").glob("*.map")
    kept = BlockMap.from_bytes(saved.read_bytes()).received
    assert 0 < kept <= limits.BLOCK_WINDOW
    server.on_the_way = lambda _index, data: data
    server.sent_blocks.clear()
    device = Device(tmp_path, server, probe=passes)
    device.run()
    assert device.state is UpdateState.TRIAL
    assert set(server.sent_blocks) == set(range(kept, count))
    device.close()


def opened(folder: Path, artifact: bytes) -> Artifact:
    path = folder / "opened.tflite"
    path.write_bytes(artifact)
    return open_artifact(path)


def _slow_then_leaps(looks: int):
    now, seen = 0.0, 0

    def monotonic():
        nonlocal now, seen
        seen += 1
        now += 0.001 if seen < looks else limits.FETCH_TIMEOUT.total_seconds()
        return now

    return monotonic


def test_an_incompatible_model_is_rejected_before_a_block_is_fetched(device, server, artifacts):
    descriptor = server.publish(artifacts[0])
    too_big = msgspec.structs.replace(descriptor, memory_bytes=2**50)
    server.repository.publish({target_path(descriptor.manifest): encode_value(too_big)}, NOW)
    device.desire(descriptor, revision=1)
    device.run()
    assert outcome(device) == (UpdateState.REJECTED, Reason.INCOMPATIBLE)
    assert not server.sent_blocks


def test_what_is_on_disk_of_a_download_needs_no_room_again(tmp_path, server, artifacts):
    tiny = opened(tmp_path, artifacts[0])
    large = package(
        tflite_part(artifacts[0]), tiny.manifest, reference=tiny.reference, golden=tiny.golden, card="card " * 200_000
    )
    descriptor = server.publish(large)

    def tight(folder: Path) -> DeviceFacts:
        """Room for the model once, and nothing more."""
        used = sum(file.stat().st_blocks * 512 for file in folder.glob("deployments/*/fetch/*.part"))
        free = limits.DISK_RESERVE_BYTES + len(large) + 65536 - used
        return msgspec.structs.replace(device_facts(folder), disk_free_bytes=free)

    def breaks(index: int, data: bytes) -> bytes | None:
        server.connected = index < 20
        return data if server.connected else None

    device = Device(tmp_path, server, probe=passes, facts=tight)
    server.on_the_way = breaks
    device.desire(descriptor, revision=1)
    device.run()
    assert device.state is UpdateState.FETCHING
    server.connected, server.on_the_way = True, lambda _index, data: data
    device.later(limits.UPDATE_RETRY_AFTER.total_seconds())
    assert device.state is UpdateState.TRIAL
    device.close()


def test_models_that_never_ran_do_not_pile_up(tmp_path, server):
    def fails(_path, _set) -> ProbeVerdict:
        return ProbeVerdict(reason=Reason.PROBE, detail="too slow")

    device = Device(tmp_path, server, probe=fails)
    for version in range(1, 6):
        device.desire(server.publish(tiny_artifact(version=version)), revision=version, installation=f"inst-{version}")
        device.run()
        assert outcome(device) == (UpdateState.FAILED, Reason.PROBE)
    slots = list((device.folder / "deployments" / DEPLOYMENT / "slots").iterdir())
    assert len(slots) <= 1 + limits.MAX_IDLE_SLOTS
    device.close()


def test_a_model_that_answers_wrongly_fails_its_golden_vectors(tmp_path, device, server, artifacts):
    tiny = opened(tmp_path, artifacts[0])
    golden = msgspec.msgpack.decode(tiny.golden, type=_Golden)
    wrong = msgspec.structs.replace(golden, outputs=tuple(output[::-1] for output in golden.outputs))
    artifact = package(
        tflite_part(artifacts[0]),
        tiny.manifest,
        reference=tiny.reference,
        golden=msgspec.msgpack.encode(wrong),
        card=tiny.card,
    )
    device.desire(server.publish(artifact), revision=1)
    device.run()
    assert outcome(device) == (UpdateState.FAILED, Reason.GOLDEN)


def test_an_error_in_trial_rolls_back_to_what_ran(tmp_path, server, artifacts):
    first, second = (server.publish(artifact) for artifact in artifacts)
    device = installed(Device(tmp_path, server, probe=passes), first)
    device.desire(second, revision=2, installation="inst-2")
    device.run()
    device.infer(2)
    device.infer(1, ok=False)
    assert outcome(device) == (UpdateState.ROLLED_BACK, Reason.INFERENCE)
    assert (device.active, device.updates.running().candidate) == (first.digest, None)
    assert "it broke" in device.reports()[-1].detail
    device.close()


def test_a_trial_without_input_is_inconclusive(tmp_path, server, artifacts):
    device = Device(tmp_path, server, probe=passes)
    device.desire(server.publish(artifacts[0]), revision=1)
    device.run()
    device.later(limits.TRIAL_TIMEOUT.total_seconds())
    assert outcome(device) == (UpdateState.ROLLED_BACK, Reason.INCONCLUSIVE)
    device.close()


def test_what_a_trial_saw_is_on_disk_before_its_inputs_are_over(tmp_path, server, artifacts):
    device = Device(tmp_path, server, probe=passes)
    device.desire(server.publish(artifacts[0]), revision=1)
    device.run()
    for _ in range(5):
        device.updates.trial_inference(ok=True, latency_us=12)
    device.updates.settle()
    device.close()
    again = Device(tmp_path, server, probe=passes)
    again.acknowledge()
    assert outcome(again) == (UpdateState.COMMITTED, Reason.NONE)
    again.close()


def test_a_trial_without_the_servers_ack_is_inconclusive_and_never_commits(tmp_path, server, artifacts):
    device = Device(tmp_path, server, probe=passes)
    device.desire(server.publish(artifacts[0]), revision=1)
    device.run()
    device.infer()
    device.updates.acknowledged()
    assert device.active is None
    device.later(limits.TRIAL_TIMEOUT.total_seconds())
    assert outcome(device) == (UpdateState.ROLLED_BACK, Reason.INCONCLUSIVE)
    assert "contact" in device.reports()[-1].detail
    device.close()


def test_a_trial_without_the_servers_ack_ends_although_inputs_keep_coming(tmp_path, server, artifacts):
    device = Device(tmp_path, server, probe=passes)
    device.desire(server.publish(artifacts[0]), revision=1)
    device.run()
    device.infer()
    for _ in range(11):
        device.infer(1)
        device.later(limits.TRIAL_TIMEOUT.total_seconds() / 10)
    assert outcome(device) == (UpdateState.ROLLED_BACK, Reason.INCONCLUSIVE)
    device.close()


def test_a_model_that_takes_the_agent_down_is_rolled_back_after_a_few_starts(tmp_path, server, artifacts):
    device = Device(tmp_path, server, probe=passes)
    device.desire(server.publish(artifacts[0]), revision=1)
    device.run()
    for _ in range(limits.TRIAL_BOOTS):
        device.close()
        device = Device(tmp_path, server, probe=passes)
        assert device.state is UpdateState.TRIAL
    device.close()
    device = Device(tmp_path, server, probe=passes)
    assert outcome(device) == (UpdateState.ROLLED_BACK, Reason.TRIAL_BOOTS)
    device.close()


def test_a_newer_desired_model_supersedes_even_a_trial(tmp_path, server, artifacts):
    first, second = (server.publish(artifact) for artifact in artifacts)
    device = Device(tmp_path, server, probe=passes)
    device.desire(first, revision=1)
    device.run()
    device.infer(2)
    device.desire(second, revision=2, installation="inst-2")
    assert [(r.installation, r.state, r.reason) for r in device.reports()] == [
        ("inst-1", UpdateState.SUPERSEDED, Reason.NEWER)
    ]
    device.run()
    assert device.updates.running().candidate.digest == second.digest
    device.close()


def test_the_active_model_desired_again_is_reported_without_installing(tmp_path, server, artifacts):
    descriptor = server.publish(artifacts[0])
    device = installed(Device(tmp_path, server, probe=passes), descriptor)
    device.acknowledge()
    device.desire(descriptor, revision=2, installation="inst-2")
    assert not device.waiting
    [report] = device.reports()
    assert (report.installation, report.state, report.detail) == ("inst-2", UpdateState.COMMITTED, "already active")
    device.close()


def test_a_revision_that_concerns_another_deployment_changes_nothing(tmp_path, server, artifacts):
    descriptor = server.publish(artifacts[0])
    device = Device(tmp_path, server, probe=passes)
    device.desire(descriptor, revision=1)
    device.run()
    device.desire(descriptor, revision=2)
    assert device.state is UpdateState.TRIAL
    assert device.updates.mark == (1, 2)
    device.close()


def test_nothing_desired_means_that_nothing_runs(tmp_path, server, artifacts):
    descriptor = server.publish(artifacts[0])
    device = installed(Device(tmp_path, server, probe=passes), descriptor)
    device.desire(None, revision=2)
    assert device.active is None
    assert device.updates.state().previous == descriptor.digest
    device.close()


def test_a_damaged_active_model_is_replaced_by_the_previous_and_fetched_again(tmp_path, server, artifacts):
    first, second = (server.publish(artifact) for artifact in artifacts)
    device = installed(Device(tmp_path, server, probe=passes), first)
    installed(device, second, revision=2, installation="inst-2")
    path = device.updates.running().active.path
    device.close()
    path.write_bytes(path.read_bytes()[:-1])
    device = Device(tmp_path, server, probe=passes)
    assert (device.active, device.updates.damaged) == (first.digest, 1)
    device.run()
    device.infer()
    device.acknowledge()
    assert device.active == second.digest
    device.close()


def test_a_corrupt_state_file_is_set_aside_and_the_model_goes_on(tmp_path, server, artifacts):
    descriptor = server.publish(artifacts[0])
    device = installed(Device(tmp_path, server, probe=passes), descriptor)
    device.close()
    (device.folder / "deployments" / "gas" / "update.json").write_bytes(b"{")
    device = Device(tmp_path, server, probe=passes)
    assert (device.active, device.updates.damaged, device.state) == (descriptor.digest, 1, UpdateState.IDLE)
    device.close()


def test_what_a_power_cut_left_half_written_goes_with_the_next_start(tmp_path, server):
    folder = tmp_path / "device" / "deployments" / "gas"
    folder.mkdir(parents=True)
    for name in (".update.json.k2", ".pointer.json.k3", ".config.json.k4"):
        (folder / name).write_bytes(b"half")
    Device(tmp_path, server).close()
    # The owner's command line may be writing its file right now.
    assert [path.name for path in folder.iterdir() if path.is_file()] == [".config.json.k4"]


@pytest.fixture
def after_damage(tmp_path, server, device, artifacts):
    """A start of the agent that found its committed model damaged; all that was reported before is acknowledged."""
    descriptor = server.publish(artifacts[0])
    installed(device, descriptor)
    device.acknowledge()
    assert device.reports() == []
    device.updates.running().active.path.write_bytes(b"x")
    device.close()
    again = Device(tmp_path, server)
    yield again, descriptor
    again.close()


def test_a_model_that_is_installed_again_after_damage_needs_an_ack_of_its_own(after_damage):
    device, _ = after_damage
    device.run()
    device.infer()
    assert device.state is UpdateState.TRIAL
    [evidence] = device.reports()
    assert evidence.state is UpdateState.TRIAL
    device.acknowledge()
    assert device.state is UpdateState.COMMITTED


def test_how_an_installation_after_damage_ends_is_reported(server, after_damage):
    device, descriptor = after_damage
    server.withdraw(descriptor)
    device.settle()
    assert [(report.state, report.reason) for report in device.reports()] == [(UpdateState.REJECTED, Reason.NOT_LISTED)]
