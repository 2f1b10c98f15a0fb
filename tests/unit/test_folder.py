"""Folders, on disk and zipped: what is in them, what is refused before anything is read, and how one is sent."""

import io
import stat
import zipfile

import pytest

from edgeops import limits
from edgeops.errors import DatasetError
from edgeops.folder import FolderStream, open_folder

FILES = {"b/2.png": b"two" * 1000, "a/1.png": b"one", "a/x/3.png": b""}


def on_disk(folder, files=FILES):
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def zipped(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def streamed(folder, size=997):
    with open_folder(folder) as opened:
        stream = FolderStream(opened)
        return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("make", [on_disk, lambda path: zipped(path / "some.zip", FILES)], ids=["disk", "zip"])
def test_a_folder_and_its_zip_hold_the_same_files_in_the_same_order(tmp_path, make):
    with open_folder(make(tmp_path)) as folder:
        assert folder.paths == ("a/1.png", "a/x/3.png", "b/2.png")
        assert {path: folder.read(path) for path in folder.paths} == FILES
        assert folder.size_bytes == 3003
        assert folder.empty == ()


def test_hidden_files_are_passed_over_and_empty_folders_are_told(tmp_path):
    on_disk(tmp_path / "f", {"a/1.png": b"1", ".DS_Store": b"x", "a/.hidden": b"x", ".git/config": b"x"})
    (tmp_path / "f/b/c").mkdir(parents=True)
    with open_folder(tmp_path / "f") as folder:
        assert (folder.paths, folder.empty) == (("a/1.png",), ("b", "b/c"))
    members = {
        "f/": b"",
        "f/a/1.png": b"1",
        "__MACOSX/f/a/._1.png": b"x",
        "f/.DS_Store": b"x",
        "f/b/": b"",
        "f/b/c/": b"",
    }
    with open_folder(zipped(tmp_path / "f.zip", members)) as folder:
        assert (folder.paths, folder.empty) == (("a/1.png",), ("b", "b/c"))


def test_only_a_top_folder_that_is_called_as_the_zip_is_left_out(tmp_path):
    with open_folder(zipped(tmp_path / "f.zip", {"f/a/1.png": b"1"})) as folder:
        assert folder.paths == ("a/1.png",)
    with open_folder(zipped(tmp_path / "g.zip", {"f/a/1.png": b"1"})) as folder:
        assert folder.paths == ("f/a/1.png",)
    with open_folder(zipped(tmp_path / "upload", {"f/a/1.png": b"1"}), file_name="f.zip") as folder:
        assert folder.paths == ("a/1.png",)


def test_a_stream_is_a_zip_of_the_folder_and_the_same_bytes_each_time(tmp_path):
    on_disk(tmp_path / "f")
    (tmp_path / "f/c").mkdir()
    sent = streamed(tmp_path / "f")
    assert sent == streamed(tmp_path / "f", size=100_000)
    path = tmp_path / "sent.zip"
    path.write_bytes(sent)
    with open_folder(path) as folder:
        assert {one: folder.read(one) for one in folder.paths} == FILES
        assert folder.empty == ("c",)


def test_a_stream_begins_again_and_tells_how_far_it_is(tmp_path):
    told = []
    with open_folder(on_disk(tmp_path, {f"{place}": b"x" * 300_000 for place in range(4)})) as folder:
        stream = FolderStream(folder, report=told.append)
        first = stream.read(1_000_000)
        stream.seek(0)
        assert stream.read(1_000_000) == first
        while stream.read(1_000_000):
            pass
    assert told[-2:] == [1.0, 1.0]
    assert told[0] == 0.25


def test_a_file_that_vanished_while_it_is_sent_is_named(tmp_path):
    with open_folder(on_disk(tmp_path)) as folder:
        (tmp_path / "a/1.png").unlink()
        with pytest.raises(DatasetError, match=r"^a/1\.png cannot be read: No such file"):
            FolderStream(folder).read(10)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up.png", "a/../../up.png", "a\\b.png", "a//b.png", "./a.png", "C:\\a.png"]
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path, path):
    with pytest.raises(DatasetError, match=r"leads out of the folder"):
        open_folder(zipped(tmp_path / "z.zip", {"a/1.png": b"1", path: b"x"}))


def test_links_are_refused_on_disk_and_in_a_zip(tmp_path):
    on_disk(tmp_path / "f")
    (tmp_path / "f/a/link.png").symlink_to("/etc/passwd")
    with pytest.raises(DatasetError, match=r"link\.png is a link"):
        open_folder(tmp_path / "f")
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DatasetError, match=r"'a/link\.png' is a link"):
        open_folder(tmp_path / "z.zip")


def test_a_zip_bomb_is_refused_by_what_it_says_of_itself(tmp_path):
    bomb = zipped(tmp_path / "z.zip", {"a/zeros.png": bytes(limits.MAX_FOLDER_FILE_BYTES + 1)})
    assert bomb.stat().st_size < 100_000
    with pytest.raises(DatasetError, match=r"a/zeros\.png has 67108865 bytes, the most is 67108864"):
        open_folder(bomb)


def test_a_zip_that_says_less_than_it_holds_gives_no_more_than_it_says(tmp_path):
    data = bytearray(zipped(tmp_path / "z.zip", {"a/zeros.png": bytes(1_000_000)}).read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = (10).to_bytes(4, "little")
    (tmp_path / "z.zip").write_bytes(data)
    with open_folder(tmp_path / "z.zip") as folder, pytest.raises(DatasetError, match=r"damaged in the zip"):
        folder.read("a/zeros.png")


def test_too_many_files_and_too_many_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FOLDER_FILES", 2)
    with pytest.raises(DatasetError, match=r"more than 2 files"):
        open_folder(on_disk(tmp_path))
    monkeypatch.setattr(limits, "MAX_FOLDER_FILES", 3)
    monkeypatch.setattr(limits, "MAX_FOLDER_BYTES", 3002)
    with pytest.raises(DatasetError, match=r"3003 bytes in all, the most is 3002"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "there is no file in it"),
        ({"a/": b""}, "there is no file in it"),
        ({"a/\x07.png": b"1"}, "cannot be shown"),
        ({f"a/{'x' * 200}": b"1"}, "more than 200 characters"),
    ],
    ids=["nothing", "only folders", "bell", "long"],
)
def test_what_holds_no_plain_files_is_refused(tmp_path, members, words):
    with pytest.raises(DatasetError, match=words):
        open_folder(zipped(tmp_path / "z.zip", members))


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a/1.png", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a/1.png", b"2")
    with pytest.raises(DatasetError, match=r"'a/1\.png' is in it twice"):
        open_folder(tmp_path / "z.zip")


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "z.zip").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(DatasetError, match=r"z\.zip is no zip of a folder, or damaged"):
        open_folder(tmp_path / "z.zip")


def test_a_damaged_member_costs_only_itself(tmp_path):
    data = zipped(tmp_path / "z.zip", FILES, zipfile.ZIP_STORED).read_bytes().replace(b"twotwo", b"twoTwo", 1)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() == "b/2.png"
    (tmp_path / "z.zip").write_bytes(data)
    with open_folder(tmp_path / "z.zip") as folder:
        assert folder.read("a/1.png") == b"one"
        with pytest.raises(DatasetError, match=r"damaged in the zip: Bad CRC-32"):
            folder.read("b/2.png")
