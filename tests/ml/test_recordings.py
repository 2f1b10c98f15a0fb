"""Models of recordings, from a snapshot to artifacts that devices answer with alike."""

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest

from device_agent.judging import Summary, answers
from edgeops.artifact.manifest import ChannelKind, InputWindow, Variant
from edgeops.artifact.package import open_artifact
from edgeops.data.splits import Split
from edgeops.errors import ConfigError
from edgeops.model.golden import check_golden
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import SnapshotFile, export_rows
from fleet_server.ml.recipes import spectrogram
from fleet_server.ml.recipes.names import RecipeName
from tests.imported import import_file
from tests.ml.numbers import Built
from tests.ml.signals import write_waves

CLIPS, READINGS, HERTZ = 240, 800, 2_000.0


def write_chirps(folder: Path) -> SnapshotFile:
    """Tones that rise, fall or stay, somewhere between 200 and 600 Hz, of any loudness, in noise."""
    random = np.random.default_rng(17)
    kinds = np.arange(CLIPS) % 3
    slope = (np.array([600.0, -600.0, 0.0])[kinds] * random.uniform(0.8, 1.2, size=CLIPS))[:, np.newaxis]
    begins = np.where(kinds == 1, 550.0, random.uniform(220.0, 300.0, size=CLIPS))[:, np.newaxis]
    seconds = np.arange(READINGS) / HERTZ
    sound = np.sin(2 * np.pi * (begins * seconds + slope * seconds**2 / 2))
    sound = (sound + 0.3 * random.normal(size=sound.shape)) * random.uniform(0.1, 10.0, size=(CLIPS, 1))
    file = folder / "chirps.npz"
    np.savez(file, X=sound.astype(np.float32), y=np.array(["up", "down", "flat"])[kinds])
    return import_file(file, file_name="chirps.npz", label="y", clip_hz=HERTZ)


@pytest.fixture(scope="module")
def chirps(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("chirps")
    return Built(folder / "built", write_chirps(folder), recipe=RecipeName.SPECTROGRAM, epochs=12)


@pytest.mark.slow
def test_chirps_are_told_apart_and_int8_loses_two_points_at_most(chirps: Built) -> None:
    float32, int8 = (chirps.descriptors[variant].manifest for variant in (Variant.FLOAT32, Variant.INT8))
    assert float32.metrics["accuracy"] >= 0.9, float32.metrics
    assert int8.metrics["accuracy"] >= float32.metrics["accuracy"] - 0.02
    assert [tensor.dtype for tensor in int8.inputs + int8.outputs] == ["int8"] * 3
    assert int8.window == InputWindow(
        columns=("audio",), rows=READINGS, stride=READINGS, rate_hz=HERTZ, max_gap_s=3 / HERTZ
    )
    kinds = [channel.kind for channel in int8.channels]
    assert kinds[:4] == [ChannelKind.MEAN, ChannelKind.STD, ChannelKind.PEAK, ChannelKind.ANSWER]


@pytest.mark.slow
def test_a_device_answers_recordings_as_the_server_judged_them(chirps: Built, tmp_path: Path) -> None:
    file = tmp_path / "held-back.npz"
    file.write_bytes(export_rows(chirps.snapshot, Split.EVALUATION))
    with np.load(io.BytesIO(file.read_bytes())) as archive:
        ids = archive["id"]
    truths = dict(zip(chirps.snapshot.rows.ids.tolist(), chirps.snapshot.rows.classes.tolist(), strict=True))
    for path in chirps.files.values():
        model = Model.load(path)
        said = list(answers(model, file, Summary()))
        assert [one.id for one in said] == [str(one) for one in ids]
        right = np.mean([int(one.answer) == truths[int(one.id)] for one in said])
        assert right == pytest.approx(model.manifest.metrics["accuracy"], abs=1e-6)
        assert check_golden(model, model.golden).ok


@pytest.mark.slow
def test_the_card_speaks_of_recordings(chirps: Built) -> None:
    card = open_artifact(chirps.files[Variant.INT8]).card
    assert "a recording of 800 readings of 1 channel at 2000 Hz" in card, card
    assert "- recordings of 800 rows, at 2000 rows a second: " in card, card


def test_a_plan_of_slow_recordings_has_as_many_bands_as_hold_a_frequency_each(tmp_path: Path) -> None:
    snapshot = write_chirps(tmp_path)
    rows = snapshot.only(Split.TRAIN)

    def planned(**options: str) -> spectrogram.Plan:
        return spectrogram.plan(snapshot.schema, rows.readings(snapshot.schema), rows.targets, options)

    plan = planned()
    heard = plan.preprocess.spectrogram
    assert heard is not None
    assert (heard.frame, heard.hop, heard.high_hz, heard.levelled) == (64, 32, 1_000.0, True)
    assert 10 < heard.bands < 40
    assert plan.input_shape == (24, heard.bands, 1)
    assert len(plan.preprocess.multiply) == heard.bands
    assert planned(bands="12").input_shape == (24, 12, 1)
    with pytest.raises(ConfigError, match="option bands is '0'; give a number between 1 and 256"):
        planned(bands="0")
    # Loudness is no part of what is learnt.
    louder = spectrogram.plan(snapshot.schema, 8 * rows.readings(snapshot.schema), rows.targets, {})
    assert msgspec.structs.replace(louder.preprocess, add=()) == msgspec.structs.replace(plan.preprocess, add=())


def test_rows_that_are_no_recordings_are_refused() -> None:
    waves = write_waves(rows=40)
    rows = waves.only(Split.TRAIN)
    with pytest.raises(ConfigError, match="recipe spectrogram reads recordings; import the array with --clip-hz"):
        spectrogram.plan(waves.schema, rows.values, rows.targets, {"window": "16"})
