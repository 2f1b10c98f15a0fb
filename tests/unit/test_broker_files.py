"""The files that a mosquitto is started with, and who is told to read them again."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.errors import ConfigError, InputError
from fleet_server import broker
from fleet_server.config import ServerConfig

#: Made by mosquitto_passwd 2.0.11 for the password `secret`.
MADE_BY_MOSQUITTO = (
    "$7$101$qlWozN+3aSEZ0e3v$vYIFuJew2cyK1adXAI4yJOcpKYEUY3Mn6arXIRG4mZhgmAwW9YiQz2y8k9M6YSmaPyHPKGNwklJDfkQsmh5huw=="
)


@pytest.fixture
def config(tmp_path):
    return ServerConfig(tmp_path / "data with a space", broker_port=1884)


def test_hashes_are_those_of_mosquitto_passwd():
    assert broker.password_matches(MADE_BY_MOSQUITTO, "secret")
    assert not broker.password_matches(MADE_BY_MOSQUITTO, "Secret")


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_hash_matches_its_password_and_no_other(password):
    stored = broker.hash_password(password)
    assert broker.password_matches(stored, password)
    assert not broker.password_matches(stored, password + "x")
    assert stored != broker.hash_password(password)


@pytest.mark.parametrize("stored", ["", "plain", "$7$", "$7$101$*$*", "$6$abc$def"])
def test_what_is_no_hash_matches_nothing(stored):
    assert not broker.password_matches(stored, "secret")


def test_passwords_never_repeat():
    assert len({broker.new_password() for _ in range(100)}) == 100


def test_only_the_owner_reads_the_files(config):
    broker.write_configuration(config)
    broker.write_accounts(config, {"edgeops-server": MADE_BY_MOSQUITTO})
    for path in (config.broker_conf, config.broker_acl, config.broker_passwd):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(config.broker.stat().st_mode) == 0o700


def test_the_broker_listens_on_loopback_and_knows_everybody(config):
    broker.write_configuration(config)
    lines = config.broker_conf.read_text().splitlines()
    assert "listener 1884 127.0.0.1" in lines
    assert "allow_anonymous false" in lines
    assert ("user root" in lines) == (os.geteuid() == 0)


@pytest.mark.parametrize("username", ["", "a", "a:b", "line\nbreak", "UPPER", "with space", "#", "x" * 64])
def test_a_name_that_could_break_the_file_or_a_topic_is_refused(config, username):
    config.broker.mkdir(parents=True)
    with pytest.raises(InputError, match="broker account"):
        broker.write_accounts(config, {username: MADE_BY_MOSQUITTO})
    assert not config.broker_passwd.exists()


def test_without_a_broker_nobody_is_told(config):
    assert broker.reload(config) is False


def test_a_stranger_with_the_pid_of_a_dead_broker_is_left_alone(config):
    broker.write_configuration(config)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        config.broker_pid.write_text(f"{stranger.pid}\n")
        assert broker.reload(config) is False
        stranger.communicate(b"\n", timeout=30)
    assert stranger.returncode == 0


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "999999999", "\x00"])
def test_a_damaged_pid_file_names_nobody(config, text):
    broker.write_configuration(config)
    config.broker_pid.write_text(text)
    assert broker.broker_pid(config) is None


def test_a_broker_that_just_starts_is_not_killed_by_the_signal(config):
    broker.write_configuration(config)
    starts = "import signal, sys; input(); signal.signal(1, lambda *_: sys.exit(7)); signal.pause()"
    child = subprocess.Popen([sys.executable, "-c", starts, str(config.broker_conf)], stdin=subprocess.PIPE)
    try:
        config.broker_pid.write_text(f"{child.pid}\n")
        with ThreadPoolExecutor() as pool:
            reloading = pool.submit(broker.reload, config)
            child.stdin.write(b"\n")
            child.stdin.flush()
            assert reloading.result() is True
        assert child.wait(30) == 7
    finally:
        child.kill()
        child.communicate()


def test_a_folder_that_was_not_prepared_says_how_to(config):
    with pytest.raises(ConfigError, match="init"):
        broker.server_password(config)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", ""])
@pytest.mark.parametrize("side", ["api_host", "broker_host"])
def test_a_listener_beyond_loopback_is_refused(tmp_path, side, host):
    with pytest.raises(ConfigError, match="loopback"):
        ServerConfig(tmp_path, **{side: host})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_has_several_names(tmp_path, host):
    assert ServerConfig(tmp_path, api_host=host).api_host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_listener_on_every_address_needs_a_name_that_devices_use(tmp_path, host):
    with pytest.raises(ConfigError, match="--host"):
        ServerConfig(tmp_path, api_host=host, broker_host=host, tls=True)


def test_a_listener_beyond_loopback_speaks_tls_and_nothing_else(tmp_path):
    config = ServerConfig(tmp_path, api_host="0.0.0.0", broker_host="0.0.0.0", tls=True, names=("Fleet.Example",))
    assert config.certificate_names == ("fleet.example", "localhost", "127.0.0.1", "::1")
    broker.write_configuration(config)
    lines = config.broker_conf.read_text().splitlines()
    assert [line for line in lines if line.startswith("listener")] == ["listener 8471 0.0.0.0"]
    assert {"tls_version tlsv1.2", f"certfile {config.certificate}", f"keyfile {config.certificate}"} <= set(lines)


@pytest.mark.parametrize(
    ("reached", "told"), [("10.0.0.7", "10.0.0.7"), ("fleet.example", "fleet.example"), ("evil.example", "10.0.0.7")]
)
def test_a_device_is_sent_to_the_broker_under_the_name_by_which_it_came_if_that_is_ours(tmp_path, reached, told):
    config = ServerConfig(tmp_path, api_host="::", broker_host="::", tls=True, names=("10.0.0.7", "fleet.example"))
    assert config.broker_host_for(reached) == told


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_does_not_exist_is_refused(tmp_path, port):
    with pytest.raises(ConfigError, match=str(port)):
        ServerConfig(tmp_path, broker_port=port)


def test_a_data_folder_that_would_break_the_configuration_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unprintable"):
        ServerConfig(tmp_path / "a\nallow_anonymous true")
