"""The recipe autoencoder: what cannot be rebuilt is an alarm, in int8 as in float."""

from pathlib import Path

import numpy as np
import pytest

from device_agent.judging import Summary, answers
from edgeops.artifact.manifest import Task, Variant
from edgeops.artifact.package import open_artifact
from edgeops.data.splits import Split
from edgeops.errors import ConfigError
from edgeops.model.golden import check_golden
from edgeops.model.model import Model
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.ml.windows import cut_windows
from tests.ml.machines import write_machines
from tests.ml.numbers import Built, write_levels

pytestmark = pytest.mark.slow

ASKED = {"window": "20", "stride": "5", "margin": "1.25"}


@pytest.fixture(scope="module")
def pumps(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("pumps")
    return Built(folder, write_machines(), recipe=RecipeName.AUTOENCODER, options=ASKED)


def test_a_fault_of_a_machine_that_was_never_seen_cannot_be_rebuilt(pumps: Built) -> None:
    for descriptor in pumps.descriptors.values():
        manifest = descriptor.manifest
        assert manifest.task is Task.ANOMALY
        assert descriptor.promotion.passed, descriptor.promotion.reasons
        assert manifest.metrics["auc"] > 0.95, manifest.metrics
        assert manifest.metrics["recall"] > 0.7, manifest.metrics
        assert manifest.metrics["false-alarm-rate"] < 0.1, manifest.metrics


def test_an_int8_score_is_that_of_float_within_a_few_steps_as_far_as_it_reaches(pumps: Built) -> None:
    float32, int8 = (Model.load(pumps.files[variant]) for variant in (Variant.FLOAT32, Variant.INT8))
    score, threshold = int8.manifest.outputs[int8.manifest.output.answer], int8.manifest.output.threshold
    assert threshold is not None
    assert 50 < threshold / score.scale < 80
    windows = cut_windows(pumps.snapshot, int8.manifest.window).only(Split.EVALUATION).values
    exact, rounded = (np.array([model.predict(one).answer for one in windows]) for model in (float32, int8))
    reached = exact < 3 * threshold
    assert reached.sum() > 50
    assert np.abs(exact - rounded)[reached].max() < 6 * score.scale
    assert (rounded[~reached] > threshold).all()


def test_the_loop_of_a_device_scores_bit_for_bit_as_the_server_judged(pumps: Built, tmp_path: Path) -> None:
    rows, file = pumps.snapshot.only(Split.EVALUATION), tmp_path / "rows.csv"
    lines = [",".join(pumps.snapshot.schema.columns)]
    lines += [",".join(repr(float(value)) for value in row) for row in rows.values]
    file.write_text("\n".join(lines))
    model = Model.load(pumps.files[Variant.INT8])
    windows = cut_windows(pumps.snapshot, model.manifest.window).only(Split.EVALUATION)
    judged = [model.predict(window).answer for window in windows.values]
    assert [one.answer for one in answers(model, file, Summary())] == judged
    assert check_golden(model, model.golden).ok


def test_the_embedding_is_what_a_window_is_rebuilt_from(pumps: Built) -> None:
    model = Model.load(pumps.files[Variant.FLOAT32])
    window = pumps.snapshot.only(Split.TRAIN).values[:20]
    embedding = model.predict(window).embedding
    assert embedding is not None
    assert embedding.shape == (8,)
    assert model.manifest.requirements.ops["BATCH_MATMUL"] <= 2, "tflite-runtime 2.14 has it"


def test_the_card_says_what_was_learnt_and_where_an_alarm_begins(pumps: Built) -> None:
    card = open_artifact(pumps.files[Variant.INT8]).card
    for part in ("loss: the score of normal windows", "weights of epoch", "an alarm begins at"):
        assert part in card, card


def test_the_same_seed_repeats_every_byte_of_an_autoencoder(pumps: Built, tmp_path: Path) -> None:
    again = Built(tmp_path, pumps.snapshot, recipe=RecipeName.AUTOENCODER, options=ASKED)
    for variant, file in pumps.files.items():
        assert again.files[variant].read_bytes() == file.read_bytes()


def test_single_rows_are_rebuilt_from_fewer_numbers_than_they_hold(tmp_path: Path) -> None:
    built = Built(tmp_path, write_machines(), recipe=RecipeName.AUTOENCODER, options={}, epochs=3)
    manifest = built.descriptors[Variant.FLOAT32].manifest
    assert manifest.outputs[manifest.output.embedding or 0].shape == (1, 1)


def test_anomalies_are_all_that_an_autoencoder_learns(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe autoencoder learns anomalies; import the dataset with --task anom"):
        Built(tmp_path, write_levels(), recipe=RecipeName.AUTOENCODER)
