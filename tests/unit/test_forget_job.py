"""A group is forgotten or erased by a job: what the books, the blobs and the audit trail say afterwards."""

import threading

import pytest

from edgeops.errors import NotFoundError
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.datasets.snapshot import read_groups
from fleet_server.db import audit, backups, datasets, jobs, runs
from fleet_server.db.jobs import Forget, JobState, Retrain
from fleet_server.forgetting import knowledge
from fleet_server.job_desk import JobDesk
from tests.contract.rig import START
from tests.contract.trained import GROUPED, add_grouped, add_version
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


def trail(database):
    with database.read() as connection:
        return [(one.actor, one.action, one.subject, one.data["group"]) for one in audit.oldest_first(connection)]


def head_of(database):
    with database.read() as connection:
        return datasets.head(connection, GROUPED)


def test_a_forgotten_group_is_in_no_row_of_the_new_head_and_what_knows_it_is_named(config, database, desk):
    old = add_grouped(config, database, START)
    add_version(config, database, 1, START, snapshot=old)
    result = do(database, desk, Forget(dataset=GROUPED, group="g1")).result
    head = head_of(database)
    assert (result["snapshot"], head.parent, head.rows) == (head.digest, old, 80)
    assert (result["forgotten_rows"], result["snapshots"], result["erased"]) == (20, [old], False)
    assert [(one["model"], one["version"], one["snapshot"]) for one in result["versions"]] == [("tiny", 1, old)]
    blobs = Blobs(config)
    assert "g1" not in read_groups(blobs.path(head.digest))
    assert blobs.verify(old)
    assert trail(database) == [("ann", "dataset.group-forgotten", GROUPED, "g1")]


def test_erased_snapshots_are_gone_and_marked_and_no_backup_misses_them(config, database, desk):
    old = add_grouped(config, database, START)
    do(database, desk, Forget(dataset=GROUPED, group="g1"))
    add_version(config, database, 1, START, snapshot=old)
    result = do(database, desk, Forget(dataset=GROUPED, group="g1", erase=True)).result
    head = head_of(database)
    assert result["warnings"] == ["tiny@1 learnt from rows that are gone: it can no longer be reproduced"]
    assert (result["snapshot"], result["forgotten_rows"], result["snapshots"]) == (head.digest, 0, [old])
    assert not Blobs(config).exists(old)
    with database.read() as connection:
        assert datasets.get_snapshot(connection, old).erased_at is not None
        assert old not in backups.needed_blobs(connection)
        assert head.digest in backups.needed_blobs(connection)
        with pytest.raises(NotFoundError, match="no group and no device 'g1' in any snapshot"):
            knowledge(connection, Blobs(config), GROUPED, "g1")
    assert trail(database)[-1] == ("ann", "dataset.group-erased", GROUPED, "g1")


def test_nothing_is_retrained_on_an_erased_snapshot(config, database, desk):
    old = add_grouped(config, database, START)
    descriptor = add_version(config, database, 1, START, snapshot=old)
    lineage = descriptor.manifest.lineage.snapshot
    with database.write() as connection:
        schema = datasets.get_snapshot(connection, old).schema
        datasets.add_branch(connection, GROUPED, lineage, parent=old, size_bytes=1, schema=schema, now=START)
        datasets.erase(connection, [lineage], START)
    request = Retrain(retraining="retraining-1", model="tiny", digest=descriptor.digest, deployment="tiny-pump")
    job = do(database, desk, request)
    assert job.state is JobState.FAILED
    assert f"snapshot {lineage}, which tiny@1 learnt from, was erased at" in job.error


def test_what_a_crash_left_of_erased_snapshots_is_deleted_at_the_next_start(config, database, desk):
    old = add_grouped(config, database, START)
    with database.write() as connection:
        datasets.erase(connection, [old], START)
    desk.recover()
    assert not Blobs(config).exists(old)


def test_rows_that_somebody_imports_again_after_an_erasure_are_there_again(config, database, desk):
    old = add_grouped(config, database, START)
    do(database, desk, Forget(dataset=GROUPED, group="g1", erase=True))
    assert add_grouped(config, database, START) == old
    desk.recover()
    assert Blobs(config).verify(old)
    assert head_of(database).erased_at is None


def test_a_group_that_no_snapshot_knows_ends_in_an_error(config, database, desk):
    add_grouped(config, database, START)
    job = do(database, desk, Forget(dataset=GROUPED, group="g11"))
    assert job.state is JobState.FAILED
    assert "no group and no device 'g11' in any snapshot of dataset 'grouped-rows', did you mean g1?" in job.error
    assert trail(database) == []


def test_what_runs_found_names_an_erased_group_no_more(config, database, desk):
    old = add_grouped(config, database, START)
    add_version(config, database, 1, START, snapshot=old)
    column = {"column": "x", "missing": None, "stuck": 0.1}
    group = {"name": "g1", "rows": 20, "cost": 0.5, "low": 0.4, "high": 0.6, "is_judged": True}
    with database.write() as connection:
        runs.judged(connection, "run-0001", {"variants": {"int8": {"slices": [group], "columns": [column]}}})
    do(database, desk, Forget(dataset=GROUPED, group="g1"))
    with database.read() as connection:
        assert "g1" in str(runs.get(connection, "run-0001").judgement), "its rows are kept as well"
    do(database, desk, Forget(dataset=GROUPED, group="g1", erase=True))
    with database.read() as connection:
        judgement = runs.get(connection, "run-0001").judgement
    assert judgement == {"variants": {"int8": {"slices": [], "columns": [column]}}}
