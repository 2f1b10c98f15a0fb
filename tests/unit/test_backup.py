"""Backups: what is in them, what is not, and what a restore refuses."""

import json
import shutil
import sqlite3
import tarfile
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from sqlalchemy import select

from edgeops.errors import ConfigError, ConflictError, InputError, NotFoundError, PlatformError
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.protocol.messages import DesiredDeployment, Presence
from edgeops.protocol.topics import DownKind
from edgeops.trust.authorities import AUTHORITIES_TARGET, decode_authorities
from edgeops.trust.issuing import issuers_in
from edgeops.trust.repository import Repository
from edgeops.trust.storage import Storage
from fleet_server.access import Access
from fleet_server.backup.manifest import MANIFEST_FILE
from fleet_server.backup.restoring import Order, restore
from fleet_server.backup.taking import prune, take
from fleet_server.cli import main
from fleet_server.config import ServerConfig
from fleet_server.db import audit, devices, outbox, settings, tables, tokens
from fleet_server.db.database import Database
from fleet_server.setup import init
from fleet_server.starter import descriptor

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    config = ServerConfig(tmp_path_factory.mktemp("pristine") / "data")
    init(config, now=NOW, starter=True)
    return config.data


@pytest.fixture
def server(tmp_path, pristine):
    return ServerConfig(shutil.copytree(pristine, tmp_path / "data"))


@pytest.fixture
def safe(tmp_path, server):
    """Where a person keeps root and targets."""
    folder = tmp_path / "safe"
    folder.mkdir()
    for name in ("root.pem", "targets.pem"):
        shutil.copy(server.keys / name, folder)
    return folder


@pytest.fixture
def place(tmp_path):
    return tmp_path / "backups"


def silent(_line):
    pass


def back_up(server, place, *, now=NOW, with_online_keys=False, say=silent):
    return take(server, place, with_online_keys=with_online_keys, now=now, say=say)


def bring_back(place, target, *, keys=None, backup_id=None):
    order = Order(place=place, target=target, backup_id=backup_id, offline_keys=() if keys is None else (keys,))
    return restore(order, LATER, say=silent)


def folder_of(place, taken):
    return place / "backups" / taken.id


def private_halves(place):
    """Every private key that can be read anywhere below a folder, by its public half."""
    found = {}
    for file in place.rglob("*"):
        if file.is_file() and b"PRIVATE KEY" in file.read_bytes():
            found[public_half(file)] = file.name
    return found


def public_half(file):
    """32 bytes of an Ed25519 key, or the point of a CA's, as hex."""
    public = load_pem_private_key(file.read_bytes(), password=None).public_key()
    is_authority = isinstance(public, EllipticCurvePublicKey)
    form = (Encoding.X962, PublicFormat.CompressedPoint) if is_authority else (Encoding.Raw, PublicFormat.Raw)
    return public.public_bytes(*form).hex()


def online(server):
    """The files of keys that a server cannot do without."""
    return sorted(["fleet-1.pem", "snapshot.pem", "timestamp.pem", *(one.name for one in server.keys.glob("ca-*.pem"))])


# -- what is in it -----------------------------------------------------------------------


def test_a_backup_brings_everything_back(server, place, safe, tmp_path):
    taken = back_up(server, place)
    restored = bring_back(place, tmp_path / "new", keys=safe)
    assert restored.backup_id == taken.id
    new = ServerConfig(tmp_path / "new")
    assert new.blob_path(descriptor().digest).read_bytes() == server.blob_path(descriptor().digest).read_bytes()
    init(new, now=LATER)
    with closing(Database.in_folder(new.db)) as database, database.read() as connection:
        assert [row.model for row in connection.execute(select(tables.artifacts))] == ["starter"]


def test_recipes_of_ones_own_come_back_and_run_only_when_a_person_lets_them(server, place, safe, tmp_path, capsys):
    server.recipes.mkdir()
    (server.recipes / "narrow.py").write_text("# a recipe\n")
    (server.recipes / "Not a recipe.py").write_text("# notes\n")
    back_up(server, place)
    target = tmp_path / "new"
    main(["restore", str(place), "--data", str(target), "--keys", str(safe)])
    new = ServerConfig(target)
    assert not new.recipes.exists()
    assert [one.name for one in new.restored_recipes.iterdir()] == ["narrow.py"]
    assert (new.restored_recipes / "narrow.py").read_text() == "# a recipe\n"
    assert f"recipes of your own are in {new.restored_recipes}" in capsys.readouterr().err


def test_no_private_key_is_in_a_backup(server, place):
    back_up(server, place)
    assert private_halves(place) == {}


def test_root_and_targets_are_in_no_backup_whatever_their_files_are_called(server, place):
    shutil.copy(server.keys / "targets.pem", server.keys / "auto-pump.pem")
    shutil.copy(server.keys / "root.pem", server.keys / "fleet-7.pem")
    write_private_key(server.keys / "somebody.pem", SigningKey.generate())
    back_up(server, place, with_online_keys=True)
    assert private_halves(place) == {public_half(server.keys / name): name for name in online(server)}


def test_a_backup_is_for_its_owner_only(server, place):
    taken = back_up(server, place, with_online_keys=True)
    assert place.stat().st_mode & 0o077 == 0
    files = [file for file in folder_of(place, taken).rglob("*") if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_person_is_told_when_the_offline_keys_lie_on_the_server_only(server, place):
    assert back_up(server, place).offline_keys_here
    for name in ("root.pem", "targets.pem"):
        (server.keys / name).unlink()
    assert not back_up(server, place, now=LATER).offline_keys_here


def test_a_blob_is_copied_once_however_many_backups_need_it(server, place):
    first = back_up(server, place)
    [blob] = [one for one in place.glob("blobs/??/*") if one.name.endswith(descriptor().digest[-20:])]
    written = blob.stat().st_ino
    second = back_up(server, place, now=LATER)
    assert first.id < second.id
    assert blob.stat().st_ino == written


def test_a_blob_that_the_medium_spoilt_is_replaced_by_the_next_backup(server, place, safe, tmp_path):
    back_up(server, place)
    for blob in place.glob("blobs/??/*"):
        blob.chmod(0o600)
        spoilt = bytearray(blob.read_bytes())
        spoilt[len(spoilt) // 2] ^= 1
        blob.write_bytes(spoilt)
    back_up(server, place, now=LATER)
    bring_back(place, tmp_path / "new", keys=safe)


def test_pruning_keeps_the_newest_and_the_blobs_that_they_need(server, place, safe, tmp_path):
    back_up(server, place)
    old = place / "blobs/ab" / ("0" * 62)
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"of a model that no backup names")
    newest = back_up(server, place, now=LATER)
    assert len(prune(place, keep=1)) == 1
    assert not old.exists()
    assert bring_back(place, tmp_path / "new", keys=safe).backup_id == newest.id


def test_a_tar_file_holds_the_same(server, tmp_path, safe):
    file = tmp_path / "one.tar"
    taken = back_up(server, file)
    assert bring_back(file, tmp_path / "new", keys=safe).backup_id == taken.id
    with pytest.raises(ConflictError, match="there already"):
        back_up(server, file)


def test_a_backup_inside_the_data_folder_would_be_lost_with_it(server):
    with pytest.raises(ConfigError, match="inside the data folder"):
        back_up(server, server.data / "backups")


def test_a_backup_of_a_model_whose_file_is_damaged_is_none(server, place):
    server.blob_path(descriptor().digest).write_bytes(b"x")
    told = []
    with pytest.raises(PlatformError, match=f"missing or damaged.*{descriptor().digest}"):
        back_up(server, place, say=told.append)
    assert any("is damaged" in line for line in told)
    assert list((place / "backups").iterdir()) == []


def test_a_change_of_keys_that_is_half_published_is_in_no_backup(server, place):
    Storage(server.repository).remember(b"{}")
    with pytest.raises(PlatformError, match="published by half"):
        back_up(server, place)
    assert list((place / "backups").iterdir()) == []


def test_a_backup_that_was_killed_leaves_nothing_that_counts(server, place, safe, tmp_path):
    (place / "backups/.under-way/db").mkdir(parents=True)
    (place / "backups/.under-way/db/control.db").write_bytes(b"half")
    with pytest.raises(NotFoundError, match="no backup in"):
        bring_back(place, tmp_path / "new", keys=safe)
    back_up(server, place)
    assert len(list((place / "backups").iterdir())) == 1


def test_nothing_counts_as_received_in_a_backup_whose_effect_is_not_in_it(server, tmp_path):
    """Ingestion commits control, then telemetry, over and over while the backup is taken."""
    for name in ("control", "telemetry"):
        with closing(sqlite3.connect(server.db / f"{name}.db")) as connection:
            connection.execute("CREATE TABLE counted (n INTEGER)")
            connection.execute("INSERT INTO counted VALUES (0)")
            connection.commit()
    stopping, turns = threading.Event(), 0

    def ingest():
        nonlocal turns
        with (
            closing(sqlite3.connect(server.db / "control.db", check_same_thread=False)) as control,
            closing(sqlite3.connect(server.db / "telemetry.db", check_same_thread=False)) as telemetry,
        ):
            while not stopping.is_set():
                for connection in (control, telemetry):
                    connection.execute("UPDATE counted SET n = n + 1")
                    connection.commit()
                turns += 1

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        taken = [back_up(server, tmp_path / f"place-{n}") for n in range(5)]
    finally:
        stopping.set()
        thread.join()
    assert turns > 10, "nothing was written meanwhile"
    for number, one in enumerate(taken):
        counts = []
        for name in ("control", "telemetry"):
            with closing(sqlite3.connect(folder_of(tmp_path / f"place-{number}", one) / f"db/{name}.db")) as copy:
                counts.append(copy.execute("SELECT n FROM counted").fetchone()[0])
        assert counts[0] >= counts[1]


# -- what a restore refuses -----------------------------------------------------------------


def spoil(place, taken, what):  # noqa: C901 - one case a way
    folder = folder_of(place, taken)
    manifest = folder / MANIFEST_FILE
    content = json.loads(manifest.read_bytes())
    match what:
        case "a changed byte":
            file = bytearray((folder / "db/control.db").read_bytes())
            file[5_000] ^= 1
            (folder / "db/control.db").write_bytes(file)
        case "a cut file":
            (folder / "db/telemetry.db").write_bytes((folder / "db/telemetry.db").read_bytes()[:-4096])
        case "a missing file":
            (folder / "repository/metadata/timestamp.json").unlink()
        case "a missing blob":
            next(place.glob("blobs/??/*")).unlink()
        case "no manifest":
            manifest.unlink()
        case "half a manifest":
            manifest.write_bytes(manifest.read_bytes()[:100])
        case "a changed manifest":
            content["devices"] = 7
            manifest.write_text(json.dumps(content))
        case "a path that leads elsewhere":
            content["files"]["../../evil"] = content["files"].popitem()[1]
            manifest.write_text(json.dumps(content))
        case "a file for another folder":
            content["files"]["keys/targets.pem"] = content["files"].popitem()[1]
            manifest.write_text(json.dumps(content))
        case "a newer format":
            manifest.write_text(json.dumps({"format": 2, "edgeops": "9.0", "what": "ever"}))


REFUSED = {
    "a changed byte": "db/control.db of the backup was changed or cut",
    "a cut file": "db/telemetry.db of the backup was changed or cut",
    "a missing file": "repository/metadata/timestamp.json is missing in the backup",
    "a missing blob": "blobs/.* is missing in the backup",
    "no manifest": "half a backup",
    "half a manifest": "manifest of this backup is damaged",
    "a changed manifest": "manifest of backup .* was changed",
    "a path that leads elsewhere": "manifest of this backup is damaged",
    "a file for another folder": "manifest of this backup is damaged",
    "a newer format": "made by EdgeOps 9.0, which is newer than this one",
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_left(server, place, safe, tmp_path, what):
    taken = back_up(server, place)
    spoil(place, taken, what)
    with pytest.raises(InputError, match=REFUSED[what]):
        bring_back(place, tmp_path / "new", keys=safe)
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_backup_with_newer_tables_is_refused(server, place, safe, tmp_path):
    with closing(sqlite3.connect(server.db / "control.db")) as connection:
        connection.execute("UPDATE alembic_version_control SET version_num = '9999'")
        connection.commit()
    back_up(server, place)
    with pytest.raises(InputError, match="newer than this one; update EdgeOps first"):
        bring_back(place, tmp_path / "new", keys=safe)


def test_a_cut_tar_file_is_refused(server, tmp_path, safe):
    file = tmp_path / "one.tar"
    back_up(server, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=r"half a backup|no whole \.tar"):
        bring_back(file, tmp_path / "new", keys=safe)


def test_a_restore_into_a_folder_with_something_in_it_is_refused(server, place, safe):
    back_up(server, place)
    before = sorted(server.data.rglob("*"))
    with pytest.raises(ConflictError, match="is not empty"):
        bring_back(place, server.data, keys=safe)
    assert sorted(server.data.rglob("*")) == before


def test_a_restore_that_was_killed_is_begun_again(server, place, safe, tmp_path):
    back_up(server, place)
    left = tmp_path / ".new.restoring/db"
    left.mkdir(parents=True)
    (left / "control.db").write_bytes(b"half")
    bring_back(place, tmp_path / "new", keys=safe)
    assert not (tmp_path / ".new.restoring").exists()


def test_a_server_without_keys_to_speak_with_is_not_restored(server, place, tmp_path, safe):
    back_up(server, place)
    with pytest.raises(ConfigError, match="without online keys"):
        bring_back(place, tmp_path / "new")
    (safe / "root.pem").unlink()
    with pytest.raises(ConfigError, match="the root key is needed"):
        bring_back(place, tmp_path / "new", keys=safe)
    (safe / "targets.pem").unlink()
    with pytest.raises(ConfigError, match="too few targets keys"):
        bring_back(place, tmp_path / "new", keys=safe)


def test_an_older_backup_can_be_named(server, place, safe, tmp_path):
    first = back_up(server, place)
    back_up(server, place, now=LATER)
    assert bring_back(place, tmp_path / "new", keys=safe, backup_id=first.id).backup_id == first.id
    with pytest.raises(NotFoundError, match=first.id):
        bring_back(place, tmp_path / "newer", keys=safe, backup_id="yesterday")


def test_members_of_a_tar_file_that_no_manifest_names_are_not_unpacked(server, tmp_path, safe):
    file, evil = tmp_path / "one.tar", tmp_path / "evil"
    back_up(server, file)
    evil.write_bytes(b"x")
    with tarfile.open(file, "a") as tar:
        tar.add(evil, "keys/admin.token")
    bring_back(file, tmp_path / "new", keys=safe)
    assert not (tmp_path / "new/keys/admin.token").exists()


def listed_authorities(config):
    return decode_authorities(Repository.open(config.repository, config.keys).read(AUTHORITIES_TARGET))


@pytest.mark.parametrize("with_online_keys", [False, True])
def test_with_the_new_keys_comes_a_new_authority(server, place, safe, tmp_path, with_online_keys):
    (before,) = listed_authorities(server)
    back_up(server, place, with_online_keys=with_online_keys)
    restored = bring_back(place, tmp_path / "new", keys=safe)
    new = ServerConfig(tmp_path / "new")
    [issuer] = issuers_in(new.keys)
    assert restored.new_authority
    assert listed_authorities(new) == (issuer.authority,)
    assert issuer.authority != before


def test_the_authority_is_one_of_the_online_keys(server, place, tmp_path):
    (before,) = listed_authorities(server)
    back_up(server, place, with_online_keys=True)
    assert not bring_back(place, tmp_path / "new").new_authority
    new = ServerConfig(tmp_path / "new")
    assert [one.authority for one in issuers_in(new.keys)] == [before]
    assert listed_authorities(new) == (before,)


# -- the commands ------------------------------------------------------------------------------


def command(capsys, *words):
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_person_is_told_what_is_in_a_backup_and_what_to_know_after_a_restore(server, place, safe, tmp_path, capsys):
    code, out, err = command(capsys, "backup", place, "--data", server.data)
    assert (code, "no private key is in it" in err, "and in no backup" in err) == (0, True, True)
    [backup_id] = [one.name for one in (place / "backups").iterdir()]
    assert out.startswith(backup_id)
    code, out, err = command(capsys, "restore", place, "--data", tmp_path / "new", "--keys", safe)
    assert (code, out.startswith(f"{tmp_path / 'new'} is the server of ")) == (0, True)
    for sentence in ("the old server must not come back", "is back: models, devices, tokens", "have to enrol again"):
        assert sentence in err


def test_online_keys_are_told_and_restore_without_the_offline_ones(server, place, tmp_path, capsys):
    code, _, err = command(capsys, "backup", place, "--data", server.data, "--with-online-keys", "--keep", "1")
    assert (code, "guard it like the server itself" in err) == (0, True)
    code, out, err = command(capsys, "restore", place, "--data", tmp_path / "new", "--json")
    assert (code, json.loads(out)["new_keys"]) == (0, False)
    new = ServerConfig(tmp_path / "new")
    assert sorted(file.name for file in new.keys.iterdir()) == online(server)
    code, _, err = command(capsys, "restore", place, "--data", tmp_path / "newer")
    assert "restore again with --keys DIR" in err


def test_what_went_wrong_is_one_line_and_an_exit_code(server, place, safe, tmp_path, capsys):
    assert command(capsys, "restore", place, "--data", tmp_path / "new")[0] == 3
    assert command(capsys, "backup", place, "--data", server.data)[0] == 0
    assert command(capsys, "restore", place, "--data", tmp_path / "new")[0] == 2
    assert command(capsys, "restore", place, "--data", server.data, "--keys", safe)[0] == 6
    assert command(capsys, "backup", tmp_path / "x.tar", "--keep", "3", "--data", server.data)[0] == 2
    code, _, err = command(capsys, "backup", server.data / "x", "--data", server.data)
    assert (code, err.count("\n")) == (2, 1)


# -- what a restored server begins with --------------------------------------------------------


@pytest.fixture
def asked(server):
    """A server that has a device, wants something of it and has made tokens."""
    database = Database.in_folder(server.db)
    wanted = DesiredDeployment(deployment="gas", target="models/gas/1-int8.json", digest=descriptor().digest)
    with database.write() as connection:
        devices.enrol(connection, "pi-1", name="pi-1", hardware="h", public_key=SigningKey.generate().public, now=NOW)
        devices.set_desired(connection, "pi-1", wanted, NOW)
        devices.set_presence(connection, "pi-1", presence=Presence.ONLINE, session_counter=1, now=NOW)
        outbox.post(connection, "pi-1", DownKind.COMMAND, body=b"x", now=NOW)
    [token] = Access(database).create_enrolment_tokens(1, created_by="me", now=LATER)
    database.close()
    return token.text


def test_a_restored_server_wants_nothing_under_a_revision_that_no_device_has_seen(server, asked, place, safe, tmp_path):
    back_up(server, place)
    bring_back(place, tmp_path / "new", keys=safe)
    with closing(Database.in_folder(tmp_path / "new/db")) as database, database.read() as connection:
        desired = devices.desired_of(connection, "pi-1")
        assert (desired.deployments, desired.revision) == ((), int(LATER.timestamp()))
        assert outbox.waiting(connection, limit=10) == ()
        assert devices.get(connection, "pi-1").presence is Presence.OFFLINE
        assert settings.fleet_epoch(connection) == desired.epoch == int(LATER.timestamp())
        [entry] = [one for one in audit.page(connection, limit=10) if one.action == "server.restored"]
        assert entry.data["taken_at"] == NOW.isoformat()
        assert isinstance(audit.verify(connection), audit.Intact)
    again = tmp_path / "newer"
    restore(Order(place=place, target=again, offline_keys=(safe,)), LATER + timedelta(hours=1), say=silent)
    with closing(Database.in_folder(again / "db")) as database, database.read() as connection:
        assert devices.desired_of(connection, "pi-1").revision > desired.revision


def test_an_enrolment_token_that_may_have_been_used_since_is_good_no_more(server, asked, place, safe, tmp_path):
    back_up(server, place)
    bring_back(place, tmp_path / "new", keys=safe)
    with closing(Database.in_folder(tmp_path / "new/db")) as database:
        genuine = Access(database).check_enrolment_token(asked)
        with database.write() as connection:
            assert not tokens.use_enrolment_token(connection, genuine.id, device_id="pi-2", now=LATER)
