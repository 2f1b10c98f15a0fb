"""Preparing a data folder, and the processes that are started on it."""

import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from edgeops import __version__
from edgeops.api.client import Client
from edgeops.api.roles import Role
from edgeops.errors import AccessError, UnreachableError
from fleet_server import broker
from fleet_server.access import Access
from fleet_server.cli import main
from fleet_server.config import ServerConfig
from fleet_server.db import devices
from fleet_server.db.database import Database
from fleet_server.setup import init
from tests.integration.link_rig import DEADLINE_S, eventually
from tests.integration.ports import free_port

pytestmark = pytest.mark.slow

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    return ServerConfig(tmp_path / "data")


@pytest.fixture
def prepared(config):
    init(config, now=NOW)
    return config


def contents(config):
    """Every file but the databases and locks."""
    files = [path for path in config.data.rglob("*") if path.is_file() and path.parent != config.db]
    return {path.relative_to(config.data).as_posix(): path.read_bytes() for path in files}


def accounts(config):
    return dict(line.split(":", 1) for line in config.broker_passwd.read_text().splitlines())


def test_preparing_again_changes_nothing(prepared):
    before = contents(prepared)
    init(prepared, now=datetime.now(UTC))
    assert contents(prepared) == before
    assert {f"keys/{name}.pem" for name in ("root", "targets", "snapshot", "timestamp", "fleet-1")} <= set(before)


@pytest.mark.parametrize(
    "lost",
    ["broker/passwd", "broker/acl", "broker/mosquitto.conf", "broker/server.password", "keys/admin.token"],
)
def test_what_was_lost_is_made_again(prepared, lost):
    (prepared.data / lost).unlink()
    init(prepared, now=NOW)
    assert (prepared.data / lost).exists()
    assert broker.password_matches(accounts(prepared)["edgeops-server"], broker.server_password(prepared))
    database = Database.in_folder(prepared.db)
    token = prepared.admin_token.read_text().strip()
    assert Access(database).identify(token, now=NOW).role is Role.ADMIN
    database.close()


def test_keys_that_were_moved_away_are_not_made_anew(prepared):
    for name in ("root.pem", "targets.pem"):
        (prepared.keys / name).unlink()
    init(prepared, now=NOW)
    assert not (prepared.keys / "root.pem").exists()
    assert not (prepared.keys / "targets.pem").exists()


def test_another_port_is_taken_over_and_devices_stay(prepared):
    database = Database.in_folder(prepared.db)
    with database.write() as connection:
        devices.set_broker_account(connection, "pump-0001", password_hash=broker.hash_password("x"), now=NOW)
    database.close()
    init(ServerConfig(prepared.data, broker_port=2883), now=NOW)
    assert "listener 2883 127.0.0.1" in prepared.broker_conf.read_text()
    assert set(accounts(prepared)) == {"edgeops-server", "pump-0001"}


def test_a_folder_that_was_not_prepared_is_a_usage_error(tmp_path, capsys):
    for command in (["api"], ["link"], ["jobs"], ["token", "--role", "admin", "--name", "me"], ["enrolment-token"]):
        assert main([*command, "--data", str(tmp_path)]) == 2
        assert "edgeops-server init" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_held_process_looks_at_the_folder_only_when_it_may_begin(tmp_path):
    command = [sys.executable, "-m", "fleet_server.cli", "broker", "--held", "--data", str(tmp_path)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)
        _, said = child.communicate(timeout=DEADLINE_S)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 2
    assert b"is no data folder of a server" in said


def test_the_data_folder_may_come_from_the_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EDGEOPS_DATA", str(tmp_path / "named"))
    assert main(["init"]) == 0
    assert str(tmp_path / "named/keys") in capsys.readouterr().out
    assert (tmp_path / "named/keys/admin.token").exists()


def test_tokens_are_printed_alone_on_stdout(prepared, capsys):
    assert main(["token", "--data", str(prepared.data), "--role", "viewer", "--name", "me"]) == 0
    token = capsys.readouterr().out.strip()
    assert main(["enrolment-token", "--data", str(prepared.data), "--count", "3"]) == 0
    enrolment = capsys.readouterr().out.split()
    database = Database.in_folder(prepared.db)
    access = Access(database)
    assert access.identify(token, now=datetime.now(UTC)).role is Role.VIEWER
    assert len({access.check_enrolment_token(one).id for one in enrolment}) == 3
    database.close()


@pytest.mark.parametrize(
    "arguments",
    [[], ["dance"], ["token"], ["token", "--role", "king", "--name", "me"], ["enrolment-token", "--count", "0"]],
)
def test_arguments_that_make_no_sense_are_a_usage_error(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: edgeops-server" in capsys.readouterr().err


def test_the_api_process_answers_and_ends_when_told(prepared):
    port = free_port()
    command = [sys.executable, "-m", "fleet_server.cli", "api", "--data", str(prepared.data), "--api-port", str(port)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        with Client(f"http://127.0.0.1:{port}", prepared.admin_token.read_text().strip()) as client:
            eventually(lambda: _health(client) == __version__, what="the API answers")
            assert list(client.devices()) == []
        with Client(f"http://127.0.0.1:{port}") as nobody, pytest.raises(AccessError, match="no bearer token"):
            list(nobody.devices())
        second = subprocess.run(command, capture_output=True, check=False, timeout=DEADLINE_S)
        assert second.returncode == 2
        assert b"Address already in use; choose another --api-port" in second.stderr
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=DEADLINE_S)
        assert child.returncode in {0, -signal.SIGTERM}
    finally:
        child.kill()
        child.communicate()


def _health(client):
    try:
        return client.health().version
    except UnreachableError:
        return None
