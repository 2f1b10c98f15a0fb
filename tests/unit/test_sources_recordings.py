"""Recordings of an npz, played reading by reading."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from device_agent.sources.recordings import require_rate
from device_agent.sources.replay import ReplaySource
from edgeops.artifact.manifest import InputWindow, Resampling, TimeColumn
from edgeops.errors import DatasetError
from edgeops.model.windowing import WindowBuffer

CLIPS, READINGS, HERTZ = 3, 40, 8_000.0
SOUND = np.random.default_rng(2).normal(size=(CLIPS, READINGS)).astype(np.float32)
WINDOW = InputWindow(columns=("audio",), rows=READINGS, stride=10, rate_hz=HERTZ, max_gap_s=3 / HERTZ)


def written(folder: Path, **arrays: Any) -> Path:
    path = folder / "words.npz"
    np.savez(path, **{"X": SOUND, "rate_hz": HERTZ, **arrays})
    return path


def windows(source: ReplaySource, *, start: int = 0, chunk: int = 7) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """What is answered, and under which id."""
    source.select(("audio",))
    source.seek(start)
    push, found = WindowBuffer(WINDOW).push, []
    while (rows := source.read(chunk)) is not None and len(found) < 10:
        assert rows.at_ns is not None
        for row, one, at_ns in zip(rows.values, rows.ids, rows.at_ns, strict=True):
            if (window := push(row, at_ns)) is not None:
                found.append((one, window))
    return found


def test_each_recording_is_answered_once_under_its_number(tmp_path: Path) -> None:
    found = windows(ReplaySource(written(tmp_path)))
    assert [one for one, _ in found] == ["0", "1", "2"]
    assert np.array_equal([window[:, 0] for _, window in found], SOUND)


def test_a_recording_that_was_begun_by_another_model_is_left_to_it(tmp_path: Path) -> None:
    assert [one for one, _ in windows(ReplaySource(written(tmp_path)), start=5)] == ["1", "2"]


def test_a_loop_plays_each_recording_again_as_a_whole(tmp_path: Path) -> None:
    found = windows(ReplaySource(written(tmp_path), loop=True))
    assert [one for one, _ in found] == ["0", "1", "2"] * 3 + ["0"]


def test_recordings_have_names_and_channels_if_the_file_says_so(tmp_path: Path) -> None:
    both = np.stack([SOUND, -SOUND], axis=2)
    path = written(tmp_path, X=both, columns=["left", "audio"], id=["one", "two", "three"])
    found = windows(ReplaySource(path))
    assert [one for one, _ in found] == ["one", "two", "three"]
    assert np.array_equal(found[1][1][:, 0], -SOUND[1])


def test_all_readings_of_a_recording_are_of_its_moment_and_come_at_its_rate(tmp_path: Path) -> None:
    source = ReplaySource(written(tmp_path, at=np.array([10, 20, 30], "datetime64[s]")))
    source.select(("audio",), InputWindow(columns=("audio",), time=TimeColumn(name="at")))
    source.seek(READINGS - 1)
    rows = source.read(2)
    assert rows is not None
    assert rows.moments_ns == [10 * 10**9, 20 * 10**9]
    assert rows.at_ns == [39 * 125_000, 10**9 + 40 * 125_000]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"rate_hz": 0.0}, "store how many readings a recording has a second"),
        ({"rate_hz": "fast"}, "store how many readings a recording has a second"),
        ({"rate_hz": [1.0, 2.0]}, "store how many readings a recording has a second"),
        ({"X": SOUND[:, :0]}, "`X` has shape"),
        ({"X": SOUND.reshape(3, 4, 5, 2)}, r"recordings are \(recordings, readings\[, channels\]\)"),
        ({"X": SOUND.reshape(3, 20, 2)}, "2 columns, the model takes 1"),
        ({"id": ["one"]}, "1 ids for 3 rows"),
    ],
)
def test_what_is_no_recording_is_told(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        ReplaySource(written(tmp_path, **arrays)).select(("audio",))


def test_rows_without_a_rate_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, X=SOUND)
    with pytest.raises(DatasetError, match="has 40 columns, the model takes 1; of recordings store `rate_hz`, too"):
        ReplaySource(path).select(("audio",))


def test_recordings_of_another_rate_are_refused_unless_the_model_resamples_its_rows(tmp_path: Path) -> None:
    require_rate(written(tmp_path), WINDOW)
    with pytest.raises(DatasetError, match="was recorded at 16000 Hz, the model reads 8000 Hz; resample it"):
        require_rate(written(tmp_path, rate_hz=16_000), WINDOW)
    require_rate(written(tmp_path, rate_hz=16_000), replace(WINDOW, resampling=Resampling.LINEAR))
