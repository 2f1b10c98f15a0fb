"""A job takes effect and ends in one transaction; its bugs are told without the inside."""

import gzip
import io
import os
import threading
import time

import numpy as np
import pytest

from edgeops import limits
from edgeops.data.rules import Rules
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import datasets, jobs
from fleet_server.db.jobs import ImportDataset, InspectFile, JobState
from fleet_server.job_desk import JobDesk
from tests.contract.rig import START
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH
#: A trigger that lets no job end well.
NO_END = {
    "sqlite": "CREATE TRIGGER no_end BEFORE UPDATE OF state ON jobs WHEN NEW.state = 'succeeded'"
    " BEGIN SELECT RAISE(ABORT, 'the secret inside'); END",
    "postgresql": "CREATE FUNCTION no_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " RAISE integrity_constraint_violation USING MESSAGE = 'the secret inside'; END $$;"
    " CREATE TRIGGER no_end BEFORE UPDATE OF state ON jobs FOR EACH ROW WHEN (NEW.state = 'succeeded')"
    " EXECUTE FUNCTION no_end()",
}


@pytest.fixture
def database(tmp_path):
    database = database_in(ServerConfig(tmp_path).db)
    yield database
    database.close()


@pytest.fixture
def desk(database, tmp_path):
    desk = JobDesk(ServerConfig(tmp_path), database, threading.Event())
    yield desk
    desk.close()


@pytest.fixture
def blobs(tmp_path):
    return Blobs(ServerConfig(tmp_path))


def table(rows=30):
    file = io.BytesIO()
    np.savez(file, X=np.arange(3 * rows, dtype=np.float32).reshape(rows, 3), y=np.arange(rows) % 2)
    return file.getvalue()


def queue_import(database, upload, *, label="y", name="table"):
    request = ImportDataset(name=name, upload=upload, file_name="table.npz", rules=Rules(label=label))
    with database.write() as connection:
        return jobs.queue(connection, request, created_by="test", now=START).id


@pytest.mark.parametrize(("label", "state"), [("y", JobState.SUCCEEDED), ("nope", JobState.FAILED)])
def test_an_upload_is_deleted_when_its_import_ended(database, desk, blobs, label, state):
    upload = blobs.put(table())
    job_id = queue_import(database, upload, label=label)
    assert desk.do_next()
    with database.read() as connection:
        assert jobs.get(connection, job_id).state is state
        head = datasets.head(connection, "table")
    assert not blobs.exists(upload)
    assert head is None or blobs.verify(head.digest)


def test_an_upload_that_another_import_waits_for_stays_until_that_ended(database, desk, blobs):
    upload = blobs.put(table())
    for name in ("one", "two"):
        queue_import(database, upload, name=name + "-table")
    assert desk.do_next()
    assert blobs.exists(upload)
    assert desk.do_next()
    assert not blobs.exists(upload)


def test_an_upload_that_is_a_snapshot_as_well_stays(database, desk, blobs):
    queue_import(database, blobs.put(table()))
    assert desk.do_next()
    with database.read() as connection:
        snapshot = datasets.head(connection, "table").digest
    queue_import(database, snapshot, name="again")
    assert desk.do_next()
    assert blobs.verify(snapshot)


def test_a_quarantine_that_is_imported_stays_the_quarantine(database, desk, blobs):
    rows = "".join(f"{row},{'ab'[row % 2]}\n" for row in range(40))
    upload = blobs.put(f"x,y\n{rows}oops,a\n".encode())
    rules = Rules(label="y", bad_rows="quarantine")
    with database.write() as connection:
        request = ImportDataset(name="table", upload=upload, file_name="table.csv", rules=rules)
        jobs.queue(connection, request, created_by="test", now=START)
    assert desk.do_next()
    with database.read() as connection:
        quarantine = datasets.head(connection, "table").schema.quarantine
    assert gzip.decompress(blobs.read(quarantine)).startswith(b'{"line":42,"reason":"not-a-number"')
    queue_import(database, quarantine, name="again")
    assert desk.do_next()
    assert blobs.verify(quarantine)


def test_an_inspection_tells_of_the_file_and_keeps_nothing(database, desk, blobs):
    upload = blobs.put(b"x,kind\n" + b"1.5,a\n2.5,b\n" * 20)
    with database.write() as connection:
        job = jobs.queue(connection, InspectFile(upload=upload, file_name="a.csv"), created_by="test", now=START)
    assert desk.do_next()
    with database.read() as connection:
        ended = jobs.get(connection, job.id)
        assert datasets.page(connection, None, 10) == []
    assert (ended.state, ended.result["rows"]) == (JobState.SUCCEEDED, 40)
    assert 'label = "kind"' in ended.result["rules"]
    assert not blobs.exists(upload)


def test_what_a_crash_left_of_uploads_is_deleted_at_the_next_start(database, desk, blobs, tmp_path):
    upload = blobs.put(table())
    job_id = queue_import(database, upload)
    with database.write() as connection:
        jobs.claim(connection, START)
        jobs.fail(connection, job_id, error="killed before it could clear up", now=START)
    old, young = tmp_path / "blobs/.incoming.old", tmp_path / "blobs/.incoming.young"
    for left_behind in (old, young):
        left_behind.write_bytes(b"half")
    day_ago = time.time() - limits.INCOMING_LIFE.total_seconds() - 60
    os.utime(old, (day_ago, day_ago))
    desk.recover()
    assert not blobs.exists(upload)
    assert not old.exists()
    assert young.exists()


def test_a_job_whose_end_cannot_be_written_had_no_effect(database, tmp_path):
    config = ServerConfig(tmp_path)
    np.savez(tmp_path / "table.npz", X=np.arange(90, dtype=np.float32).reshape(30, 3), y=np.arange(30) % 2)
    upload = Blobs(config).put((tmp_path / "table.npz").read_bytes())
    with database.write() as connection:
        request = ImportDataset(name="table", upload=upload, file_name="table.npz", rules=Rules(label="y"))
        job = jobs.queue(connection, request, created_by="test", now=START)
        connection.exec_driver_sql(NO_END[connection.dialect.name])
    desk = JobDesk(config, database, threading.Event())
    try:
        assert desk.do_next()
    finally:
        desk.close()
    with database.read() as connection:
        assert datasets.get(connection, "table") is None
        ended = jobs.get(connection, job.id)
    assert ended.state is JobState.FAILED
    assert "internal error (IntegrityError)" in ended.error
    assert "secret" not in ended.error
