"""Real trainings once more: every byte again, by a worker that did other things before and by a fresh one."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import update

from edgeops.learning.environment import Environment
from fleet_server.datasets.snapshot import SnapshotFile, encode_snapshot
from fleet_server.db import datasets, models, runs, tables
from fleet_server.db.jobs import Job, JobState, Reproduce
from fleet_server.ml.recipes.names import RecipeName
from tests.ml.desk import Desk, write_clusters
from tests.ml.loop import Loop, Seen, world, write_world
from tests.ml.signals import write_waves

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("data"))
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def table(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Version 1 of `table`."""
    desk.load(write_clusters(tmp_path_factory.mktemp("source") / "table.npz", missing=True), "table", label="y")
    return desk.train("table", RecipeName.DENSE, epochs=15)


def add_snapshot(desk: Desk, name: str, snapshot: SnapshotFile) -> None:
    data = encode_snapshot(snapshot)
    with desk.database.write() as connection:
        datasets.add_snapshot(
            connection, name, desk.blobs.put(data), size_bytes=len(data), schema=snapshot.schema, created_by="test",
            now=datetime.now(UTC),
        )  # fmt: skip


def versions(desk: Desk, model: str) -> list[int]:
    with desk.database.read() as connection:
        return [one.version for one in models.list_versions(connection, model)]


def test_a_table_repeats_every_byte_and_no_version_or_run_comes_of_it(desk: Desk, table: Job) -> None:
    found = desk.reproduce("table")
    assert found.is_same, found.words
    assert found.words == "the same: every byte of float32, int8"
    assert found.changes == ()
    assert versions(desk, "table") == [1]
    with desk.database.read() as connection:
        assert len(runs.page(connection, None, 100, model="table")) == 1


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_table_and_raw_windows_repeat_every_byte_three_times_of_three(desk: Desk, table: Job) -> None:
    add_snapshot(desk, "waves", write_waves())
    desk.train("waves", RecipeName.SIGNALS, epochs=6, window="32", stride="16")
    for _ in range(3):
        for model in ("table", "waves"):
            found = desk.reproduce(model)
            assert found.is_same, found.words
        # The next two are done by a process that never trained.
        desk.desk._shop.worker.close()


def test_a_version_of_another_library_and_commit_is_told_apart_by_their_names(desk: Desk, table: Job) -> None:
    assert table.result is not None
    with desk.database.write() as connection:
        run = runs.get(connection, table.result["run"])
        assert run is not None
        old = msgspec.structs.replace(
            run.environment, commit="a" * 40, libraries={**run.environment.libraries, "keras": "2.0"}
        )
        set_environment(connection, run.id, old)
    try:
        found = desk.reproduce("table")
    finally:
        with desk.database.write() as connection:
            set_environment(connection, run.id, run.environment)
    assert [(one.cause, one.name, one.before) for one in found.changes] == [
        ("commit", "", "a" * 40),
        ("library", "keras", "2.0"),
    ]
    assert found.is_same, "it is the books that were changed here, not what trains"


def set_environment(connection, run: str, environment: Environment) -> None:
    connection.execute(update(tables.runs).where(tables.runs.c.id == run).values(environment=environment))


def test_a_healed_version_repeats_all_but_what_was_made_of_the_windows_of_devices(desk: Desk, tmp_path: Path) -> None:
    desk.load(write_world(tmp_path / "world.npz", rows=600), "world", label="y")
    desk.train("world", RecipeName.DENSE)
    loop = Loop(desk, "world")
    seen = []
    for number, device in enumerate(loop.devices):
        values, labels = world(100, aged=True, seed=10 + number)
        loop.see(device, values)
        seen.append(Seen(device, values[:12], labels[:12]))
    loop.heal(loop.retraining(*seen))
    found = desk.reproduce("world", 2)
    assert found.is_same, found.words
    assert found.not_compared == ("reference",)
    assert all(one.before != one.after for one in found.variants)


def test_a_recipe_that_refuses_today_what_it_took_then_says_so(desk: Desk, table: Job) -> None:
    assert table.result is not None
    with desk.database.write() as connection:
        of_run = update(tables.runs).where(tables.runs.c.id == table.result["run"])
        connection.execute(of_run.values(parameters={"epochs": 15, "gone": 1.0}))
    job = desk.do(Reproduce(model="table", version=1))
    with desk.database.write() as connection:
        connection.execute(of_run.values(parameters={"epochs": 15}))
    assert job.state is JobState.FAILED
    assert "no option 'gone'" in (job.error or "")
