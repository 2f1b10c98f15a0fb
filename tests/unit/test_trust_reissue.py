"""A restored repository against a device that has seen what came after the backup."""

import shutil
from datetime import timedelta

import pytest

from edgeops.errors import ConfigError
from edgeops.trust.frames import FailureKind
from edgeops.trust.reissue import Reissue
from edgeops.trust.repository import Repository
from tests.delegating import delegate
from tests.integration.trust_rig import DESCRIPTOR, SECOND, Site, kind_of, listed

THIRD = "models/digits/3-int8.json"


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def lost(tmp_path, site):
    """The backup's repository and online keys, and where root and targets lie."""
    folder, keys, safe = tmp_path / "restored", tmp_path / "restored-keys", tmp_path / "safe"
    keys.mkdir()
    safe.mkdir()
    shutil.copytree(site.served, folder)
    for role in ("snapshot", "timestamp"):
        shutil.copy(site.keys / f"{role}.pem", keys)
    for role in ("root", "targets"):
        shutil.copy(site.keys / f"{role}.pem", safe)
    return folder, keys, safe


def serve(site, folder):
    """The device finds the restored repository at the old address."""
    site.served = folder


def roots(folder):
    return {int(path.name.partition(".")[0]) for path in folder.glob("metadata/*.root.json")}


def test_with_the_offline_keys_a_device_forgets_all_that_the_lost_server_signed(site, lost):
    folder, keys, safe = lost
    for path in (SECOND, THIRD):
        site.repository.publish({path: b"{}"}, site.now)
    delegate(site.repository, "digits", site.now)
    site.repository.publish({"models/digits/auto/9-int8.json": b"{}"}, site.now)
    assert SECOND in listed(site.ask("models/digits/auto/9-int8.json"))

    reissue = Reissue(folder, keys, offline=[safe])
    assert reissue.can_replace_keys
    done = reissue.replace_keys({SECOND: b'{"again": 1}'}, site.now)
    serve(site, folder)
    assert done.new_keys
    assert listed(site.ask(DESCRIPTOR, SECOND)) == {DESCRIPTOR, SECOND}
    Repository.open(folder, keys, offline=safe).publish({THIRD: b"{}"}, site.now)
    assert THIRD in listed(site.ask(THIRD))


def test_a_root_above_what_devices_have_brings_them_to_a_backup_that_was_restored_before(site, lost, tmp_path):
    folder, keys, safe = lost
    again = [shutil.copytree(folder, tmp_path / name) for name in ("again", "at-last")]
    Reissue(folder, keys, offline=[safe]).replace_keys({}, site.now)
    serve(site, folder)
    assert DESCRIPTOR in listed(site.ask())
    site.now += timedelta(days=1)
    Reissue(again[0], keys, offline=[safe]).replace_keys({}, site.now)
    serve(site, again[0])
    assert kind_of(site.ask()) is FailureKind.UNSIGNED
    Reissue(again[1], keys, offline=[safe]).replace_keys({}, site.now, above=2)
    serve(site, again[1])
    assert roots(again[1]) == {1, 2, 3}
    assert DESCRIPTOR in listed(site.ask())


def test_a_root_is_one_above_the_backups_unless_devices_have_a_later_one(site, lost):
    folder, keys, safe = lost
    Reissue(folder, keys, offline=[safe]).replace_keys({}, site.now, above=1)
    assert roots(folder) == {1, 2}


def test_the_lost_server_is_believed_no_more_once_its_keys_were_replaced(site, lost):
    folder, keys, safe = lost
    Reissue(folder, keys, offline=[safe]).replace_keys({}, site.now)
    old = site.served
    serve(site, folder)
    assert DESCRIPTOR in listed(site.ask())
    site.repository.publish({SECOND: b"{}"}, site.now)
    serve(site, old)
    assert kind_of(site.ask()) is FailureKind.UNSIGNED


def test_with_its_own_keys_a_server_counts_above_what_was_signed_again_since(site, lost):
    folder, keys, _ = lost
    for _ in range(5):
        site.repository.refresh(site.now, force=True)
    site.ask()
    serve(site, folder)
    assert kind_of(site.ask()) is FailureKind.ROLLBACK, "as it was in the backup"

    done = Reissue(folder, keys).count_higher(site.now)
    assert (done.new_keys, done.versions["timestamp"]) == (False, int(site.now.timestamp()))
    assert listed(site.ask(DESCRIPTOR)) == {DESCRIPTOR}
    later = site.now + timedelta(days=1)
    assert Reissue(folder, keys).count_higher(later).versions["snapshot"] > done.versions["snapshot"]


def test_with_its_own_keys_alone_it_cannot_undo_what_was_signed_offline_since(site, lost):
    folder, keys, safe = lost
    site.repository.publish({SECOND: b"{}"}, site.now)
    site.ask()
    Reissue(folder, keys).count_higher(site.now)
    serve(site, folder)
    assert kind_of(site.ask()) is FailureKind.ROLLBACK

    (safe / "root.pem").unlink()
    assert Reissue(folder, keys, offline=[safe]).count_higher(site.now + timedelta(seconds=5)).new_keys is False
    assert listed(site.ask()) == {DESCRIPTOR}


def test_what_a_delegated_key_signed_counts_higher_too(site, lost):
    folder, keys, _ = lost
    delegate(site.repository, "digits", site.now)
    shutil.rmtree(folder)
    shutil.copytree(site.served, folder)
    shutil.copy(site.keys / "auto-digits.pem", keys)
    auto = "models/digits/auto/9-int8.json"
    site.repository.publish({auto: b"{}"}, site.now)
    assert auto in listed(site.ask(auto))

    Reissue(folder, keys).count_higher(site.now)
    serve(site, folder)
    assert listed(site.ask(auto)) == {DESCRIPTOR}


def test_without_enough_keys_nothing_is_written(lost, site):
    folder, keys, safe = lost
    before = {file: file.read_bytes() for file in folder.rglob("*.json")}
    for name in ("root.pem", "targets.pem"):
        (safe / name).unlink()
    with pytest.raises(ConfigError, match="root and targets"):
        Reissue(folder, keys, offline=[safe]).replace_keys({}, site.now)
    (keys / "snapshot.pem").unlink()
    with pytest.raises(ConfigError, match="snapshot"):
        Reissue(folder, keys).count_higher(site.now)
    assert {file: file.read_bytes() for file in folder.rglob("*.json")} == before
