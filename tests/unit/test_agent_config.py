"""What an agent keeps in files, and what it says when one cannot be used."""

import json
import stat
from pathlib import Path

import pytest

from device_agent.agent import Agent
from device_agent.config import (
    Deployment,
    Device,
    MqttTarget,
    PredictionMode,
    Replay,
    StateFolder,
    next_boot,
    read_deployment,
    read_device,
    write_deployment,
    write_device,
)
from device_agent.lock import only_agent
from edgeops.errors import ConfigError, ConflictError

DEVICE = Device(
    id="meter-1a2b",
    name="meter",
    server="http://127.0.0.1:1",
    tuf_url="http://127.0.0.1:1/tuf",
    broker_host="127.0.0.1",
    broker_port=1883,
    broker_user="meter-1a2b",
    broker_password="secret",
)


@pytest.fixture
def state(tmp_path):
    return StateFolder(tmp_path)


def test_the_folder_is_the_option_then_the_environment_then_xdg(tmp_path):
    environment = {"EDGEOPS_AGENT_STATE": "/named", "XDG_STATE_HOME": "/xdg"}
    assert StateFolder.chosen(tmp_path, environment).path == tmp_path
    assert StateFolder.chosen(None, environment).path == Path("/named")
    del environment["EDGEOPS_AGENT_STATE"]
    assert StateFolder.chosen(None, environment).path == Path("/xdg/edgeops-agent")
    assert StateFolder.chosen(None, {}).path == Path.home() / ".local/state/edgeops-agent"


def test_the_device_file_keeps_the_broker_password_to_its_owner(state):
    write_device(state, DEVICE)
    assert read_device(state) == DEVICE
    assert stat.S_IMODE(state.device.stat().st_mode) == 0o600


def test_without_enrolment_the_error_says_how(state):
    with pytest.raises(ConfigError, match="enrol URL --token"):
        read_device(state)


@pytest.mark.parametrize("host", ["192.0.2.7", "broker.example"])
def test_a_broker_beyond_loopback_is_reached_over_tls_or_not_at_all(state, host):
    with pytest.raises(ConfigError, match=rf"{host}:1883 .* over TLS.*--server https://"):
        Agent(state, DEVICE, broker=(host, 1883))


def test_a_broker_of_the_owners_beyond_loopback_hears_no_password_in_plain(state):
    target = {"host": "192.0.2.7", "port": 1883, "topic": "plant", "credentials": "/secret"}
    with pytest.raises(ConfigError, match=r"192\.0\.2\.7:1883 .* over TLS only; .*--ca FILE"):
        MqttTarget(**target)
    assert MqttTarget(**target, ca="/ca.pem").credentials == "/secret"
    assert MqttTarget(**target | {"host": "localhost"}).ca is None
    assert MqttTarget(**target | {"credentials": None}).ca is None
    state.configuration("pump").parent.mkdir(parents=True)
    state.configuration("pump").write_text(json.dumps({"mqtt": target}))
    with pytest.raises(ConfigError, match="over TLS only"):
        read_deployment(state, "pump")


def test_a_damaged_device_file_is_named(state):
    state.device.write_text('{"id": "meter-1a2b"}')
    with pytest.raises(ConfigError, match=r"device\.json.*name"):
        read_device(state)


def test_a_deployment_without_configuration_has_no_source(state):
    assert read_deployment(state, "gas") == Deployment(source=None, predictions=PredictionMode.LATEST)


def test_a_deployment_is_read_as_it_was_written(state):
    chosen = Deployment(source=Replay(file="/x.csv", run="r", rate_hz=5.0), predictions=PredictionMode.ALL)
    write_deployment(state, "gas", chosen)
    assert read_deployment(state, "gas") == chosen
    assert state.configured() == ("gas",)


@pytest.mark.parametrize("name", ["", "ab", "UPPER", "../../etc", "a/b", "-gas", "x" * 64])
def test_a_name_that_cannot_be_a_folder_and_a_topic_is_refused(state, name):
    with pytest.raises(ConfigError, match="cannot name a deployment"):
        write_deployment(state, name, Deployment())


def test_an_unknown_kind_of_source_is_refused_by_name(state):
    (state.deployments / "gas").mkdir(parents=True)
    (state.deployments / "gas" / "config.json").write_text('{"source": {"kind": "camera"}}')
    with pytest.raises(ConfigError, match="camera"):
        read_deployment(state, "gas")


def test_every_start_counts_one_higher(state):
    assert [next_boot(state, at_least_s=1_000) for _ in range(3)] == [1, 2, 3]


def test_a_lost_session_counter_goes_on_above_all_that_were_and_strands_nobody(state):
    first = next_boot(state, at_least_s=1_000)
    state.boot.write_text("many\n")
    damaged = next_boot(state, at_least_s=1_000)
    assert state.boot.with_name("boot.corrupt").read_text() == "many\n"
    state.spool.touch()
    state.boot.unlink()
    gone = next_boot(state, at_least_s=2_000)
    assert first < damaged < gone < next_boot(state, at_least_s=0)


@pytest.mark.parametrize("text", ["-5", "9007199254740992", "9" * 5000])
def test_a_session_counter_that_no_envelope_can_carry_is_a_lost_one(state, text):
    state.boot.write_text(text)
    assert 2**32 < next_boot(state, at_least_s=1_000) < 2**53


def test_two_agents_never_share_a_folder(state):
    with only_agent(state.pid):
        refusal = pytest.raises(ConflictError, match=r"runs in .* already")
        with refusal, only_agent(state.pid):
            pass
    with only_agent(state.pid):
        pass
