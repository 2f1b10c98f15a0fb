"""Reads pictures: one file, a folder of them or its zip, in the order of the paths, as the import of a dataset does.

The columns tell the size and the colours that the model reads. An input's id is its path.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_agent.sources.cells import checked_id
from edgeops.errors import DatasetError
from edgeops.folder import open_folder
from edgeops.limits import MAX_REPLAY_BYTES
from edgeops.model.picture import SUFFIXES, Shape, picture_shape, read_picture


def is_folder(path: Path) -> bool:
    """Whether it is a picture, a folder, or a zip of one."""
    return path.is_dir() or path.suffix.lower() in (*SUFFIXES, ".zip")


def read_folder(path: Path, columns: Sequence[str]) -> tuple[NDArray[np.float32], list[str]]:
    """All pictures as rows (pictures, columns), and their ids.

    Raises:
        DatasetError: one cannot be read, there are too many, or the model reads something else.
        PlatformError: Pillow is not installed.
    """
    shape = picture_shape(tuple(columns))
    if shape is None:
        raise DatasetError(
            f"{path} holds pictures, and the model takes the columns {', '.join(columns[:5])}; "
            "replay CSV, JSONL or npz, or a model that learnt from a folder of pictures"
        )
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return _row(path.name, path.read_bytes(), shape, where=path)[np.newaxis], [checked_id(path.name, str(path))]
    with open_folder(path) as folder:
        if 4 * len(columns) * len(folder.paths) > MAX_REPLAY_BYTES:
            raise DatasetError(f"{path} holds more than {MAX_REPLAY_BYTES // 2**20} MiB of pixels; split it")
        ids = [checked_id(one, str(path)) for one in folder.paths]
        values = np.empty((len(ids), len(columns)), dtype=np.float32)
        for place, one in enumerate(folder.paths):
            try:
                content = folder.read(one)
            except DatasetError as error:
                raise DatasetError(f"{path}, {one}: {error}") from error
            values[place] = _row(one, content, shape, where=path)
        return values, ids


def _row(name: str, content: bytes, shape: Shape, *, where: Path) -> NDArray[np.float32]:
    try:
        return read_picture(content, shape).reshape(-1)
    except DatasetError as error:
        raise DatasetError(f"{where}, {name}: {error}") from error
