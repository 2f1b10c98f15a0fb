"""Sixteen ageing gas sensors: learnt from their first two batches, judged on rows that were held back."""

from collections.abc import Iterator

import numpy as np
import pytest

from edgeops.artifact.manifest import ChannelKind, Transform
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import read_snapshot
from fleet_server.datasets.splits import Split
from fleet_server.db import datasets
from fleet_server.db.jobs import Job
from fleet_server.ml.recipes.names import RecipeName
from tests.data.folder import data_folder
from tests.ml.desk import Desk

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("data"))
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def trained(desk: Desk) -> Job:
    desk.load(data_folder() / "gas_drift" / "gas_drift.npz", "gas", label="gas", where=("batch=1,2",), hold_out=0.2)
    return desk.train("gas", RecipeName.DENSE, seed=0)


def test_both_variants_tell_the_gases_apart_and_int8_costs_less_than_a_point(desk: Desk, trained: Job) -> None:
    accuracy = {name: one.describe().manifest.metrics["accuracy"] for name, one in desk.artifacts(trained).items()}
    assert min(accuracy.values()) >= 0.96, accuracy
    assert accuracy["float32"] - accuracy["int8"] <= 0.01, accuracy


def test_heavy_tails_are_seen_and_sixty_four_channels_watched(desk: Desk, trained: Job) -> None:
    manifest = desk.artifacts(trained)["int8"].describe().manifest
    assert manifest.preprocess.transform is Transform.SIGNED_LOG1P
    kinds = [channel.kind for channel in manifest.channels]
    assert len(kinds) == 64
    assert (kinds.count(ChannelKind.COLUMN), kinds.count(ChannelKind.PROJECTION)) == (48, 14)


def test_held_back_rows_are_one_fifth_of_every_gas(desk: Desk, trained: Job) -> None:
    assert trained.result is not None
    with desk.database.read() as connection:
        head = datasets.head(connection, "gas")
    assert head is not None
    snapshot = read_snapshot(desk.blobs.path(head.digest))
    assert head.rows == 445 + 1244
    held = np.bincount(snapshot.only(Split.EVALUATION).classes)
    assert np.abs(held - 0.2 * np.array(snapshot.schema.class_rows)).max() <= 1


def test_later_batches_are_answered_much_worse(desk: Desk, trained: Job) -> None:
    """Why drift must be watched: the mean over batches 3, 4, 5, 6, 8 and 9 of a model that never learns again."""
    model = Model.load(desk.blobs.path(desk.artifacts(trained)["int8"].digest))
    with np.load(data_folder() / "gas_drift" / "gas_drift.npz") as source:
        rows, gas, batch = source["X"], source["gas"], source["batch"]
    labels = model.manifest.output.labels
    shares = []
    for number in (3, 4, 5, 6, 8, 9):
        chosen = batch == number
        right = [
            labels[int(model.predict(row[np.newaxis]).answer)] == str(truth)
            for row, truth in zip(rows[chosen], gas[chosen], strict=True)
        ]
        shares.append(np.mean(right))
    assert 0.5 <= np.mean(shares) <= 0.75, shares
