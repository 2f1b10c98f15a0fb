"""Turns pictures into rows of pixels, all of one size."""

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgeops.data.rules import Rules
from edgeops.errors import DatasetError
from edgeops.folder import Folder
from edgeops.model.picture import SUFFIXES, Shape, pixel_columns, read_picture, shape_of


class PictureReader:
    """Reads PNG and JPEG; the size is asked for, or else that of all files, and one in colour makes all coloured."""

    name = "pixel"
    suffixes = SUFFIXES
    rate_hz = None

    def __init__(self, folder: Folder, rules: Rules) -> None:
        if rules.clip_hz is not None or rules.seconds is not None:
            raise DatasetError("clip_hz and seconds are for recordings, and these are pictures; leave them out")
        self.shape = _common_shape(folder, rules)
        self.columns = pixel_columns(self.shape)

    def read(self, content: bytes, /) -> NDArray[np.float32]:
        """One picture as pixels, (height x width [x 3],).

        Raises:
            DatasetError: it is none, or damaged.
        """
        return read_picture(content, self.shape).reshape(-1)


def _common_shape(folder: Folder, rules: Rules) -> Shape:
    """By the first bytes of each file; those that are no pictures are refused when they are read."""
    first, height, width, colours, why = "", 0, 0, False, ""
    if rules.size is not None:
        height, width = rules.size
    for path in folder.paths:
        if PurePosixPath(path).suffix.lower() not in SUFFIXES:
            continue
        try:
            found = shape_of(folder.read(path))
        except DatasetError as error:
            why = why or f"{path}: {error}"
            continue
        colours |= len(found) > 2
        if rules.size is not None:
            if colours or rules.grey:
                break
            continue
        if not first:
            first, height, width = path, found[0], found[1]
        elif found[:2] != (height, width):
            raise DatasetError(
                f"{path} is {found[0]} x {found[1]} pixels and {first} {height} x {width}; say which size all shall "
                f"have: size = [{height}, {width}]"
            )
    if not height:
        raise DatasetError(f"none of its files is a picture that can be read; {why}")
    return (height, width, 3) if colours and not rules.grey else (height, width)
