"""Pictures as rows of pixels: what is read, what is refused, and how another size is made."""

import builtins
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgeops import limits
from edgeops.errors import DatasetError, PlatformError
from edgeops.model.picture import picture_shape, pixel_columns, read_picture, resized, shape_of

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOURED = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def encoded(pixels, kind="PNG", **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("pixels", [GREY, COLOURED], ids=["grey", "coloured"])
def test_a_picture_of_the_right_size_is_its_pixels(pixels):
    content = encoded(pixels)
    assert shape_of(content) == pixels.shape
    read = read_picture(content, pixels.shape)
    assert read.dtype == np.float32
    assert np.array_equal(read, pixels)


def test_columns_name_row_column_and_colour_and_tell_the_shape():
    assert pixel_columns((2, 2)) == ("pixel-0-0", "pixel-0-1", "pixel-1-0", "pixel-1-1")
    assert pixel_columns((1, 2, 3))[2:5] == ("pixel-0-0-b", "pixel-0-1-r", "pixel-0-1-g")
    for shape in ((1, 1), (8, 8), (5, 7, 3)):
        assert picture_shape(pixel_columns(shape)) == shape


@pytest.mark.parametrize("columns", [(), ("temperature",), ("pixel-0-1",), ("pixel-9999-9999",), ("pixel-0-0", "x")])
def test_columns_that_no_picture_fills_have_no_shape(columns):
    assert picture_shape(columns) is None


def test_colours_become_grey_and_grey_becomes_coloured_where_the_model_asks_for_it():
    assert np.array_equal(read_picture(encoded(GREY), (6, 8, 3)), np.repeat(GREY[..., np.newaxis], 3, axis=2))
    luma = COLOURED @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(read_picture(encoded(COLOURED), (6, 8)) - luma).max() <= 1


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_of_eight_bits_is_read(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    content = encoded(Image.fromarray(COLOURED).convert(mode), kind)
    assert len(shape_of(content)) == (2 if mode in ("1", "LA") else 3)
    assert read_picture(content, (6, 8)).shape == (6, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_the_camera_was_held(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(GREY, "JPEG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert shape_of(content) == upright.shape
    assert np.array_equal(read_picture(content, upright.shape), upright)


@pytest.mark.parametrize("size", [(3, 4), (4, 5), (12, 16), (1, 1)])
def test_another_size_is_what_pillow_makes_of_it(size):
    for pixels in (GREY, COLOURED):
        expected = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
        assert np.abs(resized(pixels, *size) - expected).max() <= 1  # Pillow rounds after each direction


def test_a_plain_picture_stays_plain_in_any_size():
    for size in ((1, 1), (5, 3), (17, 40)):
        assert np.all(resized(np.full((9, 13), 77, np.uint8), *size) == 77)


def bomb(width, height):
    """A PNG that claims to be huge."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT": b""}
    parts = [(len(body), kind + body) for kind, body in chunks.items()]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", length) + part + struct.pack(">I", zlib.crc32(part)) for length, part in parts
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no picture of the kinds PNG and JPEG"),
        (b"not a picture", "no picture of the kinds PNG and JPEG"),
        (encoded(GREY, "GIF"), "no picture of the kinds PNG and JPEG"),
        (encoded(GREY.astype(np.uint16)), "more than 8 bits"),
        (bomb(4097, 4096), f"4097 x 4096 pixels, the most is {limits.MAX_PICTURE_PIXELS}"),
        (bomb(60_000, 60_000), f"more than {limits.MAX_PICTURE_PIXELS} pixels"),
        (encoded(np.zeros((100, 100), np.uint8), "JPEG")[:-100], "a damaged picture"),
        (encoded(COLOURED)[:-30], "a damaged picture"),
        (encoded(COLOURED)[:50], "a damaged picture"),
    ],
    ids=["empty", "text", "gif", "16 bits", "too large", "far too large", "cut jpeg", "cut png", "header only"],
)
def test_what_is_no_picture_is_refused_in_words(content, words):
    with pytest.raises(DatasetError, match=words):
        read_picture(content, (6, 8))


def test_a_machine_without_pillow_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "PIL":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PlatformError, match=r"pip install 'edgeops\[pictures\]'"):
        read_picture(encoded(GREY), (6, 8))
