"""The TUF repository: what it lists, and what a crash leaves behind."""

import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.metadata import Metadata

from edgeops import limits
from edgeops.errors import ConfigError, InputError, TrustError
from edgeops.trust.repository import Listed, Repository

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DESCRIPTOR = "models/digits/1-int8.json"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "repository"


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def repository(folder, keys):
    return Repository.create(folder, keys, NOW)


def version_of(folder, name: str) -> int:
    return Metadata.from_file(str(folder / "metadata" / name)).signed.version


def test_a_new_repository_lists_nothing_and_has_one_file_a_role(repository, folder):
    assert repository.listed() == {}
    assert {path.name for path in (folder / "metadata").iterdir()} == {
        "1.root.json",
        "1.targets.json",
        "1.snapshot.json",
        "timestamp.json",
    }


def test_keys_are_readable_by_their_owner_alone(repository, keys):
    assert {path.name for path in keys.iterdir()} == {"root.pem", "targets.pem", "snapshot.pem", "timestamp.pem"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700


def test_creating_again_changes_nothing(repository, folder, keys):
    repository.publish({DESCRIPTOR: b"{}"}, NOW)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    Repository.create(folder, keys, NOW + timedelta(days=1))

    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_each_role_has_a_key_of_its_own(repository):
    root = Metadata.from_bytes(repository.trusted_root()).signed
    ids = [key_id for role in root.roles.values() for key_id in role.keyids]
    assert len(ids) == len(set(ids)) == 4
    assert root.consistent_snapshot


def test_a_published_target_is_listed_and_lies_under_its_hash(repository, folder):
    repository.publish({DESCRIPTOR: b"{}"}, NOW)

    listed = repository.listed()[DESCRIPTOR]
    assert listed == Listed(2, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
    assert (folder / "targets/models/digits" / f"{listed.sha256}.1-int8.json").read_bytes() == b"{}"


def test_publishing_the_same_again_signs_nothing(repository, folder):
    repository.publish({DESCRIPTOR: b"{}"}, NOW)
    before = (folder / "metadata/timestamp.json").read_bytes()

    repository.publish({DESCRIPTOR: b"{}"}, NOW + timedelta(hours=1))

    assert (folder / "metadata/timestamp.json").read_bytes() == before


def test_a_withdrawn_target_is_no_longer_listed(repository):
    repository.publish({DESCRIPTOR: b"{}", "fleet/keys.json": b"[]"}, NOW)

    assert repository.withdraw([DESCRIPTOR], NOW) == (DESCRIPTOR,)

    assert set(repository.listed()) == {"fleet/keys.json"}


def test_withdrawing_again_is_harmless(repository, folder):
    repository.publish({DESCRIPTOR: b"{}"}, NOW)
    repository.withdraw([DESCRIPTOR], NOW)
    before = version_of(folder, "timestamp.json")

    assert repository.withdraw([DESCRIPTOR, "models/never/1-int8.json"], NOW) == ()

    assert version_of(folder, "timestamp.json") == before


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".hidden", "Models/x", "a b", "a/"])
def test_a_path_that_could_leave_the_folder_is_refused(repository, path):
    with pytest.raises(InputError, match="not a target path"):
        repository.publish({path: b""}, NOW)
    assert repository.listed() == {}


def test_every_change_counts_all_versions_up(repository, folder):
    for number in (1, 2):
        repository.publish({f"models/digits/{number}-int8.json": b"{}"}, NOW)
    assert version_of(folder, "timestamp.json") == 3
    assert version_of(folder, "3.snapshot.json") == 3
    assert version_of(folder, "3.targets.json") == 3


def test_a_server_without_the_targets_key_can_refresh_but_publish_nothing(repository, folder, keys):
    repository.publish({DESCRIPTOR: b"{}"}, NOW)
    for role in ("root", "targets"):
        (keys / f"{role}.pem").unlink()
    online = Repository.open(folder, keys)

    with pytest.raises(ConfigError, match="the targets key is not on this machine"):
        online.publish({"models/digits/2-int8.json": b"{}"}, NOW)
    with pytest.raises(ConfigError, match="the targets key is not on this machine"):
        online.withdraw([DESCRIPTOR], NOW)
    assert online.refresh(NOW, force=True)
    assert set(online.listed()) == {DESCRIPTOR}


def test_a_machine_without_the_online_keys_changes_nothing_at_all(repository, folder, keys):
    (keys / "timestamp.pem").unlink()
    before = sorted(path.name for path in (folder / "metadata").iterdir())

    with pytest.raises(ConfigError, match="the timestamp key"):
        Repository.open(folder, keys).publish({DESCRIPTOR: b"{}"}, NOW)

    assert sorted(path.name for path in (folder / "metadata").iterdir()) == before


def test_fresh_metadata_is_not_signed_again(repository):
    assert not repository.refresh(NOW + limits.TIMESTAMP_LIFE / 3)


def test_metadata_past_half_of_its_life_is_signed_again(repository, folder):
    later = NOW + limits.TIMESTAMP_LIFE * 0.6

    assert repository.refresh(later)

    timestamp = Metadata.from_file(str(folder / "metadata/timestamp.json")).signed
    assert timestamp.expires == later + limits.TIMESTAMP_LIFE
    assert version_of(folder, "2.snapshot.json") == 2
    assert not (folder / "metadata/2.targets.json").exists()


def test_targets_past_half_of_their_life_are_signed_again_where_their_key_is(repository, folder):
    assert repository.refresh(NOW + limits.TARGETS_LIFE * 0.6)
    assert version_of(folder, "2.targets.json") == 2


def test_opening_what_is_no_repository_says_how_to_make_one(tmp_path, keys):
    with pytest.raises(ConfigError, match="edgeops-server init"):
        Repository.open(tmp_path / "nothing", keys)


def test_a_damaged_repository_is_named(repository, folder):
    (folder / "metadata/1.targets.json").write_bytes(b"{")
    with pytest.raises(TrustError, match="damaged"):
        repository.listed()


def test_a_crash_after_any_write_leaves_the_state_before_or_after_it(repository, folder):
    repository.publish({DESCRIPTOR: b"{}"}, NOW)
    metadata = folder / "metadata"
    timestamp_before = (metadata / "timestamp.json").read_bytes()
    newer = "models/digits/2-int8.json"
    repository.publish({newer: b"{2}"}, NOW)
    timestamp_after = (metadata / "timestamp.json").read_bytes()
    # Writes happen in this order; a crash cuts the list anywhere.
    writes = [
        next((folder / "targets/models/digits").glob("*.2-int8.json")),
        metadata / "3.targets.json",
        metadata / "3.snapshot.json",
    ]

    (metadata / "timestamp.json").write_bytes(timestamp_before)
    assert set(repository.listed()) == {DESCRIPTOR}
    for path in reversed(writes):
        path.unlink()
        assert set(repository.listed()) == {DESCRIPTOR}
    assert timestamp_after != timestamp_before


@pytest.mark.parametrize("survivors", [0, 1, 2, 3])
def test_publishing_goes_on_after_a_crash_in_the_middle(repository, folder, survivors):
    metadata = folder / "metadata"
    before = (metadata / "timestamp.json").read_bytes()
    repository.publish({DESCRIPTOR: b"{}"}, NOW)
    writes = [
        next((folder / "targets/models/digits").iterdir()),
        metadata / "2.targets.json",
        metadata / "2.snapshot.json",
    ]
    (metadata / "timestamp.json").write_bytes(before)
    for path in writes[survivors:]:
        path.unlink()

    repository.publish({DESCRIPTOR: b"{}"}, NOW)

    assert set(repository.listed()) == {DESCRIPTOR}
    assert version_of(folder, "timestamp.json") == 2


def test_old_versions_are_forgotten_but_not_all_at_once(repository, folder):
    for number in range(1, 31):
        repository.publish({"fleet/keys.json": str(number).encode()}, NOW)
    left = sorted(int(path.name.split(".")[0]) for path in (folder / "metadata").glob("*.targets.json"))
    assert left == list(range(16, 32))
    assert (folder / "metadata/1.root.json").exists()


def test_more_targets_than_devices_accept_are_refused_before_anything_changes(repository, folder):
    many = {f"models/digits/{number}-{'x' * 80}.json": b"{}" for number in range(3_000)}
    with pytest.raises(ConfigError, match="withdraw models"):
        repository.publish(many, NOW)
    assert repository.listed() == {}


def test_two_writers_at_once_lose_nothing(repository, folder, keys):
    def publish(number: int) -> None:
        Repository.open(folder, keys).publish({f"models/digits/{number}-int8.json": b"{}"}, NOW)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(repository.listed()) == 6
    assert version_of(folder, "timestamp.json") == 7


def test_a_file_of_another_role_is_damage(repository, folder):
    (folder / "metadata/1.targets.json").write_bytes((folder / "metadata/1.snapshot.json").read_bytes())
    with pytest.raises(TrustError, match="snapshot metadata where targets is expected; restore it from a backup"):
        repository.listed()
