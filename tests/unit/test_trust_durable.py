"""What a device verified is on disk before it counts: a power cut cannot make an older repository acceptable."""

import errno
import os

import pytest

from edgeops.trust.frames import FailureKind
from tests.integration.trust_rig import DESCRIPTOR, Site, kind_of, listed
from tests.unit.test_trust_storage import written_through


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def metadata(site):
    return site.state / "metadata"


def test_the_metadata_that_was_verified_is_written_through_and_then_its_folders(site, metadata, monkeypatch):
    with written_through(monkeypatch) as kept:
        assert listed(site.ask(DESCRIPTOR)) == {DESCRIPTOR}
    for name in ("timestamp.json", "snapshot.json", "targets.json"):
        assert kept.index(metadata / name) < kept.index(metadata)
    history = metadata / "root_history"
    assert kept.index(history / "1.root.json") < kept.index(history) < kept.index(metadata)


def test_what_was_verified_before_something_is_refused_is_written_through_as_well(site, metadata, monkeypatch):
    site.ask(DESCRIPTOR)
    site.repository.withdraw([DESCRIPTOR], site.now)

    def without_snapshot(path):
        return None if "snapshot" in path else site.read(path)

    before = (metadata / "timestamp.json").read_bytes()
    with written_through(monkeypatch) as kept:
        assert kind_of(site.ask(fetch=without_snapshot)) is FailureKind.MISSING
    assert (metadata / "timestamp.json").read_bytes() != before
    assert {metadata / "timestamp.json", metadata} <= set(kept)


def test_a_disk_that_does_not_keep_it_is_a_failure_of_the_disk(site, metadata, monkeypatch):
    site.ask(DESCRIPTOR)

    def fails(_handle):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        assert kind_of(site.ask(DESCRIPTOR)) is FailureKind.DISK
    assert listed(site.ask(DESCRIPTOR)) == {DESCRIPTOR}
