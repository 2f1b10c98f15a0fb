"""Sixteen ageing gas sensors: learnt from their first two batches, judged on rows that were held back."""

from collections.abc import Iterator

import numpy as np
import pytest

from edgeops.artifact.manifest import ChannelKind, Transform
from edgeops.data.splits import Split
from edgeops.drift.finding import Finding, Verdict
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.verdict import judge_fleet
from edgeops.model.model import Model
from edgeops.sketch.window import Sketch, Sketcher
from fleet_server.datasets.snapshot import read_snapshot
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


class Fleet:
    """Three devices with the int8 file, two windows each; what they saw of a batch."""

    def __init__(self, desk: Desk, trained: Job) -> None:
        self.model = Model.load(desk.blobs.path(desk.artifacts(trained)["int8"].digest))
        with np.load(data_folder() / "gas_drift" / "gas_drift.npz") as source:
            rows, self.gas, self.batch = source["X"], source["gas"], source["batch"]
        self.channels = np.array([self.model.predict(row[np.newaxis]).channels for row in rows], np.float32)

    def judge(self, rows: np.ndarray, random: np.random.Generator) -> Finding:
        parts = np.array_split(random.permutation(rows), 6)
        fleet = {f"device-{place}": [self._sketch(parts[place]), self._sketch(parts[place + 3])] for place in range(3)}
        assert self.model.reference is not None
        return judge_fleet(self.model.reference, fleet, DriftPolicy(), channels=self.model.manifest.channels).fleet

    def mixed(self, rows: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
        """About so many of these rows, with gases in other shares; each row once."""
        gases = np.unique(self.gas[rows])
        wanted = np.rint(count * random.dirichlet(np.full(len(gases), 0.5))).astype(int)
        of_gases = (random.permutation(rows[self.gas[rows] == gas]) for gas in gases)
        return np.concatenate([own[:most] for own, most in zip(of_gases, wanted, strict=True)])

    def _sketch(self, rows: np.ndarray) -> Sketch:
        assert self.model.reference is not None
        sketcher = Sketcher(self.model.reference)
        sketcher.add(self.channels[rows])
        return sketcher.sketch()


@pytest.fixture(scope="module")
def fleet(desk: Desk, trained: Job) -> Iterator[Fleet]:
    fleet = Fleet(desk, trained)
    yield fleet
    fleet.model.close()


def test_gases_in_another_mix_are_named_so(fleet: Fleet) -> None:
    known, drifted = np.flatnonzero(fleet.batch <= 2), []
    for seed in range(60):
        random = np.random.default_rng(seed)
        found = fleet.judge(fleet.mixed(known, (150, 500)[seed % 2], random), random)
        drifted += [found] if found.verdict is Verdict.DRIFT else []
    named = sum(found.class_mix_only for found in drifted)
    print(f"of 60 other mixes of batches 1 and 2 {len(drifted)} were found, {named} of them named")
    assert len(drifted) >= 40
    assert named >= 0.9 * len(drifted)


def test_sensors_that_age_are_no_other_mix_of_gases_whatever_the_mix(fleet: Fleet) -> None:
    found, named = 0, 0
    for batch in (3, 4, 5, 6, 8, 9):
        rows = np.flatnonzero(fleet.batch == batch)
        for seed in range(8):
            random = np.random.default_rng(seed)
            seen = random.permutation(rows)[:500] if seed % 2 else fleet.mixed(rows, 300, random)
            finding = fleet.judge(seen, random)
            found, named = found + (finding.verdict is Verdict.DRIFT), named + finding.class_mix_only
    print(f"of 48 looks at later batches {found} were found, {named} were taken for another mix")
    assert found == 48
    assert named == 0


def test_eighty_rows_over_three_devices_show_that_the_sensors_aged(fleet: Fleet) -> None:
    """Batch 4 is small, and what a fleet shows must not rest on any single device."""
    rows = np.flatnonzero(fleet.batch == 4)
    for seed in range(10):
        random = np.random.default_rng(seed)
        finding = fleet.judge(random.permutation(rows)[:80], random)
        assert finding.verdict is Verdict.DRIFT
        assert not finding.class_mix_only
