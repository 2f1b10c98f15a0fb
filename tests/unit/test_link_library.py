"""What a device can be told of the repository over MQTT: delegated metadata and acceptance sets as well."""

from datetime import UTC, datetime

import pytest

from edgeops.protocol.messages import MetaStatus, MetaWish
from edgeops.trust.repository import Repository
from fleet_server.link.meta import Library
from tests.delegating import delegate

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class NoBlobs:
    def find(self, digest):
        raise AssertionError("nobody asked for a block list")


@pytest.fixture
def repository(tmp_path):
    repository = Repository.create(tmp_path / "repository", tmp_path / "keys", NOW)
    delegate(repository, "digits", NOW, alongside={"models/digits/acceptance": b"set"})
    repository.publish({"models/digits/auto/2-int8.json": b"{}"}, NOW)
    return repository


@pytest.mark.parametrize("path", ["metadata/2.auto-digits.json", "metadata/2.targets.json"])
def test_delegated_metadata_is_answered(repository, tmp_path, path):
    part = Library(tmp_path / "repository", NoBlobs()).answer(MetaWish(request=1, path=path))
    assert part.status is MetaStatus.OK
    assert part.data == (tmp_path / "repository" / path).read_bytes()


@pytest.mark.parametrize("target", ["models/digits/auto/2-int8.json", "models/digits/acceptance"])
def test_what_a_delegation_lists_is_answered(repository, tmp_path, target):
    folder, _, name = target.rpartition("/")
    path = f"targets/{folder}/{repository.listed()[target].sha256}.{name}"
    assert Library(tmp_path / "repository", NoBlobs()).answer(MetaWish(request=1, path=path)).status is MetaStatus.OK


@pytest.mark.parametrize("path", ["keys/auto-digits.pem", "metadata/../../keys/auto-digits.pem", "metadata/auto-x"])
def test_keys_are_not(repository, tmp_path, path):
    part = Library(tmp_path / "repository", NoBlobs()).answer(MetaWish(request=1, path=path))
    assert part.status is MetaStatus.MISSING
