"""Which code runs, asked of git."""

import subprocess

import pytest

from fleet_server.checkout import Checkout, look_at_checkout


def git(root, *words):
    told = subprocess.run(
        ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@example.org", *words],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return told.stdout.strip()


@pytest.fixture
def root(tmp_path):
    (tmp_path / "edgeops").mkdir()
    (tmp_path / "edgeops" / "one.py").write_text("one = 1\n")
    (tmp_path / ".gitignore").write_text("*.log\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_a_clean_checkout_is_its_commit_and_has_no_difference(root):
    assert look_at_checkout(root) == Checkout(commit=git(root, "rev-parse", "HEAD"), difference=None)


def test_the_same_change_has_the_same_digest_and_another_has_another(root):
    seen = []
    for text in ("one = 2\n", "one = 3\n", "one = 2\n", "one = 1\n"):
        (root / "edgeops" / "one.py").write_text(text)
        seen.append(look_at_checkout(root).difference)
    assert seen[0] == seen[2] != seen[1]
    assert seen[3] is None


def test_a_new_file_is_a_difference_and_an_ignored_one_or_one_beside_the_code_is_none(root):
    (root / "edgeops" / "noise.log").write_text("x")
    (root / "notes.txt").write_text("x")
    assert look_at_checkout(root).difference is None
    (root / "edgeops" / "new.py").write_text("new = 1\n")
    first = look_at_checkout(root).difference
    (root / "edgeops" / "new.py").write_text("new = 2\n")
    assert None is not first != look_at_checkout(root).difference


def test_code_that_runs_from_no_checkout_tells_no_commit(tmp_path):
    assert look_at_checkout(tmp_path) == Checkout()
    (tmp_path / ".git").mkdir()
    assert look_at_checkout(tmp_path) == Checkout()
