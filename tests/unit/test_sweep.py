"""What an interrupted write leaves behind goes with the next start, and nothing else does."""

from edgeops.digest import sweep, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_only_leftovers_of_the_named_files_go(tmp_path):
    write_atomically(tmp_path / "boot", b"7")
    for name in (".boot.x1y2z3", ".boot.a", ".other.x1", "boot.corrupt", ".boot"):
        (tmp_path / name).write_bytes(b"")
    sweep(tmp_path, ["boot"])
    assert names(tmp_path) == [".boot", ".other.x1", "boot", "boot.corrupt"]
