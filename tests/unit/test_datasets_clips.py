"""Recordings: a row of an array is one recording and one input window."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeops.artifact.manifest import InputWindow
from edgeops.data.clip import Clip
from edgeops.data.splits import Split
from edgeops.errors import ConfigError, DatasetError
from fleet_server.datasets.forgetting import without_group
from fleet_server.datasets.inspecting import inspect_file
from fleet_server.datasets.snapshot import SnapshotFile, export_rows
from fleet_server.ml.recipes import cnn, dense, signals
from fleet_server.ml.windows import cut_windows, paced
from tests.imported import import_file

CLIPS, READINGS, HERTZ = 60, 5_000, 8_000
RANDOM = np.random.default_rng(5)
SOUND = RANDOM.normal(size=(CLIPS, READINGS)).astype(np.float32)
WORD = np.arange(CLIPS) % 3
SPEAKER = np.array(["ann", "bob", "cem", "dan"])[np.arange(CLIPS) // 15]


def load(folder: Path, sound: np.ndarray[Any, Any] = SOUND, **rules: Any) -> SnapshotFile:
    path = folder / "words.npz"
    np.savez(path, X=sound, y=WORD, speaker=SPEAKER)
    return import_file(path, file_name="words.npz", **{"label": "y", "clip_hz": HERTZ, **rules})


def refusal(folder: Path, sound: np.ndarray[Any, Any] = SOUND, **rules: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        load(folder, sound, **rules)
    return str(caught.value)


def test_a_row_is_a_recording_of_one_channel(tmp_path: Path) -> None:
    snapshot = load(tmp_path)
    schema = snapshot.schema
    assert (schema.columns, schema.shape, schema.clip) == (("audio",), (1,), Clip(rows=READINGS, rate_hz=HERTZ))
    assert np.array_equal(snapshot.rows.values, SOUND)
    (channel,) = schema.statistics
    train = SOUND[snapshot.splits == Split.TRAIN]
    assert (channel.minimum, channel.maximum, channel.missing) == (train.min(), train.max(), 0)
    assert channel.std == pytest.approx(train.std(dtype=np.float64))


def test_several_channels_are_numbered_and_told_apart(tmp_path: Path) -> None:
    sound = SOUND.reshape(CLIPS, READINGS // 2, 2) * np.array([1, 100], dtype=np.float32)
    snapshot = load(tmp_path, sound)
    assert (snapshot.schema.columns, snapshot.schema.clip) == (("audio0", "audio1"), Clip(rows=2_500, rate_hz=HERTZ))
    left, right = snapshot.schema.statistics
    assert right.std == pytest.approx(100 * left.std, rel=0.05)
    assert np.array_equal(snapshot.rows.readings(snapshot.schema)[: READINGS // 2], sound[0])


def test_each_recording_is_one_window_whatever_its_split(tmp_path: Path) -> None:
    snapshot = load(tmp_path)
    rows = snapshot.only(Split.TRAIN)
    plan = signals.plan(snapshot.schema, rows.readings(snapshot.schema), rows.targets, {})
    window = InputWindow(columns=("audio",), rows=READINGS, stride=READINGS, rate_hz=HERTZ, max_gap_s=0.000375)
    assert plan.window == paced(window, snapshot) == window
    cut = cut_windows(snapshot, window)
    judged = cut.only(Split.EVALUATION)
    assert np.array_equal(judged.values[..., 0], SOUND[snapshot.splits == Split.EVALUATION])
    assert np.array_equal(judged.classes, WORD[snapshot.splits == Split.EVALUATION])
    assert not cut.is_ordered
    assert cut.words[0].startswith(f"recordings of {READINGS} rows")


def test_windows_of_recordings_are_not_cut_again_but_a_device_may_answer_more_often(tmp_path: Path) -> None:
    schema = load(tmp_path).schema
    assert dense.plan(schema, SOUND.reshape(-1, 1), WORD, {"stride": "1000"}).window.stride == 1_000
    for name in ("window", "rate"):
        with pytest.raises(ConfigError, match=f"one window of 5000 readings; leave out {name}"):
            dense.plan(schema, SOUND.reshape(-1, 1), WORD, {name: "64"})
    with pytest.raises(ConfigError, match="the rows of this dataset are recordings"):
        cnn.plan(schema, SOUND, WORD, {})


def test_a_reading_that_is_none_refuses_its_recording(tmp_path: Path) -> None:
    sound = SOUND.copy()
    sound[7, 30], sound[9, 40] = np.inf, np.nan
    assert refusal(tmp_path, sound).startswith(
        "words.npz, row 7, column 'X': 'inf' does not fit a 32-bit float; row 9, column 'X': is empty"
    )
    kept = load(tmp_path, sound, bad_rows="quarantine")
    assert kept.rows.ids.tolist() == [one for one in range(CLIPS) if one not in (7, 9)]
    assert kept.schema.refused == {"not-finite": 1, "missing": 1}
    assert "row 7, column 'X': '900.0' is out of range" in refusal(
        tmp_path, np.where(np.isfinite(sound), sound, np.float32(900)), columns={"X": {"maximum": 800.0}}
    )


def test_recordings_are_converted_as_columns_are(tmp_path: Path) -> None:
    converted = load(tmp_path, columns={"X": {"unit": "m/s2", "from": "g"}})
    assert converted.rows.values[0] == pytest.approx(SOUND[0] * 9.80665)


def test_what_is_no_recording_is_told(tmp_path: Path) -> None:
    assert "5000 columns, the most is 4096; of recordings say" in refusal(tmp_path, clip_hz=None)
    assert "array 'X' has rows of shape (10, 20, 25)" in refusal(tmp_path, SOUND.reshape(CLIPS, 10, 20, 25))
    assert "clips are the rows of one array, and there is speaker" in refusal(tmp_path, features=["speaker"])
    assert "one array, and there is X, y to learn" in refusal(tmp_path, label="speaker", features=["X", "y"])
    path = tmp_path / "words.csv"
    path.write_text("a,y\n1,2\n")
    with pytest.raises(DatasetError, match="clips are the rows of one array"):
        import_file(path, file_name="words.csv", label="y", clip_hz=HERTZ)


def test_recordings_of_text_are_told(tmp_path: Path) -> None:
    assert "array 'X' holds text; recordings are numbers" in refusal(tmp_path, np.full((CLIPS, 4), "a"))


def test_recordings_are_played_as_such_and_not_inspected_reading_by_reading(tmp_path: Path) -> None:
    snapshot = load(tmp_path)
    with np.load(io.BytesIO(export_rows(snapshot, Split.EVALUATION)), allow_pickle=False) as archive:
        assert archive["X"].shape == (snapshot.schema.split_rows[2], READINGS, 1)
        assert archive["rate_hz"].tolist() == [HERTZ]
        assert np.array_equal(archive["X"][..., 0], SOUND[archive["id"]])
    found = inspect_file(tmp_path / "words.npz", file_name="words.npz")
    assert [one.column for one in found.columns] == ["y", "speaker"]
    assert found.apart == ("X",)


def test_recordings_are_forgotten_with_their_speaker(tmp_path: Path) -> None:
    left = without_group(load(tmp_path, group="speaker"), "ann")
    assert left.schema.clip == Clip(rows=READINGS, rate_hz=HERTZ)
    assert len(left.schema.statistics) == 1
    assert left.rows.ids.min() == 15
