"""A classifier that is trained anew is held against the champion, on rows that the champion never learnt from."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleet_server.db import aliases
from fleet_server.db.aliases import Alias
from fleet_server.db.jobs import Job, Train
from fleet_server.ml.recipes.names import RecipeName
from tests.ml.desk import Desk, write_clusters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A champion that knows 600 rows of three classes."""
    folder = tmp_path_factory.mktemp("champion")
    desk = Desk(folder / "data")
    desk.load(write_clusters(folder / "table.npz", rows=600), "table", label="y")
    desk.train("table", RecipeName.DENSE, epochs=15)
    with desk.database.write() as connection:
        aliases.assign(connection, "table", Alias.CHAMPION, 1, datetime.now(UTC), actor="me", reason="rolled out")
    yield desk
    desk.close()


def gate(job: Job) -> dict[str, dict[str, Any]]:
    assert job.result is not None
    return {rule["name"]: rule for rule in job.result["artifacts"]["int8"]["promotion"]["rules"]}


def trained(desk: Desk, dataset: str) -> dict[str, dict[str, Any]]:
    return gate(desk.succeed(Train(dataset=dataset, model="table", recipe=RecipeName.DENSE, seed=1, epochs=15)))


@pytest.mark.long
def test_another_training_on_the_same_rows_is_no_worse(desk: Desk) -> None:
    rule = trained(desk, "table")["keeps-what-it-knew"]
    assert rule["passed"], rule["reason"]
    assert "against the champion's" in rule["reason"]
    assert "may have learnt" not in rule["reason"]


def test_a_version_that_hardly_learnt_fails_on_rows_that_are_new_to_both(desk: Desk, tmp_path: Path) -> None:
    """Half of its rows are those of the champion, which do not judge."""
    desk.load(write_clusters(tmp_path / "longer.npz", rows=1200), "longer", label="y")
    options: dict[str, float | str] = {"learning-rate": 1e-5}
    request = Train(dataset="longer", model="table", recipe=RecipeName.DENSE, epochs=1, options=options)
    rule = gate(desk.succeed(request))["keeps-what-it-knew"]
    assert not rule["passed"]
    judged = int(rule["reason"].partition("on the same ")[2].split()[0])
    assert 240 / 3 < judged < 240, rule["reason"]


def test_a_champion_of_other_classes_is_not_compared(desk: Desk, tmp_path: Path) -> None:
    with np.load(write_clusters(tmp_path / "table.npz")) as file:
        np.savez(tmp_path / "renamed.npz", X=file["X"], y=np.char.add(file["y"], "-2"))
    desk.load(tmp_path / "renamed.npz", "renamed", label="y")
    assert "for the most frequent class" in trained(desk, "renamed")["keeps-what-it-knew"]["reason"]
