"""The promotion gate before real files: each of these models must fail it, and what they were made from passes.

A champion was trained on rows of three classes. Its replacements are built from doctored copies of its snapshot by the
worker's own code, or are its very file with another manifest.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import Descriptor, InputWindow, Manifest, Variant, decode_descriptor
from edgeops.artifact.package import open_artifact, package, tflite_part
from edgeops.data.splits import Split
from edgeops.digest import digest_bytes
from edgeops.learning.classification_promotion import Candidate, promote
from edgeops.learning.promotion import Champion, Measured
from edgeops.learning.promotion_policy import PromotionPolicy
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import SnapshotFile, encode_snapshot, read_snapshot
from fleet_server.db import datasets
from fleet_server.ml import frames
from fleet_server.ml.judging import judge_classes
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.ml.windows import cut_windows
from tests.ml.desk import Desk
from tests.ml.loop import write_world

pytestmark = pytest.mark.slow


class Bench:
    """A champion, its snapshot, and a worker that builds replacements."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.desk = Desk(folder / "data")
        self.desk.load(write_world(folder / "world.npz", rows=600), "table", label="y")
        artifacts = self.desk.artifacts(self.desk.train("table", RecipeName.DENSE))
        self.champion = {Variant(name): self.desk.blobs.path(one.digest) for name, one in artifacts.items()}
        with self.desk.database.read() as connection:
            head = datasets.head(connection, "table")
        assert head is not None
        self.snapshot = read_snapshot(self.desk.blobs.path(head.digest))

    def close(self) -> None:
        self.desk.close()

    def build(self, snapshot: SnapshotFile) -> Descriptor:
        """What the worker says of the int8 file of a replacement trained on this snapshot."""
        from fleet_server.ml.build import build

        file, nominated = self.folder / "snapshot.npz", self.folder / "nominated"
        file.write_bytes(encode_snapshot(snapshot))
        nominated.write_bytes(msgspec.msgpack.encode([]))
        healing = frames.Healing(
            label_weight=5.0,
            inputs=b"",
            nominated=str(nominated),
        )
        task = frames.Build(
            snapshot=str(file), snapshot_digest=digest_bytes(file.read_bytes()), model="table", version=2, run="run-1",
            recipe=RecipeName.DENSE, seed=0, epochs=None, options={}, commit="", built_at="", host="",
            destination=str(self.folder), healing=healing,
            champion={variant: str(path) for variant, path in self.champion.items()},
        )  # fmt: skip
        built = build(task, lambda *_: None)
        return next(decode_descriptor(one.descriptor) for one in built.variants if one.variant is Variant.INT8)

    def with_manifest(self, change: Manifest) -> Path:
        """The champion's int8 file under another manifest."""
        original = self.champion[Variant.INT8]
        artifact = open_artifact(original)
        data = package(
            tflite_part(original.read_bytes()),
            change,
            reference=artifact.reference,
            golden=artifact.golden,
            card=artifact.card,
        )
        path = self.folder / "changed.tflite"
        path.write_bytes(data)
        return path

    def judged(self, path: Path) -> Candidate:
        """A file as a replacement of the champion."""
        whole = cut_windows(self.snapshot, InputWindow(columns=self.snapshot.schema.columns))
        windows, answers = whole.only(Split.EVALUATION), {}
        for name, file in {**self.champion, "candidate": path}.items():
            model = Model.load(file)
            answers[name] = judge_classes(model, windows, classes=3).answers
            budgets = model.manifest.budgets
            model.close()
        return Candidate(
            classes=self.snapshot.schema.classes,
            evaluation=answers["candidate"],
            float32=answers[Variant.FLOAT32],
            champion=Champion(answers=answers[Variant.INT8], challenger=answers["candidate"]),
            recent=None,
            samples=None,
            is_brought=False,
            left_out=(),
            calibration=None,
            slices=(),
            columns=(),
            measured=Measured(size_bytes=1, memory_bytes=1, p95_latency_ms=0.1),
            budgets=budgets,
            policy=PromotionPolicy(),
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("gate"))
    yield bench
    bench.close()


def relabelled(snapshot: SnapshotFile, classes: np.ndarray) -> SnapshotFile:
    """The same rows; other classes for what is learnt from, the true ones for what judges."""
    judges = snapshot.splits == Split.EVALUATION
    return replace(snapshot, rows=replace(snapshot.rows, targets=np.where(judges, snapshot.rows.classes, classes)))


def failures(descriptor: Descriptor) -> list[str]:
    assert not descriptor.promotion.passed
    return [rule.reason for rule in descriptor.promotion.rules if not rule.passed]


def test_a_replacement_trained_on_the_same_rows_passes(bench: Bench) -> None:
    promotion = bench.build(bench.snapshot).promotion
    assert promotion.passed, promotion.failures
    assert promotion.unseen_rows == 120


def test_a_model_with_permuted_classes_fails(bench: Bench) -> None:
    failed = failures(bench.build(relabelled(bench.snapshot, (bench.snapshot.rows.classes + 1) % 3)))
    assert failed[0].startswith("accuracy 0.0")
    assert any("classes that collapsed: idle" in reason for reason in failed)


def test_a_model_trained_on_wrong_labels_fails(bench: Bench) -> None:
    random = np.random.default_rng(0)
    wrong = (bench.snapshot.rows.classes + random.integers(0, 3, len(bench.snapshot.rows))) % 3
    failed = failures(bench.build(relabelled(bench.snapshot, wrong)))
    assert "against the champion's" in failed[0]


@pytest.mark.parametrize("column", [0, 1])
def test_a_model_with_a_wrongly_scaled_channel_fails(bench: Bench, column: int) -> None:
    manifest = open_artifact(bench.champion[Variant.INT8]).manifest
    multiply = list(manifest.preprocess.multiply)
    multiply[column] *= 10
    wrong = msgspec.structs.replace(manifest.preprocess, multiply=tuple(multiply))
    promotion = promote(bench.judged(bench.with_manifest(msgspec.structs.replace(manifest, preprocess=wrong))))
    assert not promotion.passed
    assert promotion.failures.startswith("keeps-what-it-knew: accuracy")


def test_the_champion_itself_passes_as_its_own_replacement(bench: Bench) -> None:
    promotion = promote(bench.judged(bench.champion[Variant.INT8]))
    assert promotion.passed, promotion.failures
