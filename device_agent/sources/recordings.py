"""Recordings: a folder of WAV files, or in an npz `X` of (recordings, readings[, channels]) with `rate_hz` beside it.

Each is played reading by reading under one id. Between two of them lies a gap in time, so that no input window holds
readings of both and each begins with a recording.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from device_agent.sources.folder import is_folder, recording_rate
from edgeops.artifact.manifest import InputWindow
from edgeops.errors import DatasetError
from edgeops.npz import DAMAGED

RATE = "rate_hz"
_GAP_NS = 10**9


class Recording(NamedTuple):
    """What each recording of a file is."""

    readings: int
    rate_hz: float

    def at_ns(self, first: int, last: int) -> list[int]:
        """When the readings from `first` to `last`, counted over all recordings, come."""
        places = np.arange(first, last)
        played_ns = np.round(places * (1e9 / self.rate_hz)).astype(np.int64)
        times: list[int] = (played_ns + places // self.readings * _GAP_NS).tolist()
        return times


def recording_of(path: Path, window: InputWindow | None = None) -> Recording | None:
    """What the recordings of a file are; None = it holds rows. Those of a folder become as `window` reads them.

    Raises:
        DatasetError: unreadable, or the rate is no rate.
    """
    if is_folder(path):
        rate_hz = recording_rate(path)
        if rate_hz is None:
            return None
        return Recording(1, rate_hz) if window is None else Recording(window.rows, window.rate_hz or rate_hz)
    if path.suffix.lower() != ".npz":
        return None
    try:
        with np.load(path, allow_pickle=False) as file, zipfile.ZipFile(path) as archive:
            if RATE not in file or "X" not in file:
                return None
            rate = np.asarray(file[RATE])
            with archive.open("X.npy") as stored:
                version = np.lib.format.read_magic(stored)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, _ = read(stored)
    except DAMAGED as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    if rate.size != 1 or rate.dtype.kind not in "fiu" or not 0 < float(rate.reshape(-1)[0]) < np.inf:
        raise DatasetError(f"{path}: `{RATE}` is {rate!r}; store how many readings a recording has a second")
    if len(shape) not in {2, 3} or not shape[1]:
        raise DatasetError(f"{path}: `X` has shape {shape}; recordings are (recordings, readings[, channels])")
    return Recording(shape[1], float(rate.reshape(-1)[0]))


def require_rate(path: Path, window: InputWindow) -> None:
    """Refuse recordings of another rate than that of a model which does not resample its rows.

    Raises:
        DatasetError: names both.
    """
    recording = recording_of(path, window)
    if recording is None or window.rate_hz is None or window.resampling is not None:
        return
    if recording.rate_hz != window.rate_hz:
        raise DatasetError(
            f"{path} was recorded at {recording.rate_hz:g} Hz, the model reads {window.rate_hz:g} Hz; resample it"
        )
