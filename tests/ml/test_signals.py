"""Models of windows, from a snapshot to artifacts that devices answer with alike."""

from pathlib import Path

import numpy as np
import pytest

from device_agent.judging import Summary, answers
from edgeops.artifact.manifest import ChannelKind, InputWindow, Task, Variant
from edgeops.artifact.package import open_artifact
from edgeops.data.splits import Split
from edgeops.errors import DatasetError
from edgeops.model.golden import check_golden
from edgeops.model.model import Model
from edgeops.model.windowing import WindowBuffer
from fleet_server.ml import frames
from fleet_server.ml.recipes.names import RecipeName
from tests.ml.numbers import Built
from tests.ml.signals import HERTZ, write_waves

pytestmark = pytest.mark.slow

ASKED = {"window": "32", "stride": "8"}


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("waves"), write_waves(), recipe=RecipeName.SIGNALS, options=ASKED)


def test_signals_of_different_frequency_are_told_apart_and_int8_loses_a_point_at_most(waves: Built) -> None:
    float32, int8 = (waves.descriptors[variant] for variant in (Variant.FLOAT32, Variant.INT8))
    assert float32.manifest.metrics["accuracy"] >= 0.9, float32.manifest.metrics
    assert int8.manifest.metrics["accuracy"] >= float32.manifest.metrics["accuracy"] - 0.01
    assert int8.promotion.passed, int8.promotion.failures
    assert [tensor.dtype for tensor in int8.manifest.inputs + int8.manifest.outputs] == ["int8"] * 3


def test_a_manifest_says_which_rows_one_answer_sees(waves: Built) -> None:
    manifest = waves.descriptors[Variant.INT8].manifest
    columns = waves.snapshot.schema.columns
    assert manifest.window == InputWindow(columns=columns, rows=32, stride=8, rate_hz=HERTZ, max_gap_s=0.06)
    kinds = [channel.kind for channel in manifest.channels]
    assert kinds[:6] == [ChannelKind.MEAN, ChannelKind.STD, ChannelKind.PEAK] * 2
    assert manifest.requirements.ops["DEPTHWISE_CONV_2D"] >= 1


def test_the_loop_of_a_device_answers_as_the_server_judged(waves: Built, tmp_path: Path) -> None:
    """A machine that was never learnt from, reading by reading."""
    rows, file = waves.snapshot.only(Split.EVALUATION), tmp_path / "rows.csv"
    lines = [",".join(waves.snapshot.schema.columns)]
    lines += [",".join(repr(float(value)) for value in row) for row in rows.values]
    file.write_text("\n".join(lines))
    for variant, path in waves.files.items():
        model = Model.load(path)
        said = [one.answer for one in answers(model, file, Summary())]
        truths = rows.classes[31::8]
        assert len(said) == len(truths) == model.manifest.metrics["rows"]
        assert np.mean(said == truths) == pytest.approx(model.manifest.metrics["accuracy"], abs=1e-6), variant
        assert check_golden(model, model.golden).ok


def test_the_reference_knows_what_windows_usually_look_like(waves: Built) -> None:
    model = Model.load(waves.files[Variant.INT8])
    profile = model.reference
    assert profile is not None
    assert profile.ordered
    buffer, readings = WindowBuffer(model.manifest.window), waves.snapshot.only(Split.EVALUATION).values
    windows = [window for row in readings if (window := buffer.push(row, None)) is not None]
    channels = model.predict(windows[0]).channels
    assert channels[1] == pytest.approx(windows[0][:, 0].std(), rel=1e-5)


def test_the_card_speaks_of_windows(waves: Built) -> None:
    card = open_artifact(waves.files[Variant.INT8]).card
    for part in (
        "it reads a window of 32 rows of 2 columns (X0, X1)",
        "windows of 32 rows, every 8 rows, at 50 rows a second: ",
        "windows hold rows of several classes, and nothing is learnt from them",
    ):
        assert part in card, card


@pytest.mark.long  # of tables of classes it is shown in every run
def test_the_same_seed_repeats_every_byte_of_a_model_of_windows(waves: Built, tmp_path: Path) -> None:
    again = Built(tmp_path, waves.snapshot, recipe=RecipeName.SIGNALS, options=ASKED)
    for variant, file in waves.files.items():
        assert again.files[variant].read_bytes() == file.read_bytes()


@pytest.mark.parametrize(("recipe", "share"), [(RecipeName.SIGNALS, 0.3), (RecipeName.DENSE, 0.7)])
def test_a_frequency_is_learnt_as_a_number_of_hertz(recipe: RecipeName, share: float, tmp_path: Path) -> None:
    """A share of the error of always answering the median; a dense network must learn each phase by itself."""
    built = Built(tmp_path, write_waves(numbers=True), recipe=recipe, options=ASKED, epochs=15)
    for descriptor in built.descriptors.values():
        manifest = descriptor.manifest
        assert (manifest.task, manifest.window.rows) == (Task.REGRESSION, 32)
        assert manifest.metrics["mae"] < share * manifest.metrics["baseline-mae"], manifest.metrics


def test_a_champion_of_other_windows_is_not_compared_with(waves: Built, tmp_path: Path) -> None:
    snapshot = write_waves(numbers=True, rows=80)
    champion = Built(tmp_path / "old", snapshot, options=ASKED, epochs=2)
    other = Built(tmp_path / "new", snapshot, options={"window": "16"}, epochs=2, champion=champion)
    assert "no champion" in other.descriptors[Variant.INT8].promotion.rules[2].reason


def test_a_model_of_windows_is_not_healed_by_single_rows(waves: Built, tmp_path: Path) -> None:
    healing = frames.Healing(label_weight=5.0, inputs=b"", nominated="")
    with pytest.raises(DatasetError, match="level reads 32 rows at once, and what devices nominate are single rows"):
        Built(
            tmp_path,
            waves.snapshot,
            recipe=RecipeName.SIGNALS,
            options=ASKED,
            champion=waves,
            healing=healing,
        )
