"""WAV files as a source of a device: each becomes one input window of the model, whatever its rate and length."""

import io
import wave
import zipfile

import numpy as np
import pytest

from device_agent.sources.recordings import recording_of, require_rate
from device_agent.sources.replay import ReplaySource
from edgeops.artifact.manifest import InputWindow
from edgeops.errors import DatasetError
from edgeops.model.recording import read_recording
from edgeops.model.windowing import WindowBuffer

RATE, READINGS = 8_000, 40
WINDOW = InputWindow(columns=("audio",), rows=READINGS, stride=READINGS, rate_hz=float(RATE), max_gap_s=3 / RATE)
RANDOM = np.random.default_rng(3)


def wav(readings, rate=RATE):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(RANDOM.integers(-3000, 3000, readings, dtype=np.int16).tobytes())
    return buffer.getvalue()


@pytest.fixture
def words(tmp_path):
    """A short, a long, and a fast recording."""
    files = {"no/1.wav": wav(30), "no/2.wav": wav(95), "yes/1.wav": wav(80, 2 * RATE)}
    for path, content in files.items():
        (tmp_path / "words" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "words" / path).write_bytes(content)
    return files


def answered(path, *, loop=False, most=10):
    """What a model would answer, and under which id."""
    source = ReplaySource(path, loop=loop)
    source.select(WINDOW.columns, WINDOW)
    push, found = WindowBuffer(WINDOW).push, []
    while len(found) < most and (rows := source.read(7)) is not None:
        for row, one, at_ns in zip(rows.values, rows.ids, rows.at_ns, strict=True):
            if (window := push(row, at_ns)) is not None:
                found.append((one, window[:, 0].copy()))
    return found


def test_each_file_is_answered_once_as_an_import_decodes_it(tmp_path, words):
    found = answered(tmp_path / "words")
    assert [one for one, _ in found] == sorted(words)
    for one, window in found:
        assert np.array_equal(window, read_recording(words[one], readings=READINGS, rate_hz=RATE))


def test_a_zip_and_a_single_file_are_played_too(tmp_path, words):
    with zipfile.ZipFile(tmp_path / "words.zip", "w") as archive:
        for path, content in words.items():
            archive.writestr(f"words/{path}", content)
    assert [one for one, _ in answered(tmp_path / "words.zip")] == sorted(words)
    assert [one for one, _ in answered(tmp_path / "words/no/2.wav")] == ["2.wav"]


def test_a_loop_plays_each_file_again_as_a_whole(tmp_path, words):
    assert [one for one, _ in answered(tmp_path / "words", loop=True, most=7)] == [
        *sorted(words),
        *sorted(words),
        "no/1.wav",
    ]


def test_files_play_at_the_rate_of_the_model_or_of_the_first_file(tmp_path, words):
    assert recording_of(tmp_path / "words", WINDOW).rate_hz == RATE
    assert recording_of(tmp_path / "words/yes").rate_hz == 2 * RATE
    require_rate(tmp_path / "words/yes", WINDOW)


def test_a_file_that_is_no_recording_is_named(tmp_path, words):
    (tmp_path / "words/no/3.wav").write_bytes(b"no recording")
    with pytest.raises(DatasetError, match=r"words, no/3\.wav: no WAV recording"):
        answered(tmp_path / "words")


def test_a_model_of_rows_without_a_rate_takes_no_recordings(tmp_path, words):
    source = ReplaySource(tmp_path / "words")
    with pytest.raises(DatasetError, match=r"the model takes the columns audio; replay CSV"):
        source.select(("audio",), InputWindow(columns=("audio",)))
