"""Regressions, from a snapshot to artifacts that answer in units, are judged, and say how far off they may be."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from device_agent.judging import Summary, answers
from edgeops.artifact.manifest import ChannelKind, Task, Transform, Variant
from edgeops.artifact.package import open_artifact, tflite_part
from edgeops.data.splits import Split
from edgeops.drift.finding import Kind, Verdict
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.verdict import judge
from edgeops.errors import DatasetError
from edgeops.model.golden import check_golden
from edgeops.model.model import Model
from edgeops.rollout.agreement import agreement_of
from edgeops.sketch.window import Sketcher
from fleet_server.datasets.snapshot import SnapshotFile
from fleet_server.ml import frames
from fleet_server.ml.recipes.names import RecipeName
from tests.ml.numbers import Built, number_snapshot, write_levels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("plain"), write_levels())


@pytest.fixture(scope="module")
def decades(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("decades"), write_levels(decades=True))


def answered(model: Model, snapshot: SnapshotFile) -> np.ndarray:
    return np.array([model.predict(row[np.newaxis]).answer for row in snapshot.only(Split.EVALUATION).values])


@pytest.mark.parametrize("which", ["plain", "decades"])
def test_both_variants_answer_in_units_as_their_metrics_say(which: str, request: pytest.FixtureRequest) -> None:
    built: Built = request.getfixturevalue(which)
    truths = built.snapshot.only(Split.EVALUATION).targets
    for variant, file in built.files.items():
        model = Model.load(file)
        metrics = model.manifest.metrics
        errors = np.abs(answered(model, built.snapshot) - truths)
        assert metrics["mae"] == pytest.approx(errors.mean(), rel=1e-4)
        assert metrics["mae"] < 0.35 * metrics["baseline-mae"], metrics
        assert built.descriptors[variant].promotion.passed, built.descriptors[variant].promotion.failures
        assert check_golden(model, model.golden).ok


def test_a_manifest_says_what_the_number_is(plain: Built, decades: Built) -> None:
    for built, units, transform in ((plain, "bar", Transform.NONE), (decades, "ppm", Transform.SIGNED_LOG1P)):
        manifest = built.descriptors[Variant.INT8].manifest
        assert manifest.task is Task.REGRESSION
        assert (manifest.output.units, manifest.output.transform, manifest.output.labels) == (units, transform, ())
        assert manifest.outputs[manifest.output.answer].shape == (1, 1)
        assert [channel.kind for channel in manifest.channels].count(ChannelKind.ANSWER) == 1


def test_int8_steps_are_relative_where_a_logarithm_is_learnt(decades: Built) -> None:
    model = Model.load(decades.files[Variant.INT8])
    truths, found = decades.snapshot.only(Split.EVALUATION).targets, answered(model, decades.snapshot)
    low = truths < 10
    assert len(set(found[low])) > low.sum() / 2, "256 even steps up to a thousand would leave two below 10"
    tensor = model.manifest.outputs[model.manifest.output.answer]
    assert tensor.scale < 0.04, "a step of the logarithm: 4 %"


def test_the_agent_answers_bit_for_bit_as_the_server_judged(decades: Built, tmp_path: Path) -> None:
    rows, file = decades.snapshot.only(Split.EVALUATION), tmp_path / "rows.csv"
    lines = [",".join(decades.snapshot.schema.columns)]
    lines += [",".join(repr(float(value)) for value in row) for row in rows.values]
    file.write_text("\n".join(lines))
    model = Model.load(decades.files[Variant.INT8])
    on_device = list(answers(model, file, Summary()))
    assert [one.answer for one in on_device] == answered(model, decades.snapshot).tolist()
    assert on_device[0].label.endswith(" ppm")


@pytest.mark.long  # of tables of classes it is shown in every run
def test_the_same_seed_repeats_every_byte_and_another_does_not(plain: Built, tmp_path: Path) -> None:
    again, other = Built(tmp_path / "again", plain.snapshot), Built(tmp_path / "other", plain.snapshot, seed=1)
    for variant, file in plain.files.items():
        assert again.files[variant].read_bytes() == file.read_bytes()
        assert other.files[variant].read_bytes() != file.read_bytes()


def test_nine_of_ten_truths_lie_within_the_intervals_that_the_file_carries(plain: Built) -> None:
    model = Model.load(plain.files[Variant.INT8])
    reference = model.reference
    assert reference is not None
    widths = reference.half_widths()
    assert widths is not None
    assert model.manifest.metrics["coverage-90"] == pytest.approx(0.9, abs=0.06)
    fresh = write_levels(rows=3_000)
    found = np.array([model.predict(row[np.newaxis]).answer for row in fresh.rows.values], np.float32)
    edges = reference.grid.edges[reference.names.index("answer")]
    within = np.abs(found - fresh.rows.targets) <= widths[edges.searchsorted(found, side="right")]
    assert within.mean() == pytest.approx(0.9, abs=0.05)


def test_the_card_speaks_of_errors_in_units(decades: Built) -> None:
    artifact = open_artifact(decades.files[Variant.INT8])
    for part in (
        "A regression model: it reads a row of 4 columns (X0, X1, X2, X3) and answers with `level` in ppm",
        f"mean error\n{artifact.manifest.metrics['mae']:.4g} ppm",
        "so that errors are relative ones",
        "| answer, ppm | nine of ten truths within |",
        "always answering the median",
    ):
        assert part in artifact.card, artifact.card
    assert "accuracy" not in artifact.card
    assert "class" not in artifact.card.replace("classification", "")


def test_a_number_that_moves_is_prediction_drift_and_one_that_does_not_is_stable(plain: Built) -> None:
    model = Model.load(plain.files[Variant.INT8])
    reference, random = model.reference, np.random.default_rng(8)
    assert reference is not None
    for shift, verdict in ((0.0, Verdict.STABLE), (1.5, Verdict.DRIFT)):
        windows = []
        for _ in range(3):
            sketcher = Sketcher(reference)
            for row in random.uniform(-1.7, 1.7, size=(300, 4)):
                row[0] += shift
                sketcher.push(model.predict(row[np.newaxis].astype(np.float32)).channels)
            windows.append(sketcher.sketch())
        finding = judge(reference, windows, DriftPolicy(), channels=model.manifest.channels)
        assert finding.verdict is verdict, finding.reason
        assert (Kind.PREDICTION in finding.kinds) is bool(shift)


def test_two_versions_are_compared_by_a_rollout_in_units_of_the_old_ones_error(plain: Built, tmp_path: Path) -> None:
    other = Built(tmp_path, plain.snapshot, seed=1)
    manifests = [built.descriptors[Variant.INT8].manifest for built in (plain, other)]
    agreement = agreement_of(*manifests)
    assert agreement is not None
    old_error = manifests[0].metrics["mae"]
    assert agreement.take(1.0, 1.0 + 1.1 * old_error)
    assert not agreement.take(1.0, 1.0 + 0.9 * old_error)


def test_a_version_trained_on_wrong_numbers_loses_to_its_champion(plain: Built, tmp_path: Path) -> None:
    snapshot = plain.snapshot
    learns = snapshot.splits != Split.EVALUATION
    wrong = np.where(learns, snapshot.rows.targets + 0.4, snapshot.rows.targets).astype(np.float32)
    spoilt = replace(snapshot, rows=replace(snapshot.rows, targets=wrong))
    promotion = Built(tmp_path / "spoilt", spoilt, champion=plain).descriptors[Variant.INT8].promotion
    assert "is-not-inferior: mean error" in promotion.failures
    assert "may have learnt" not in promotion.failures
    unknown = Built(tmp_path / "unknown", snapshot, champion=plain, champion_snapshot=None).descriptors[Variant.INT8]
    assert f"may have learnt from {(~learns).sum()} of them" in unknown.promotion.rules[2].reason
    same = Built(tmp_path / "same", snapshot, champion=plain, seed=2).descriptors[Variant.INT8].promotion
    assert same.passed, same.failures
    assert "may have learnt" not in same.rules[2].reason


def test_a_model_of_noise_fails_its_gate(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    noise = number_snapshot(random.normal(size=(400, 4)), random.normal(size=400))
    promotion = Built(tmp_path, noise, epochs=3).descriptors[Variant.INT8].promotion
    assert not promotion.passed
    assert promotion.failures.startswith("beats-the-median: mean error")


def test_an_image_is_read_like_a_gauge(tmp_path: Path) -> None:
    """A bright row whose height is the number."""
    random = np.random.default_rng(4)
    heights = random.uniform(0, 7, 500)
    offsets = np.arange(8)[None, :, None] - heights[:, None, None]
    images = np.exp(-(offsets**2)) * np.ones((1, 1, 8)) + 0.05 * random.random((500, 8, 8))
    gauge = number_snapshot(np.clip(images, 0, 1).reshape(500, 64), heights, units="mm", shape=(8, 8))
    descriptor = Built(tmp_path, gauge, recipe=RecipeName.CNN, epochs=15).descriptors[Variant.INT8]
    assert descriptor.manifest.metrics["mae"] < 0.5, descriptor.manifest.metrics
    assert descriptor.promotion.passed, descriptor.promotion.failures


def test_a_regression_is_not_healed_by_bought_labels(plain: Built, tmp_path: Path) -> None:
    nominated = tmp_path / "nominated"
    nominated.write_bytes(msgspec.msgpack.encode([]))
    healing = frames.Healing(label_weight=5.0, inputs=b"", nominated=str(nominated))
    with pytest.raises(DatasetError, match="only classifiers are healed by bought labels; level does regression"):
        Built(tmp_path, plain.snapshot, champion=plain, healing=healing)


def test_every_variant_that_is_asked_for_is_built_and_judged_beside_float32(plain: Built, tmp_path: Path) -> None:
    built = Built(tmp_path, plain.snapshot, variants=(Variant.DYNAMIC, Variant.FLOAT16))
    assert list(built.files) == [Variant.FLOAT32, Variant.FLOAT16, Variant.DYNAMIC]
    assert built.files[Variant.FLOAT32].read_bytes() == plain.files[Variant.FLOAT32].read_bytes()
    sizes = {}
    for variant, file in built.files.items():
        descriptor, model = built.descriptors[variant], Model.load(file)
        assert descriptor.promotion.passed, descriptor.promotion.failures
        assert any("mean error added to that of float32" in rule.reason for rule in descriptor.promotion.rules)
        assert [tensor.dtype for tensor in model.manifest.inputs + model.manifest.outputs] == ["float32"] * 3
        assert model.manifest.requirements.ops["FULLY_CONNECTED"] < 12, "tflite-runtime 2.14 refuses version 12"
        assert check_golden(model, model.golden).ok
        sizes[variant] = len(tflite_part(file.read_bytes()))
    assert sizes[Variant.DYNAMIC] < sizes[Variant.FLOAT16] < sizes[Variant.FLOAT32]
