"""Reads pictures and WAV recordings: one file, a folder or its zip, by its paths, as the import of a dataset does.

The columns tell which, and the size and the colours of pictures; the input window tells how long recordings are, and at
what rate. An input's id is its path.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_agent.sources.cells import checked_id
from edgeops.artifact.manifest import InputWindow
from edgeops.errors import DatasetError
from edgeops.folder import open_folder
from edgeops.limits import MAX_REPLAY_BYTES
from edgeops.model import picture as pictures
from edgeops.model import recording as recordings

#: Reads one file as its values (rows, columns).
_Decode = Callable[[bytes], NDArray[np.float32]]


def is_folder(path: Path) -> bool:
    """Whether it is a picture, a recording, a folder, or a zip of one."""
    return path.is_dir() or path.suffix.lower() in (*pictures.SUFFIXES, *recordings.SUFFIXES, ".zip")


def read_folder(
    path: Path, columns: Sequence[str], window: InputWindow | None
) -> tuple[NDArray[np.float32], list[str]]:
    """All files as rows (rows, columns), and the id of each row: of a picture one, of a recording its readings.

    Raises:
        DatasetError: one cannot be read, there are too many, or the model reads something else.
        PlatformError: Pillow is not installed, and the model reads pictures.
    """
    each, decode = _decoder(path, tuple(columns), window)
    if path.suffix.lower() != ".zip" and not path.is_dir():
        name = checked_id(path.name, str(path))
        return _decoded(name, path.read_bytes, decode, where=path), [name] * each
    with open_folder(path) as folder:
        if 4 * each * len(columns) * len(folder.paths) > MAX_REPLAY_BYTES:
            raise DatasetError(f"{path} holds more than {MAX_REPLAY_BYTES // 2**20} MiB of values; split it")
        ids = [checked_id(one, str(path)) for one in folder.paths]
        values = np.empty((len(ids) * each, len(columns)), dtype=np.float32)
        for place, one in enumerate(folder.paths):
            found = _decoded(one, partial(folder.read, one), decode, where=path)
            values[place * each : (place + 1) * each] = found
        return values, [one for one in ids for _ in range(each)]


def recording_rate(path: Path) -> int | None:
    """Readings a second of the first recording; None = there is none.

    Raises:
        DatasetError: the folder cannot be read.
    """
    if path.suffix.lower() in recordings.SUFFIXES and path.is_file():
        return _rate(path.read_bytes())
    if not is_folder(path) or path.suffix.lower() in pictures.SUFFIXES:
        return None
    with open_folder(path) as folder:
        first = next((one for one in folder.paths if Path(one).suffix.lower() in recordings.SUFFIXES), None)
        return None if first is None else _rate(folder.read(first))


def _rate(content: bytes) -> int:
    return recordings.facts_of(content).rate_hz


def _decoder(path: Path, columns: tuple[str, ...], window: InputWindow | None) -> tuple[int, _Decode]:
    """How many rows a file is, and what makes them of it."""
    shape = pictures.picture_shape(columns)
    if shape is not None:
        return 1, lambda content: pictures.read_picture(content, shape).reshape(1, -1)
    if len(columns) == 1 and window is not None and window.rate_hz is not None and not window.rate_hz % 1:
        readings, rate_hz = window.rows, int(window.rate_hz)
        return readings, lambda content: recordings.read_recording(content, readings=readings, rate_hz=rate_hz)[:, None]
    raise DatasetError(
        f"{path} holds pictures or recordings, and the model takes the columns {', '.join(columns[:5])}; "
        "replay CSV, JSONL or npz, or a model that learnt from such a folder"
    )


def _decoded(name: str, read: Callable[[], bytes], decode: _Decode, *, where: Path) -> NDArray[np.float32]:
    try:
        return decode(read())
    except DatasetError as error:
        raise DatasetError(f"{where}, {name}: {error}") from error
