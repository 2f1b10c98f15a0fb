"""Folders of pictures: classes and groups by the paths, one size, and what is refused."""

import gzip
import io
import json

import msgspec
import numpy as np
import pytest
from PIL import Image

from edgeops.artifact.manifest import Task
from edgeops.cli.inspection import commented_rules
from edgeops.data.rules import Rules, read_rules
from edgeops.errors import DatasetError
from edgeops.folder import FolderStream, open_folder
from fleet_server.datasets.importing import import_file as import_to
from fleet_server.datasets.inspecting import inspect_file
from fleet_server.datasets.snapshot import read_snapshot

RANDOM = np.random.default_rng(5)
EACH = 12


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def picture(height=6, width=5, *colours):
    return RANDOM.integers(0, 256, (height, width, *colours), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two classes of grey pictures."""
    path = tmp_path / "parts"
    for kind in ("good", "bad"):
        (path / kind).mkdir(parents=True)
        for number in range(EACH):
            (path / kind / f"{number:02}.png").write_bytes(png(picture()))
    return path


def zip_of(folder):
    path = folder.with_suffix(".zip")
    with open_folder(folder) as opened:
        stream = FolderStream(opened)
        path.write_bytes(b"".join(iter(lambda: stream.read(1 << 20), b"")))
    return path


def load(folder, **rules):
    given = msgspec.convert({"label": "class"} | rules, Rules)
    destination, quarantine = folder.with_name("snapshot"), folder.with_name("quarantine")
    import_to(zip_of(folder), given, file_name="parts.zip", destination=destination, quarantine=quarantine)
    return read_snapshot(destination)


def refusal(folder, **rules):
    with pytest.raises(DatasetError) as caught:
        load(folder, **rules)
    return str(caught.value)


def quarantined(folder):
    with gzip.open(folder.with_name("quarantine"), "rt") as file:
        return [json.loads(line) for line in file]


def test_the_first_folder_is_the_class_and_a_row_is_a_picture(folder):
    snapshot = load(folder)
    schema = snapshot.schema
    assert (schema.classes, schema.class_rows, schema.shape) == (("bad", "good"), (EACH, EACH), (6, 5))
    assert schema.columns[:6] == ("pixel-0-0", "pixel-0-1", "pixel-0-2", "pixel-0-3", "pixel-0-4", "pixel-1-0")
    first = np.asarray(Image.open(folder / "bad/00.png"))
    assert np.array_equal(snapshot.rows.values[0].reshape(6, 5), first)
    assert snapshot.rows.ids.tolist() == list(range(2 * EACH))


def test_the_same_folder_gives_the_same_snapshot(folder):
    def content():
        load(folder)
        return folder.with_name("snapshot").read_bytes()

    assert content() == content()


def test_one_picture_in_colour_makes_all_coloured_unless_grey_is_asked_for(folder):
    (folder / "good/00.png").write_bytes(png(picture(6, 5, 3)))
    assert load(folder).schema.shape == (6, 5, 3)
    assert load(folder, grey=True).schema.shape == (6, 5)


def test_sizes_that_differ_are_an_error_unless_one_is_asked_for(folder):
    (folder / "good/03.png").write_bytes(png(picture(7, 5)))
    assert refusal(folder) == (
        "parts.zip: good/03.png is 7 x 5 pixels and bad/00.png 6 x 5; say which size all shall have: size = [6, 5]"
    )
    assert load(folder, size=(4, 4)).schema.shape == (4, 4)


def test_a_second_folder_is_the_group(folder):
    for kind in ("good", "bad"):
        for number in range(EACH):
            file = folder / kind / f"{number:02}.png"
            (folder / kind / f"line{number % 3}").mkdir(exist_ok=True)
            file.rename(folder / kind / f"line{number % 3}" / file.name)
    snapshot = load(folder, group="group", split="group", held_out=("line2",))
    assert set(snapshot.groups) == {"line0", "line1", "line2"}
    assert snapshot.schema.split_rows[2] == 2 * EACH // 3


def test_a_pattern_makes_columns_of_its_named_parts(folder):
    snapshot = load(
        folder,
        pattern=r"(?P<quality>good|bad)/\d(?P<digit>\d)",
        label="quality",
        group="digit",
        where=("digit=0,1,2,3,4,5,6,7",),
    )
    assert snapshot.schema.classes == ("bad", "good")
    assert set(snapshot.groups) == set("01234567")
    assert snapshot.schema.rows == 20


def test_files_that_are_no_pictures_are_told_by_name_and_kept_apart(folder):
    (folder / "good/00.png").write_bytes(b"no picture")
    (folder / "good/01.png").write_bytes((folder / "good/02.png").read_bytes()[:-40])
    (folder / "notes.txt").write_text("what the classes are")
    (folder / "alone.png").write_bytes(png(picture()))
    told = refusal(folder)
    assert told.startswith(
        "parts.zip, good/00.png: no picture of the kinds PNG and JPEG (and 2 more rows: malformed); "
        "alone.png: the label column 'class' is empty; correct the file"
    )
    assert load(folder, bad_rows="quarantine").schema.rows == 2 * EACH - 2
    kept = {one["row"]["file"]: (one["reason"], one["value"]) for one in quarantined(folder)}
    assert kept.pop("good/01.png")[1].startswith("a damaged picture: ")
    assert kept == {
        "alone.png": ("label-missing", ""),
        "good/00.png": ("malformed", "no picture of the kinds PNG and JPEG"),
        "notes.txt": ("malformed", "the name ends in none of .png, .jpg, .jpeg"),
    }


def test_an_empty_folder_and_a_single_class_are_errors(folder):
    (folder / "ugly").mkdir()
    assert "the folder 'ugly' is empty" in refusal(folder)
    (folder / "ugly").rmdir()
    for file in (folder / "bad").iterdir():
        file.unlink()
    (folder / "bad").rmdir()
    assert "has one class only, 'good'" in refusal(folder)


def test_a_folder_without_pictures_is_an_error(folder):
    for file in folder.rglob("*.png"):
        file.rename(file.with_suffix(".gif"))
    assert refusal(folder) == "parts.zip: no file's name ends in one of .png, .jpg, .jpeg, .wav"


def test_pictures_with_more_pixels_than_a_model_may_read_are_refused(folder):
    assert refusal(folder, size=(65, 64)) == "parts.zip: 4160 values each, the most is 4096; say a smaller size"


def test_rules_of_folders_are_refused_for_tables(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n1,a\n")
    rules = Rules(label="y", size=(8, 8))
    with pytest.raises(DatasetError, match=r"rows\.csv: the rule 'size' is for a folder of files"):
        import_to(path, rules, file_name="rows.csv", destination=tmp_path / "s", quarantine=tmp_path / "q")


def test_an_inspection_tells_classes_sizes_and_what_would_be_refused(folder):
    (folder / "good/00.png").write_bytes(png(picture(7, 5, 3)))
    (folder / "good/01.png").write_bytes(b"no picture")
    (folder / "good/02.png").write_bytes(png(picture())[:-30])
    (folder / "notes.txt").write_text("two parts")
    found = inspect_file(zip_of(folder), file_name="parts.zip")
    told = commented_rules(found, file_name="parts")
    assert told == (
        "# parts: 22 pictures, and 3 that would be refused\n"
        "# class: 2 different: bad (12), good (10)\n"
        "# size: 6 x 5 (21), 7 x 5 (1); 1 in colour\n"
        "# good/01.png: no picture of the kinds PNG and JPEG\n"
        "# good/02.png: a damaged picture: image file is truncated\n"
        "# notes.txt: the name ends in none of .png, .jpg, .jpeg\n"
        "\n"
        'label = "class"\nbad_rows = "quarantine"\nsize = [6, 5]\n'
    )


def test_a_folder_is_imported_by_the_rules_that_were_proposed(folder):
    for kind in ("good", "bad"):
        for file in (folder / kind).iterdir():
            file.write_bytes(png(picture(100, 60)))
    (folder / "good/01.png").write_bytes(b"no picture")
    (folder / "beside.png").write_bytes(png(picture()))
    rules = read_rules(inspect_file(zip_of(folder), file_name="parts.zip").rules)
    assert (rules.label, rules.size) == ("class", (82, 49))  # so many as a model may read
    assert load(folder, **msgspec.to_builtins(rules)).schema.refused == {"malformed": 1, "label-missing": 1}


def test_a_folder_without_classes_is_an_anomaly_detectors(folder):
    for file in (folder / "bad").iterdir():
        file.unlink()
    (folder / "good/01.png").rename(folder / "01.png")
    found = inspect_file(zip_of(folder), file_name="parts.zip")
    told = commented_rules(found, file_name="parts")
    assert "# no two classes: put the files of each into a folder of its own, or name them by a pattern\n" in told
    assert "# the folder 'bad' is empty; fill it, or delete it\n" in told
    assert (read_rules(found.rules).task, read_rules(found.rules).label) == (Task.ANOMALY, "")


def test_classes_of_few_files_are_told_before_an_import_fails_for_them(folder):
    for number in range(3):
        (folder / f"bad/{number:02}.png").unlink()
    found = inspect_file(zip_of(folder), file_name="parts.zip").folder
    assert found.hindrances == ("class 'bad' has 9 files, at least 10 are needed",)


def test_a_folder_of_neither_pictures_nor_recordings_cannot_be_inspected(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    with pytest.raises(DatasetError, match=r"texts\.zip: no file's name ends in one of \.png"):
        inspect_file(zip_of(folder), file_name="texts.zip")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(?P<class>", "the pattern is no regular expression"),
        ("([a-z]+)_", "names no part"),
        ("(?P<file>[a-z]+)", "the column 'file' is the path itself"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_in_words(pattern, words):
    with pytest.raises(DatasetError, match=words):
        read_rules("", label="class", pattern=pattern)


def test_the_class_is_the_label_of_a_folder_unless_something_else_is_learnt():
    assert read_rules("", otherwise="class").label == "class"
    assert read_rules('label = "speaker"', otherwise="class").label == "speaker"
    assert read_rules("", task="anomaly", otherwise="class").label == ""
