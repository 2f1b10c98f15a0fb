"""Training a regression through the job desk: versions in the books, compared with the champion once there is one."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from edgeops.artifact.manifest import Task
from fleet_server.datasets.snapshot import SnapshotFile, encode_snapshot
from fleet_server.db import aliases, datasets, models
from fleet_server.db.aliases import Alias
from fleet_server.db.jobs import JobState, Train
from fleet_server.ml.recipes.names import RecipeName
from tests.ml.desk import Desk, write_clusters
from tests.ml.numbers import write_levels

pytestmark = pytest.mark.slow
NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("data"))
    add(desk, "level", write_levels())
    desk.train("level", RecipeName.DENSE)
    with desk.database.write() as connection:
        aliases.assign(connection, "level", Alias.CHAMPION, 1, NOW, actor="me")
    yield desk
    desk.close()


def add(desk: Desk, name: str, snapshot: SnapshotFile) -> None:
    data = encode_snapshot(snapshot)
    with desk.database.write() as connection:
        datasets.add_snapshot(
            connection,
            name,
            desk.blobs.put(data),
            size_bytes=len(data),
            schema=snapshot.schema,
            created_by="me",
            now=NOW,
        )


def test_a_model_keeps_its_task_and_its_next_version_is_held_against_the_champion(desk: Desk) -> None:
    job = desk.train("level", RecipeName.DENSE, seed=1)
    with desk.database.read() as connection:
        model = models.get(connection, "level")
    assert model is not None
    assert model.task is Task.REGRESSION
    assert job.result is not None
    for artifact in job.result["artifacts"].values():
        assert artifact["metrics"]["mae"] < artifact["metrics"]["baseline-mae"]
        assert "against the champion's" in artifact["promotion"]["rules"][2]["reason"]


def test_a_champion_that_reads_other_columns_is_not_compared(desk: Desk) -> None:
    snapshot = write_levels()
    other = msgspec.structs.replace(snapshot.schema, columns=("a", "b", "c", "d"))
    add(desk, "renamed", SnapshotFile(schema=other, rows=snapshot.rows, splits=snapshot.splits))
    job = desk.succeed(Train(dataset="renamed", model="level", recipe=RecipeName.DENSE, epochs=3))
    assert job.result is not None
    assert "no champion estimates the same" in job.result["artifacts"]["int8"]["promotion"]["rules"][2]["reason"]


def test_a_model_of_another_task_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.load(write_clusters(tmp_path / "table.npz"), "table", label="y")
    job = desk.do(Train(dataset="table", model="level", recipe=RecipeName.DENSE))
    assert job.state is JobState.FAILED
    assert "level does regression, the dataset is for classification; give its model another name" in (job.error or "")
