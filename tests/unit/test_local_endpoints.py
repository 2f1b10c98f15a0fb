"""Ports, the lock of a data folder, and what `edgeops up` leaves for other commands."""

import os
import socket
import subprocess
import sys

import pytest

from edgeops.errors import ConfigError, ConflictError, PlatformError
from edgeops.local.endpoints import (
    Endpoints,
    exclusive,
    free_port,
    make_folder,
    read_endpoints,
    write_endpoints,
)
from edgeops.local.mosquitto import choose_broker, find_mosquitto


def test_the_last_port_is_taken_again_when_it_is_free():
    port = free_port()
    assert free_port(port) == port


def test_a_port_in_use_is_not_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert free_port(port) != port


def test_endpoints_are_read_back(tmp_path):
    assert read_endpoints(tmp_path) is None
    (tmp_path / "run").mkdir()
    endpoints = Endpoints(url="http://127.0.0.1:8470", broker_host="127.0.0.1", broker_port=8471, pid=7)
    write_endpoints(tmp_path, endpoints)
    assert read_endpoints(tmp_path) == endpoints
    assert endpoints.api_port == 8470


def test_one_data_folder_has_one_owner_and_a_second_one_learns_who(tmp_path):
    with exclusive(tmp_path), pytest.raises(ConflictError, match=f"process {os.getpid()}"), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass


def test_the_lock_goes_with_its_owner_however_it_ends(tmp_path):
    code = (
        "import sys, time, pathlib; from edgeops.local.endpoints import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner.stdout:
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError, match=str(owner.pid)), exclusive(tmp_path):
            pass
        owner.kill()
        owner.wait()
    with exclusive(tmp_path):
        pass


def test_a_broker_named_by_the_environment_is_used(tmp_path, monkeypatch):
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\n")
    monkeypatch.setenv("EDGEOPS_MOSQUITTO", str(program))
    with pytest.raises(PlatformError, match="is no program"):
        find_mosquitto(tmp_path)
    program.chmod(0o755)
    assert find_mosquitto(tmp_path) == program


def test_without_mosquitto_the_embedded_broker_runs_unless_mosquitto_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeops.local.mosquitto._SYSTEM", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EDGEOPS_MOSQUITTO", raising=False)
    monkeypatch.setattr("edgeops.local.mosquitto.__file__", str(tmp_path / "a/b/c/d.py"))
    assert choose_broker(tmp_path) is None
    monkeypatch.setenv("EDGEOPS_BROKER", "mosquitto")
    with pytest.raises(PlatformError, match="no mosquitto found"):
        choose_broker(tmp_path)
    monkeypatch.setenv("EDGEOPS_BROKER", "rabbit")
    with pytest.raises(ConfigError, match="EDGEOPS_BROKER=rabbit is no broker"):
        choose_broker(tmp_path)


def test_the_embedded_broker_can_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEOPS_BROKER", "amqtt")
    assert choose_broker(tmp_path) is None


def test_a_data_folder_that_cannot_be_is_named_with_what_to_do(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for wrong in (file, file / "below"):
        with pytest.raises(ConfigError, match=r"cannot make the data folder .*file.*; name another with --data"):
            make_folder(wrong)


def test_a_data_folder_that_takes_nothing_is_named(tmp_path, monkeypatch):
    # The superuser may write anywhere, so the answer of the system is given here.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match="cannot write into the data folder"):
        make_folder(tmp_path)


def test_endpoints_that_are_not_text_are_named(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/endpoints.json").write_bytes(b'{"url":"\xff"}')
    with pytest.raises(ConfigError, match=r"cannot read .*endpoints\.json"):
        read_endpoints(tmp_path)
