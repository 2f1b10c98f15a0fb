"""The files of trust: one writer at a time, damage is told as damage, and what was written or removed outlives a power cut."""

import fcntl
import json
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgeops.errors import ConfigError, TrustError
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.trust.change import sign
from edgeops.trust.custody import key_file, move_offline, next_key_file
from edgeops.trust.draft import Draft
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id, prepare, promote, tuf_key
from edgeops.trust.storage import Storage

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TARGET = "models/digits/1-int8.json"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data/repository"


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "data/keys"


@pytest.fixture
def repository(folder, keys):
    return Repository.create(folder, keys, NOW)


# -- damage -----------------------------------------------------------------------------------


def without_roots(metadata):
    for root in metadata.glob("*.root.json"):
        root.unlink()


def with_a_root_of_no_version(metadata):
    (metadata / "new.root.json").write_bytes(b"{}")


def without_targets(metadata):
    (metadata / "1.targets.json").unlink()


def with_a_snapshot_that_names_no_targets(metadata):
    snapshot = metadata / "1.snapshot.json"
    content = json.loads(snapshot.read_bytes())
    content["signed"]["meta"] = {"else.json": {"version": 1}}
    snapshot.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "spoil",
    [without_roots, with_a_root_of_no_version, without_targets, with_a_snapshot_that_names_no_targets],
)
def test_whatever_is_damaged_is_told_with_the_way_out(repository, folder, spoil):
    spoil(folder / "metadata")
    with pytest.raises(TrustError, match=r"repository is damaged: .*; restore it from a backup"):
        repository.listed()


# -- one at a time ----------------------------------------------------------------------------


def test_while_one_writes_to_a_repository_no_other_process_does(repository, folder):
    with Storage(folder).alone(), (folder / ".lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (folder / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


# -- a power cut ------------------------------------------------------------------------------


@contextmanager
def written_through(monkeypatch):
    """The files and folders that the disk was asked to keep, in order."""
    kept = []
    fsync = os.fsync

    def watch(handle):
        kept.append(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", watch)
        yield kept


def test_a_folder_that_a_target_needed_outlives_a_power_cut(repository, folder, monkeypatch):
    with written_through(monkeypatch) as kept:
        repository.publish({TARGET: b"{}"}, NOW)
    targets = folder / "targets"
    assert kept[:2] == [targets, targets / "models"], "each folder by the one that it was made in"
    with written_through(monkeypatch) as kept:
        repository.publish({"models/digits/2-int8.json": b"{}"}, NOW)
    assert targets not in kept


def test_a_change_that_is_published_is_not_begun_again_after_a_power_cut(repository, folder, keys, monkeypatch):
    draft = Draft(repository.base(), NOW)
    draft.renew(["root"])
    change = draft.finish()
    sign(change, by_id(keys))
    with written_through(monkeypatch) as kept:
        repository.submit(change, NOW)
    assert kept[-1] == folder
    assert not (folder / "pending-change.json").exists()


def test_a_key_that_moved_away_stays_away_after_a_power_cut(repository, keys, tmp_path, monkeypatch):
    with written_through(monkeypatch) as kept:
        move_offline(keys, tmp_path / "stick")
    assert kept[-1] == keys
    assert kept.count(keys) == 1, "the removals, after all copies were kept"


def test_a_key_that_took_its_place_keeps_it_after_a_power_cut(repository, keys, monkeypatch):
    public = prepare(keys, "root")
    with written_through(monkeypatch) as kept:
        assert promote(keys, {"another"}) == ()
        assert kept == []
        assert promote(keys, {tuf_key(public).keyid}) == ("root",)
    assert kept == [keys]


# -- keys -------------------------------------------------------------------------------------


def test_a_copy_that_cannot_be_read_is_told_though_its_original_is_gone(repository, keys, tmp_path):
    """A move that was interrupted left the root key on a stick that has lost it."""
    stick = tmp_path / "stick"
    stick.mkdir()
    key_file(keys, "root").rename(key_file(stick, "root"))
    key_file(stick, "root").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"cannot read the private key .*root\.pem"):
        move_offline(keys, stick)
    assert key_file(keys, "targets").exists(), "nothing is removed beside it"


def test_a_key_that_was_replaced_is_gone_unless_somebody_wants_to_keep_it(tmp_path):
    before, public = SigningKey.generate(), prepare(tmp_path, "root")
    trusted = {tuf_key(public).keyid}
    write_private_key(key_file(tmp_path, "root"), before)
    assert promote(tmp_path, trusted) == ("root",)
    assert [path.name for path in tmp_path.iterdir()] == ["root.pem"]


def test_the_first_key_of_a_role_takes_a_place_that_nobody_had(tmp_path):
    public = prepare(tmp_path, "root")
    assert next_key_file(tmp_path, "root").name == "root.next.pem", "the name by which people find it"
    assert promote(tmp_path, {tuf_key(public).keyid}, keep=True) == ("root",)
    assert [path.name for path in tmp_path.iterdir()] == ["root.pem"]
