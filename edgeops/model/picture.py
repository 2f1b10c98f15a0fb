"""Pictures as rows of pixels: the columns they fill, and how a file becomes exactly what a model reads.

Training and devices decode and resize by the same lines. The one place that imports Pillow, and only when a picture is
read: a device without pictures needs none.
"""

import io
import re
import struct
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.errors import DatasetError, PlatformError
from edgeops.npz import DAMAGED

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]
#: (height, width) of grey pixels, or (height, width, 3) of red, green and blue ones.
Shape = tuple[int, int] | tuple[int, int, int]

#: How files of pictures end, in lower case.
SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")
_COLOURS = "rgb"
#: Grey, with or without transparency.
_GREY = ("1", "L", "LA")
#: Exif 2.32, 4.6.4 A: how a camera was held.
_ORIENTATION = 0x0112
_LAST_COLUMN = re.compile(r"pixel-([0-9]{1,5})-([0-9]{1,5})(-b)?")


def pixel_columns(shape: Shape) -> tuple[str, ...]:
    """The columns that a picture fills, row by row: `pixel-<row>-<column>`, of colours also `-r`, `-g`, `-b`."""
    height, width, *colours = shape
    ends = [f"-{colour}" for colour in _COLOURS] if colours else [""]
    return tuple(f"pixel-{row}-{column}{end}" for row in range(height) for column in range(width) for end in ends)


def picture_shape(columns: tuple[str, ...]) -> Shape | None:
    """The shape of the pictures that fill these columns; None = no picture does."""
    last = _LAST_COLUMN.fullmatch(columns[-1]) if columns else None
    if last is None:
        return None
    height, width = int(last[1]) + 1, int(last[2]) + 1
    if height * width > limits.MAX_DATASET_COLUMNS:
        return None
    shape: Shape = (height, width, len(_COLOURS)) if last[3] else (height, width)
    return shape if pixel_columns(shape) == columns else None


def shape_of(content: bytes) -> Shape:
    """The shape of a file's picture, by its first bytes.

    Raises:
        DatasetError: it is no picture, or larger than allowed.
        PlatformError: Pillow is not installed.
    """
    return _shape(_open(content))


def read_picture(content: bytes, shape: Shape) -> Floats:
    """The pixels of a PNG or JPEG file, resized and turned grey or coloured where the shape asks for it.

    Returns:
        Whole numbers from 0 to 255, of `shape`.

    Raises:
        DatasetError: it is no picture, damaged, cut off, or larger than allowed.
        PlatformError: Pillow is not installed.
    """
    image = _open(content)
    try:
        orientation = _orientation(image)
        if image.mode == "P":  # transparency of a palette is lost with a warning otherwise
            image = image.convert("RGBA")
        pixels = np.asarray(image.convert("RGB" if len(shape) > 2 else "L"))
    except _damage() as error:
        raise DatasetError(f"a damaged picture: {error}") from error
    return resized(_upright(pixels, orientation), shape[0], shape[1])


def resized(pixels: NDArray[np.uint8], height: int, width: int) -> Floats:
    """A picture of another size: each pixel is the mean of those below it, weighted by a triangle.

    The triangle reaches as far as the pixels are apart, in the larger of both pictures (antialiased bilinear, as
    Pillow's; Heckbert 1989, 3.5). The whole picture is stretched. Answers are rounded to whole numbers, as pixels are.

    Args:
        pixels: (rows, columns) or (rows, columns, colours).
        height: of the new picture.
        width: of the new picture.

    Returns:
        (height, width) or (height, width, colours), whole numbers from 0 to 255.
    """
    found: Floats = pixels.astype(np.float32)
    if found.shape[:2] == (height, width):
        return found
    found = np.tensordot(_weights(found.shape[0], height), found, axes=1)
    found = np.moveaxis(np.tensordot(found, _weights(found.shape[1], width), axes=(1, 1)), -1, 1)
    return np.ascontiguousarray(np.rint(found))


def _weights(before: int, after: int) -> Floats:
    """(after, before): how much each old pixel of a line counts for each new one."""
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale
    distances = np.abs(np.arange(before) + 0.5 - centres[:, np.newaxis]) / max(scale, 1.0)
    weights = np.maximum(1.0 - distances, 0.0)
    shares: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def _open(content: bytes) -> "Image":
    """A picture whose first bytes were read; its pixels were not."""
    try:
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - only who reads pictures needs it
    except ImportError as error:
        raise PlatformError(
            "pictures are read by Pillow, which is not installed here; install it: pip install 'edgeops[pictures]'"
        ) from error
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise DatasetError("no picture of the kinds PNG and JPEG") from error
    except Image.DecompressionBombError as error:
        raise DatasetError(f"more than {limits.MAX_PICTURE_PIXELS} pixels; make it smaller") from error
    except _damage() as error:
        raise DatasetError(f"a damaged picture: {error}") from error
    width, height = image.size
    if width * height > limits.MAX_PICTURE_PIXELS:
        raise DatasetError(f"{width} x {height} pixels, the most is {limits.MAX_PICTURE_PIXELS}; make it smaller")
    if image.mode.startswith(("I", "F")):
        raise DatasetError("a picture of more than 8 bits for each colour; save it with 8")
    return image


def _damage() -> tuple[type[BaseException], ...]:
    """What Pillow raises for a file that is not as it should be; it promises little of it."""
    from PIL import Image  # noqa: PLC0415

    return (*DAMAGED, struct.error, Image.DecompressionBombError, Image.DecompressionBombWarning)


def _shape(image: "Image") -> Shape:
    width, height = image.size if _orientation(image) < 5 else image.size[::-1]
    return (height, width) if image.mode in _GREY else (height, width, len(_COLOURS))


def _orientation(image: "Image") -> int:
    """1 to 8; only of JPEG, as cameras write it: other formats may have it behind their pixels."""
    try:
        found = image.getexif().get(_ORIENTATION, 1) if image.format == "JPEG" else 1
    except _damage():
        return 1
    return found if found in range(1, 9) else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Exif 2.32, 4.6.4 A: mirrored, turned upside down, rows and columns exchanged."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
