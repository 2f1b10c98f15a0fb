"""What a brought file is, by its content; archives that reach further than they may are refused before anything is unpacked."""

import stat
import zipfile

import pytest

from edgeops import limits
from edgeops.errors import ArtifactError
from fleet_server.ml.brought_file import Kind, open_brought
from tests.golden.tiny import tiny_artifact, tiny_tflite

SAVED_MODEL = {"saved_model.pb": b"graph", "variables/variables.index": b"weights"}


def archive(path, members, **attributes):
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            file.writestr(info, content)
    return path


def opened(path, tmp_path):
    folder = tmp_path / "opened"
    folder.mkdir()
    return open_brought(path, path.name, folder=folder)


def refused(path, tmp_path):
    with pytest.raises(ArtifactError) as error:
        opened(path, tmp_path)
    assert list((tmp_path / "opened").iterdir()) == []
    return str(error.value)


def test_a_tflite_is_known_by_its_content(tmp_path):
    file = tmp_path / "anything.bin"
    file.write_bytes(tiny_tflite())
    found = opened(file, tmp_path)
    assert (found.kind, found.path, found.notes) == (Kind.TFLITE, file, ())


def test_an_archive_behind_a_tflite_is_left_out_and_told(tmp_path):
    file = tmp_path / "model.tflite"
    file.write_bytes(tiny_tflite())
    found = opened(archive(file, {"labels.txt": b"a\nb\n"}), tmp_path)
    assert found.path.read_bytes() == tiny_tflite()
    assert found.notes == ("an archive was appended to model.tflite (labels.txt); the model is taken without it",)


def test_an_artifact_of_ours_is_told_from_other_archives(tmp_path):
    file = tmp_path / "model.tflite"
    file.write_bytes(tiny_artifact())
    assert "is an artifact of EdgeOps already, tiny@1 int8: bring the .tflite that it was made of" in refused(
        file, tmp_path
    )


def test_a_keras_file_is_known_by_its_members(tmp_path):
    file = archive(tmp_path / "model.zip", {"config.json": b"{}", "model.weights.h5": b"w", "metadata.json": b"{}"})
    found = opened(file, tmp_path)
    assert (found.kind, found.path.name) == (Kind.KERAS, "model.keras")
    assert found.path.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("root", ["", "export/model/"])
def test_a_saved_model_is_unpacked_wherever_in_the_archive_it_lies(tmp_path, root):
    file = archive(tmp_path / "model.zip", {root + name: content for name, content in SAVED_MODEL.items()})
    found = opened(file, tmp_path)
    assert found.kind is Kind.SAVED_MODEL
    assert (found.path / "variables/variables.index").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no model: expected a .tflite, a .keras or a SavedModel folder"),
        (b"# a script", "is no model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "the old format of Keras; save it again"),
        (b"PK\x03\x04" + bytes(100), "begins as an archive and does not end as one: it is truncated"),
    ],
)
def test_what_is_no_model_is_told(tmp_path, content, words):
    file = tmp_path / "model.keras"
    file.write_bytes(content)
    assert words in refused(file, tmp_path)


def test_an_archive_without_a_model_names_what_it_holds(tmp_path):
    file = archive(tmp_path / "a.zip", {"readme.txt": b"hello"})
    assert "holds no model (readme.txt)" in refused(file, tmp_path)


def test_an_archive_of_two_models_is_refused(tmp_path):
    file = archive(tmp_path / "a.zip", {"a/saved_model.pb": b"", "b/saved_model.pb": b""})
    assert "holds 2 SavedModels" in refused(file, tmp_path)


@pytest.mark.parametrize("name", ["../saved_model.pb", "/etc/saved_model.pb", "a/../../saved_model.pb", "a\\..\\b"])
def test_a_member_that_leads_out_is_refused(tmp_path, name):
    file = archive(tmp_path / "a.zip", SAVED_MODEL | {name: b"x"})
    assert "which leads out of it" in refused(file, tmp_path)


def test_a_link_is_refused(tmp_path):
    file = archive(tmp_path / "a.zip", {"link": b"/etc/passwd"}, external_attr=(stat.S_IFLNK | 0o777) << 16)
    archive(file, SAVED_MODEL)
    assert "'link', which is a link" in refused(file, tmp_path)


def test_a_bomb_is_refused_by_what_it_claims(tmp_path):
    many = tmp_path / "many.zip"
    archive(many, {f"member-{number}": b"" for number in range(limits.MAX_BROUGHT_MEMBERS)} | SAVED_MODEL)
    assert f"more than {limits.MAX_BROUGHT_MEMBERS}" in refused(many, tmp_path)
    (tmp_path / "opened").rmdir()
    large = archive(tmp_path / "large.zip", SAVED_MODEL | {"zeros": bytes(limits.MAX_BROUGHT_BYTES)})
    assert large.stat().st_size < 1 << 20
    assert f"more than {limits.MAX_BROUGHT_BYTES}" in refused(large, tmp_path)


def test_a_damaged_member_is_an_error(tmp_path):
    file = archive(tmp_path / "a.zip", {"saved_model.pb": b"graph" * 100})
    data = bytearray(file.read_bytes())
    data[45] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"the archive a\.zip is damaged"):
        opened(file, tmp_path)


def test_a_file_larger_than_any_artifact_is_refused_unread(tmp_path):
    file = tmp_path / "model.tflite"
    with file.open("wb") as content:
        content.write(tiny_tflite())
        content.truncate(limits.MAX_ARTIFACT_BYTES + 1)
    assert f"no device takes more than {limits.MAX_ARTIFACT_BYTES}" in refused(file, tmp_path)
