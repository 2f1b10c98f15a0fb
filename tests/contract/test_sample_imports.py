"""What devices sent as samples and people labelled becomes a dataset like any other."""

import threading

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from edgeops.api.roles import Role
from edgeops.api.shapes import JobState
from edgeops.artifact.manifest import ClockPart, InputWindow, TimeColumn, encode_value
from edgeops.errors import ConflictError
from fleet_server.datasets.snapshot import read_snapshot
from fleet_server.db import devices, tables
from fleet_server.job_desk import JobDesk
from fleet_server.sample_rows import labelled_rows
from tests.contract.loop_rig import DEVICES, LoopRig
from tests.contract.rig import assert_problem
from tests.golden.tiny import tiny_descriptor
from tests.unit.drift_rig import artifact


@pytest.fixture
def rig(tmp_path):
    rig = LoopRig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def labelled(rig):
    """Ids of labelled samples of each device, by class in turn."""
    ids = [one for device_id in DEVICES for one in rig.add_samples(device_id=device_id, count=12)]
    rig.operator.add_labels({one: ("red", "green", "blue")[number % 3] for number, one in enumerate(ids)})
    return ids


def do_jobs(rig):
    desk = JobDesk(rig.config, rig.database, threading.Event())
    try:
        while desk.do_next():
            pass
    finally:
        desk.close()


def test_labelled_samples_become_a_dataset_with_devices_as_groups(rig, labelled):
    rig.add_samples(device_id=DEVICES[0], count=3, nomination="nominate-unlabelled")
    job = rig.second.import_samples("bought", "tiny", split="group", hold_out=0.34)
    do_jobs(rig)
    ended = rig.second.job(job.id)
    assert ended.state is JobState.SUCCEEDED, ended.error
    details = rig.second.dataset("bought").head.details
    assert (details["rows"], details["groups"]) == (len(labelled), len(DEVICES))
    assert sorted(details["classes"]) == ["blue", "green", "red"]
    assert details["columns"] == list(labelled_rows(rig.database, "tiny").columns)


def test_labels_of_devices_tell_rows_apart(rig, labelled):
    """A person says where two of three devices are."""
    with rig.database.write() as connection:
        for device_id, site in zip(DEVICES, ("ghent", "lille"), strict=False):
            devices.set_labels(connection, device_id, {"site": site})
    job = rig.second.import_samples("bought", "tiny", slices=("site",))
    do_jobs(rig)
    ended = rig.second.job(job.id)
    assert ended.state is JobState.SUCCEEDED, ended.error
    snapshot = read_snapshot(rig.config.blob_path(rig.second.dataset("bought").head.digest))
    assert snapshot.slices == (("ghent", "lille"),)
    sites = {
        snapshot.groups[group]: site
        for group, site in zip(snapshot.rows.groups, snapshot.rows.slices[:, 0], strict=True)
    }
    assert sites == {DEVICES[0]: 0, DEVICES[1]: 1, DEVICES[2]: -1}


def test_a_label_that_no_device_has_is_named(rig, labelled):
    body = {"name": "bought", "model": "tiny", "slices": ["sight"]}
    answer = rig.request("POST", "/api/v1/datasets/samples", role=Role.ADMIN, json=body)
    assert "has a label 'sight'; give it one: edgeops device label DEVICE" in assert_problem(answer, 422)["detail"]


def test_samples_of_other_columns_are_left_out_and_counted(rig, labelled):
    with rig.database.write_telemetry() as connection:
        connection.execute(update(tables.samples).where(tables.samples.c.id == labelled[0]).values(readings=bytes(4)))
    rows = labelled_rows(rig.database, "tiny")
    assert (len(rows.labelled), rows.left_out) == (len(labelled) - 1, 1)


def test_without_a_labelled_sample_it_is_said_how_to_get_some(rig):
    body = {"name": "bought", "model": "tiny"}
    answer = rig.request("POST", "/api/v1/datasets/samples", role=Role.ADMIN, json=body)
    assert "edgeops label queue tiny" in assert_problem(answer, 422)["detail"]


def test_a_model_that_is_not_there_has_no_samples(rig):
    body = {"name": "bought", "model": "none"}
    answer = rig.request("POST", "/api/v1/datasets/samples", role=Role.ADMIN, json=body)
    assert assert_problem(answer, 404)


def test_a_model_that_reads_the_hour_cannot_learn_from_samples_which_do_not_say_when_they_were_measured(rig, labelled):
    window = InputWindow(
        columns=("x1", "x2", "hour-sin", "hour-cos"), time=TimeColumn(name="at"), clock=(ClockPart.HOUR,)
    )
    tiny = tiny_descriptor(artifact())
    described = encode_value(replace(tiny, manifest=replace(tiny.manifest, window=window)))
    with rig.database.write() as connection:
        connection.execute(tables.artifacts.update().values(descriptor=described))
    with pytest.raises(ConflictError, match="tiny reads the hour of a row"):
        labelled_rows(rig.database, "tiny")
