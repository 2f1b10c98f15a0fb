"""Log-mel spectrograms, against the definition of the transform."""

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import (
    InputWindow,
    MissingPolicy,
    Preprocess,
    Spectrogram,
    Tensor,
    Transform,
    decode_manifest,
    encode_value,
)
from edgeops.errors import ArtifactError, InputError
from edgeops.model.preprocess import Preprocessor, transform_windows
from edgeops.model.spectrogram import SpectrogramStage, mel_bands
from tests.golden.tiny import tiny_manifest

HERTZ = 8_000.0
ROWS = 1_000
WINDOW = InputWindow(columns=("audio",), rows=ROWS, rate_hz=HERTZ)
SPECTROGRAM = Spectrogram(frame=256, hop=100, bands=20, low_hz=50.0, high_hz=4_000.0, floor=1e-4)
RANDOM = np.random.default_rng(11)
NOISE = RANDOM.normal(size=(ROWS, 1)).astype(np.float32)
FRAMES = 8


def by_definition(readings, spectrogram):
    """Frame by frame, the transform as a sum of cosines and sines."""
    size = spectrogram.frame
    weights = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    turns = 2 * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size
    found = []
    for start in range(0, len(readings) - size + 1, spectrogram.hop):
        frame = readings[start : start + size].astype(np.float64) * weights
        power = (np.cos(turns) @ frame) ** 2 + (np.sin(turns) @ frame) ** 2
        found.append(np.log(power @ mel_bands(spectrogram, rate_hz=HERTZ) + spectrogram.floor))
    return np.array(found)


def tone(hertz):
    return np.sin(2 * np.pi * hertz * np.arange(ROWS) / HERTZ).astype(np.float32)[:, np.newaxis]


def test_energies_are_those_of_the_definition():
    expected = by_definition(NOISE[:, 0], SPECTROGRAM)
    assert expected.shape == (FRAMES, 20)
    assert SpectrogramStage(SPECTROGRAM, WINDOW)(NOISE) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("hertz", [300.0, 1_000.0, 3_000.0])
def test_a_tone_is_heard_in_the_band_that_is_centred_at_it(hertz):
    bands = mel_bands(SPECTROGRAM, rate_hz=HERTZ)
    loudest = SpectrogramStage(SPECTROGRAM, WINDOW)(tone(hertz)).argmax(axis=1)
    assert set(loudest.tolist()) <= set(np.argsort(bands[round(hertz / HERTZ * 256)])[-2:].tolist())


def test_silence_is_the_logarithm_of_the_floor():
    silence = SpectrogramStage(SPECTROGRAM, WINDOW)(np.zeros((ROWS, 1), np.float32))
    assert (silence == np.float32(np.log(1e-4))).all()


def test_bands_overlap_by_half_and_cover_all_between_the_first_and_the_last_centre():
    bands = mel_bands(SPECTROGRAM, rate_hz=HERTZ)
    heard = bands[bands.argmax(axis=0)[0] : bands.argmax(axis=0)[-1]].sum(axis=1)
    assert heard == pytest.approx(1.0)


def test_levelled_energies_are_those_of_a_sound_of_any_loudness():
    stage = SpectrogramStage(msgspec.structs.replace(SPECTROGRAM, levelled=True, floor=1e-3), WINDOW)
    found = stage(NOISE).copy()
    assert np.exp(found.astype(np.float64)).mean() == pytest.approx(1.001)
    assert stage(8 * NOISE) == pytest.approx(found, abs=1e-6)
    assert (stage(np.zeros_like(NOISE)) == np.float32(np.log(1e-3))).all()


def test_columns_of_a_band_stand_side_by_side_and_are_scaled_alike():
    window = InputWindow(columns=("left", "right"), rows=ROWS, rate_hz=HERTZ)
    both = np.concatenate([NOISE, tone(500.0)], axis=1)
    preprocess = Preprocess(spectrogram=SPECTROGRAM, multiply=tuple(np.linspace(0.5, 1.0, 20)))
    tensor = Tensor(name="in", shape=(1, FRAMES, 20, 2), dtype="float32")
    found = Preprocessor(preprocess, window, tensor, missing=MissingPolicy.REFUSE)(both)[0]
    for place in range(2):
        alone = transform_windows(
            both[np.newaxis, :, place : place + 1], preprocess, window=WINDOW, missing=MissingPolicy.REFUSE
        )
        assert found[..., place].tobytes() == alone[0].tobytes()


def test_a_quantized_model_reads_the_same_energies_in_steps():
    preprocess = Preprocess(spectrogram=SPECTROGRAM, multiply=(0.2,), add=(0.5,), clip=4.0)
    shape = (1, FRAMES, 20, 1)
    real = Preprocessor(
        preprocess, WINDOW, Tensor(name="in", shape=shape, dtype="float32"), missing=MissingPolicy.REFUSE
    )
    int8 = Tensor(name="in", shape=shape, dtype="int8", scale=0.04, zero_point=-5)
    steps = Preprocessor(preprocess, WINDOW, int8, missing=MissingPolicy.REFUSE)(NOISE)
    assert np.abs(steps - np.clip(np.rint(real(NOISE) / 0.04) - 5, -128, 127)).max() <= 1


def test_missing_readings_are_silence_or_refused():
    preprocess = Preprocess(spectrogram=SPECTROGRAM)
    tensor = Tensor(name="in", shape=(1, FRAMES, 20, 1), dtype="float32")
    broken, silent = NOISE.copy(), NOISE.copy()
    broken[[5, 900], 0], silent[[5, 900], 0] = (np.nan, np.inf), 0.0
    neutral = Preprocessor(preprocess, WINDOW, tensor, missing=MissingPolicy.NEUTRAL)
    assert neutral(broken).tobytes() == neutral(silent).tobytes()
    with pytest.raises(InputError, match="2 missing values in audio; the model refuses missing values"):
        Preprocessor(preprocess, WINDOW, tensor, missing=MissingPolicy.REFUSE)(broken)


def test_a_tensor_of_another_shape_is_refused():
    tensor = Tensor(name="in", shape=(1, ROWS), dtype="float32")
    with pytest.raises(ArtifactError, match="the spectrogram of the input window \\(8, 20\\)"):
        Preprocessor(Preprocess(spectrogram=SPECTROGRAM), WINDOW, tensor, missing=MissingPolicy.REFUSE)


def test_a_band_between_two_frequencies_is_refused():
    narrow = msgspec.structs.replace(SPECTROGRAM, bands=200)
    with pytest.raises(ArtifactError, match="holds no frequency of frames of 256 rows at 8000 Hz; take fewer bands"):
        SpectrogramStage(narrow, WINDOW)


@pytest.mark.parametrize(
    ("window", "preprocess", "reason"),
    [
        ({"rate_hz": None}, {}, "a spectrogram needs the rate of rows"),
        ({"rows": 200}, {}, "frames of 256 rows do not fit into a window of 200"),
        ({"rate_hz": 4_000.0}, {}, "rows at 4000 Hz tell of frequencies up to half of that"),
        ({}, {"transform": Transform.SIGNED_LOG1P}, "a spectrogram is a logarithm already"),
        ({}, {"multiply": (1.0, 2.0)}, "preprocess.multiply has 2 entries for 20 bands; give 1 or 20"),
    ],
)
def test_a_manifest_that_asks_for_what_cannot_be_is_refused(window, preprocess, reason):
    manifest = msgspec.structs.replace(
        tiny_manifest(),
        window=msgspec.structs.replace(WINDOW, **window),
        preprocess=Preprocess(spectrogram=SPECTROGRAM, **preprocess),
        channels=(),
    )
    with pytest.raises(ArtifactError, match=reason):
        decode_manifest(encode_value(manifest))
