"""What a version cannot be trained again from is named before anything is trained."""

import threading

import pytest
from sqlalchemy import update

from edgeops.errors import ConflictError, NotFoundError
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import jobs, tables
from fleet_server.db.jobs import Forget, JobState, Reproduce
from fleet_server.job_desk import JobDesk
from fleet_server.reproduction import find_basis
from tests.contract.rig import START
from tests.contract.trained import GROUPED, MODEL, add_dataset, add_grouped, add_version
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH


@pytest.fixture
def config(tmp_path):
    config = ServerConfig(tmp_path)
    config.run.mkdir(parents=True)
    return config


@pytest.fixture
def database(config):
    database = database_in(config.db)
    yield database
    database.close()


@pytest.fixture
def desk(database, config):
    desk = JobDesk(config, database, threading.Event())
    yield desk
    desk.close()


def do(database, desk, request):
    with database.write() as connection:
        job = jobs.queue(connection, request, created_by="ann", now=START)
    assert desk.do_next()
    with database.read() as connection:
        return jobs.get(connection, job.id)


def basis(database, config, version=1):
    with database.read() as connection:
        return find_basis(connection, Blobs(config), MODEL, version)


def test_a_version_whose_snapshot_was_erased_names_who_erased_what(config, database, desk):
    add_version(config, database, 1, START, snapshot=add_grouped(config, database, START))
    assert do(database, desk, Forget(dataset=GROUPED, group="g3", erase=True)).state is JobState.SUCCEEDED
    job = do(database, desk, Reproduce(model=MODEL, version=1))
    assert job.state is JobState.FAILED
    assert f"{MODEL}@1 cannot be reproduced" in job.error
    assert "because ann had group 'g3' erased" in job.error
    assert f"edgeops train {GROUPED} --model {MODEL}" in job.error


def test_a_file_that_is_gone_is_named(config, database):
    snapshot = add_dataset(config, database, START)
    described = add_version(config, database, 1, START, snapshot=snapshot)
    assert basis(database, config).snapshot.digest == snapshot
    Blobs(config).remove(described.digest)
    with pytest.raises(ConflictError, match=r"the file of models/tiny/1-int8\.json .* is gone"):
        basis(database, config)
    Blobs(config).remove(snapshot)
    with pytest.raises(ConflictError, match=r"the snapshot .* is gone"):
        basis(database, config)


def test_a_version_that_was_brought_as_a_file_is_not_trained(config, database):
    add_version(config, database, 1, START, snapshot=add_dataset(config, database, START))
    with database.write() as connection:
        connection.execute(update(tables.runs).values(recipe="brought"))
    with pytest.raises(ConflictError, match=f"edgeops publish FILE --name {MODEL} --draft"):
        basis(database, config)


def test_a_version_that_is_not_there_is_asked_back(config, database):
    with pytest.raises(NotFoundError, match="edgeops model list"):
        basis(database, config, version=7)
