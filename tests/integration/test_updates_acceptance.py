"""A model that its delegated key signed runs only if it passes the acceptance set that the targets key signed."""

from pathlib import Path

import msgspec
import pytest

from device_agent.probe import ProbeVerdict, run_probe
from edgeops.artifact.acceptance import acceptance_path, encode_acceptance, make_acceptance
from edgeops.artifact.manifest import encode_value, target_path
from edgeops.artifact.package import open_artifact, package, tflite_part
from edgeops.protocol.messages import Reason, UpdateState
from edgeops.trust.delegation import role_of
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id, signers_in
from tests.delegating import delegate, undelegate
from tests.golden.tiny import tiny_artifact, tiny_descriptor, tiny_manifest, tiny_rows
from tests.integration.updates_rig import NOW, Device, Server

pytestmark = pytest.mark.processes

MODEL = "tiny"
ROWS, CLASSES = tiny_rows(60, seed=9)


def tiny_set(*, floor: float = 0.9) -> bytes:
    made = make_acceptance(tiny_manifest(), ROWS[:, None, :], CLASSES, floor=floor, class_floors=(0.8, 0.8, 0.8))
    return encode_acceptance(made)


def with_permuted_classes(folder: Path, artifact: bytes) -> bytes:
    """Sound in every respect (golden vectors, digests, reference), except that its classes are not what they say."""
    (folder / "sound.tflite").write_bytes(artifact)
    sound = open_artifact(folder / "sound.tflite")
    output = msgspec.structs.replace(sound.manifest.output, labels=("green", "blue", "red"))
    manifest = msgspec.structs.replace(sound.manifest, output=output)
    return package(tflite_part(artifact), manifest, reference=sound.reference, golden=sound.golden, card=sound.card)


@pytest.fixture(scope="module")
def artifact():
    return tiny_artifact()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    delegate(server.repository, MODEL, NOW, alongside={acceptance_path(MODEL): tiny_set()})
    return server


@pytest.fixture
def device(tmp_path, server):
    device = Device(tmp_path, server)
    yield device
    device.close()


def outcome(device):
    state = device.updates.state()
    return state.state, state.reason


def test_an_auto_model_that_passes_its_acceptance_set_is_committed(device, server, artifact):
    descriptor = server.publish(artifact, auto=True)
    device.desire(descriptor, revision=1, auto=True)
    device.run()
    device.infer()
    device.acknowledge()
    assert outcome(device) == (UpdateState.COMMITTED, Reason.NONE)


def test_an_auto_model_with_permuted_classes_is_refused_although_it_is_validly_signed(
    device, server, artifact, tmp_path
):
    descriptor = server.publish(with_permuted_classes(tmp_path, artifact), auto=True)
    assert target_path(descriptor.manifest, auto=True) in server.repository.listed()

    device.desire(descriptor, revision=1, auto=True)
    device.run()

    assert outcome(device) == (UpdateState.FAILED, Reason.ACCEPTANCE)
    detail = device.updates.state().detail
    assert "of 60 inputs right, 90.0% asked for" in detail
    assert device.active is None
    (report,) = device.reports()
    assert (report.state, report.reason) == (UpdateState.FAILED, Reason.ACCEPTANCE)


def test_a_model_that_a_person_signed_is_not_held_to_the_acceptance_set(device, server, artifact, tmp_path):
    descriptor = server.publish(with_permuted_classes(tmp_path, artifact))
    device.desire(descriptor, revision=1)
    device.run()
    assert device.state is UpdateState.TRIAL


def test_without_an_acceptance_set_an_auto_model_is_rejected_before_a_block_is_fetched(device, server, artifact):
    server.repository.withdraw([acceptance_path(MODEL)], NOW)
    device.desire(server.publish(artifact, auto=True), revision=1, auto=True)
    device.run()
    assert outcome(device) == (UpdateState.REJECTED, Reason.ACCEPTANCE)
    assert not server.sent_blocks


@pytest.mark.parametrize("content", [b"nonsense", tiny_set()[:-1]])
def test_an_acceptance_set_that_cannot_be_read_lets_no_auto_model_in(device, server, artifact, content):
    server.repository.publish({acceptance_path(MODEL): content}, NOW)
    device.desire(server.publish(artifact, auto=True), revision=1, auto=True)
    device.run()
    assert outcome(device) == (UpdateState.REJECTED, Reason.ACCEPTANCE)


def test_an_acceptance_set_of_other_inputs_lets_no_auto_model_in(device, server, artifact):
    manifest = tiny_manifest()
    other = msgspec.structs.replace(
        manifest, window=msgspec.structs.replace(manifest.window, columns=("y1", "y2", "y3", "y4"))
    )
    content = make_acceptance(other, ROWS[:, None, :], CLASSES, floor=0.5, class_floors=(0.0, 0.0, 0.0))
    server.repository.publish({acceptance_path(MODEL): encode_acceptance(content)}, NOW)
    device.desire(server.publish(artifact, auto=True), revision=1, auto=True)
    device.run()
    assert outcome(device) == (UpdateState.REJECTED, Reason.ACCEPTANCE)
    assert "other columns" in device.updates.state().detail


def test_a_set_that_changed_after_the_probe_stops_the_model(tmp_path, server, artifact):
    def passes_and_the_floor_rises(path: Path, acceptance: Path | None) -> ProbeVerdict:
        verdict = run_probe(path, acceptance)
        server.repository.publish({acceptance_path(MODEL): tiny_set(floor=1.0)}, NOW)
        return verdict

    device = Device(tmp_path, server, probe=passes_and_the_floor_rises)
    device.desire(server.publish(artifact, auto=True), revision=1, auto=True)
    device.run()
    assert outcome(device) == (UpdateState.REJECTED, Reason.ACCEPTANCE)
    assert "changed after the probe" in device.updates.state().detail
    device.close()


def test_after_a_start_in_probing_the_set_is_still_there(tmp_path, server, artifact):
    device = Device(tmp_path, server)
    device.desire(server.publish(with_permuted_classes(tmp_path, artifact), auto=True), revision=1, auto=True)
    device.run_until(UpdateState.PROBING)
    device.close()
    device = Device(tmp_path, server)
    assert device.state is UpdateState.PROBING
    device.run()
    assert outcome(device) == (UpdateState.FAILED, Reason.ACCEPTANCE)
    device.close()


def test_a_set_that_went_missing_from_disk_is_no_pass(tmp_path, server, artifact):
    device = Device(tmp_path, server)
    device.desire(server.publish(artifact, auto=True), revision=1, auto=True)
    device.run_until(UpdateState.PROBING)
    (kept,) = (device.folder / "deployments").rglob("*.acceptance")
    kept.unlink()
    device.run()
    assert outcome(device) == (UpdateState.FAILED, Reason.DISK)
    device.close()


def test_after_undelegate_an_auto_model_is_not_listed(device, server, artifact):
    descriptor = server.publish(artifact, auto=True)
    undelegate(server.repository, MODEL, NOW)
    device.desire(descriptor, revision=1, auto=True)
    device.run()
    assert outcome(device) == (UpdateState.REJECTED, Reason.NOT_LISTED)


def test_undelegating_between_staging_and_trial_withdraws_the_model(tmp_path, server, artifact):
    def passes_and_loses_its_key(path: Path, acceptance: Path | None) -> ProbeVerdict:
        undelegate(server.repository, MODEL, NOW)
        return run_probe(path, acceptance)

    device = Device(tmp_path, server, probe=passes_and_loses_its_key)
    device.desire(server.publish(artifact, auto=True), revision=1, auto=True)
    device.run()
    assert outcome(device) == (UpdateState.REJECTED, Reason.WITHDRAWN)
    device.close()


def test_a_listing_signed_by_another_models_key_is_refused(device, server, artifact, tmp_path):
    descriptor = server.publish(artifact, auto=True)
    delegate(server.repository, "other", NOW)
    folder, keys = server.repository_folder, tmp_path / "keys"
    own, others = (signers_in(keys)[role_of(name)] for name in (MODEL, "other"))
    thief = Repository(folder, by_id(keys) | {own.public_key.keyid: others}, keys=keys)
    thief.publish({"models/tiny/auto/9-int8.json": encode_value(descriptor)}, NOW)

    device.desire(descriptor, revision=1, auto=True)
    device.run()

    assert outcome(device) == (UpdateState.REJECTED, Reason.TRUST)
    assert "unsigned" in device.updates.state().detail


@pytest.mark.parametrize("auto", [True, False])
def test_a_descriptor_under_another_models_name_is_refused(device, server, artifact, auto):
    gas = tiny_artifact(name="gas-sensors")
    descriptor = tiny_descriptor(gas)
    server.blobs[descriptor.digest] = gas
    pretended = tiny_descriptor(artifact)
    server.repository.publish({target_path(pretended.manifest, auto=auto): encode_value(descriptor)}, NOW)

    device.desire(pretended, revision=1, digest=descriptor.digest, auto=auto)
    device.run()

    assert outcome(device) == (UpdateState.REJECTED, Reason.TRUST)
    assert "the descriptor of another model: models/gas-sensors/" in device.updates.state().detail
    assert not server.sent_blocks
