"""Moving the root and targets keys off the server leaves each key in at least one place, whatever happens."""

import stat
from datetime import UTC, datetime

import pytest

from edgeops.errors import ConfigError, ConflictError
from edgeops.protocol.keys import SigningKey, read_private_key, write_private_key
from edgeops.trust.custody import OFFLINE, key_file, lie_together, move_offline
from edgeops.trust.repository import Repository

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path):
    Repository.create(tmp_path / "data/repository", tmp_path / "data/keys", NOW)
    return tmp_path / "data/keys"


def publics(folder):
    return {role: read_private_key(key_file(folder, role)).public for role in OFFLINE}


def test_root_and_targets_move_and_the_rest_stays(keys, tmp_path):
    before = publics(keys)
    assert lie_together(keys)

    moved = move_offline(keys, tmp_path / "stick")

    assert publics(tmp_path / "stick") == before
    assert [path.name for path in moved] == ["root.pem", "targets.pem"]
    assert {path.name for path in keys.iterdir()} == {"snapshot.pem", "timestamp.pem"}
    assert not lie_together(keys)
    assert {stat.S_IMODE(path.stat().st_mode) for path in moved} == {0o600}
    assert stat.S_IMODE((tmp_path / "stick").stat().st_mode) == 0o700


def test_keys_move_into_a_folder_that_was_not_there(keys, tmp_path):
    moved = move_offline(keys, tmp_path / "disk" / "fleet" / "keys")
    assert all(path.exists() for path in moved)


def test_moving_again_is_harmless(keys, tmp_path):
    first = move_offline(keys, tmp_path / "stick")
    assert move_offline(keys, tmp_path / "stick") == first


@pytest.mark.parametrize("copied", [("root",), ("root", "targets"), ("targets",)])
def test_a_move_that_was_interrupted_ends_when_it_is_repeated(keys, tmp_path, copied):
    stick = tmp_path / "stick"
    stick.mkdir()
    for role in copied:
        key_file(stick, role).write_bytes(key_file(keys, role).read_bytes())
    key_file(keys, copied[0]).unlink()
    move_offline(keys, stick)
    assert set(publics(stick)) == set(OFFLINE)
    assert not lie_together(keys)


def test_another_key_under_the_same_name_is_not_overwritten_and_nothing_moves(keys, tmp_path):
    stick = tmp_path / "stick"
    stick.mkdir()
    write_private_key(key_file(stick, "targets"), SigningKey.generate())
    theirs = key_file(stick, "targets").read_bytes()
    with pytest.raises(ConflictError, match="another key"):
        move_offline(keys, stick)
    assert key_file(stick, "targets").read_bytes() == theirs
    assert set(publics(keys)) == set(OFFLINE)
    assert not key_file(stick, "root").exists()


@pytest.mark.parametrize("place", ["data", "data/keys", "data/keys/offline", "data/../data/x"])
def test_a_folder_within_the_servers_own_is_refused(keys, tmp_path, place):
    with pytest.raises(ConfigError, match="the server's own folder"):
        move_offline(keys, tmp_path / place)
    assert lie_together(keys)


def test_keys_that_are_nowhere_are_told(keys, tmp_path):
    move_offline(keys, tmp_path / "stick")
    with pytest.raises(ConfigError, match="where was it moved to"):
        move_offline(keys, tmp_path / "elsewhere")


def test_a_folder_that_cannot_be_written_leaves_the_keys_where_they_are(keys, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot move the keys"):
        move_offline(keys, tmp_path / "file/below")
    assert set(publics(keys)) == set(OFFLINE)
