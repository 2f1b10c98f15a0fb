"""A job takes effect and ends in one transaction; its bugs are told without the inside."""

import threading

import numpy as np
import pytest

from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import datasets, jobs
from fleet_server.db.database import Database
from fleet_server.db.jobs import ImportDataset, JobState
from fleet_server.db.migrate import upgrade
from fleet_server.job_desk import JobDesk
from tests.contract.rig import START


@pytest.fixture
def database(tmp_path):
    database = Database.in_folder(ServerConfig(tmp_path).db)
    upgrade(database)
    yield database
    database.close()


def test_a_job_whose_end_cannot_be_written_had_no_effect(database, tmp_path):
    config = ServerConfig(tmp_path)
    np.savez(tmp_path / "table.npz", X=np.arange(90, dtype=np.float32).reshape(30, 3), y=np.arange(30) % 2)
    upload = Blobs(config).put((tmp_path / "table.npz").read_bytes())
    with database.write() as connection:
        request = ImportDataset(name="table", upload=upload, file_name="table.npz", label="y")
        job = jobs.queue(connection, request, created_by="test", now=START)
        connection.exec_driver_sql(
            "CREATE TRIGGER no_end BEFORE UPDATE OF state ON jobs WHEN NEW.state = 'succeeded'"
            " BEGIN SELECT RAISE(ABORT, 'the secret inside'); END"
        )
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
