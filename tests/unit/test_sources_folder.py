"""Pictures as a source of a device: what is played in which order, and what is refused."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from device_agent.sources import folder as folders
from device_agent.sources.replay import ReplaySource
from edgeops.errors import DatasetError
from edgeops.model.picture import pixel_columns, read_picture

RANDOM = np.random.default_rng(7)
COLUMNS = pixel_columns((4, 5))


def png(*shape):
    buffer = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, shape or (4, 5), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def pictures(tmp_path):
    files = {"b/1.png": png(), "a/2.png": png(8, 10, 3), "a/1.png": png()}
    for path, content in files.items():
        (tmp_path / "pictures" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / path).write_bytes(content)
    return files


def played(path, columns=COLUMNS):
    source = ReplaySource(path)
    source.select(columns)
    rows = source.read(100)
    assert source.read(100) is None
    return rows


def test_a_folder_is_played_by_its_paths_as_an_import_decodes_it(tmp_path, pictures):
    rows = played(tmp_path / "pictures")
    assert rows.ids == ["a/1.png", "a/2.png", "b/1.png"]
    expected = [read_picture(pictures[path], (4, 5)).reshape(-1) for path in rows.ids]
    assert np.array_equal(rows.values, expected)


def test_a_zip_of_a_folder_is_the_same(tmp_path, pictures):
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path, content in pictures.items():
            archive.writestr(f"pictures/{path}", content)
    zipped, plain = played(tmp_path / "pictures.zip"), played(tmp_path / "pictures")
    assert zipped.ids == plain.ids
    assert np.array_equal(zipped.values, plain.values)


def test_a_single_picture_is_one_row(tmp_path, pictures):
    rows = played(tmp_path / "pictures/b/1.png")
    assert (rows.ids, rows.values.shape) == (["1.png"], (1, 20))


def test_a_file_that_is_no_picture_is_named(tmp_path, pictures):
    (tmp_path / "pictures/b/notes.txt").write_text("notes")
    with pytest.raises(DatasetError, match=r"pictures, b/notes\.txt: no picture of the kinds PNG and JPEG"):
        played(tmp_path / "pictures")


def test_a_model_that_reads_no_pictures_says_what_it_reads(tmp_path, pictures):
    with pytest.raises(DatasetError, match=r"the model takes the columns a, b"):
        played(tmp_path / "pictures", ("a", "b"))


def test_more_pixels_than_fit_are_refused_before_any_is_read(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(folders, "MAX_REPLAY_BYTES", 4 * 60 - 1)
    with pytest.raises(DatasetError, match=r"more than 0 MiB of values"):
        played(tmp_path / "pictures")


def test_an_empty_folder_has_nothing_to_play(tmp_path):
    with pytest.raises(DatasetError, match=r"there is no file in it"):
        played(tmp_path)
