"""The owner's holds and labels: files that outlive the agent, and what becomes of damaged ones."""

import json

import pytest

from device_agent import cli
from device_agent.config import Device, StateFolder, write_device
from device_agent.facts import device_facts
from device_agent.holds import Holds, read_holds, write_holds
from device_agent.labels import parse_labels, read_labels, write_labels
from edgeops import __version__, limits
from edgeops.errors import ConfigError
from edgeops.protocol.messages import DeviceFacts, decode, encode
from edgeops.update.leave import Hold


@pytest.fixture
def state(tmp_path):
    state = StateFolder(tmp_path)
    write_device(
        state,
        Device(
            id="dev-0001", name="dev", server="http://127.0.0.1:9", tuf_url="http://127.0.0.1:9/tuf",
            broker_host="127.0.0.1", broker_port=9, broker_user="dev-0001", broker_password="-",
        ),
    )  # fmt: skip
    return state


def run(state, *command):
    return cli.main(["--state", str(state.path), *command])


def test_a_deployments_own_hold_is_told_before_the_devices():
    holds = Holds().held(None, Hold(reason="all")).held("gas", Hold(reason="gas"))
    assert [holds.of(name).reason for name in ("gas", "pump")] == ["gas", "all"]
    assert holds.released("gas").of("gas").reason == "all"
    assert holds.released(None) == Holds()
    assert Holds().of("gas") is None


def test_holds_are_read_as_they_were_written(state):
    assert read_holds(state) == Holds()
    holds = Holds().held("gas", Hold(reason="x")).held(None, Hold())
    write_holds(state, holds)
    assert read_holds(state) == holds


def test_a_damaged_file_of_holds_holds_everything_until_the_owner_speaks(state):
    state.holds.write_bytes(b"{")
    assert "damaged" in read_holds(state).of("gas").reason
    assert "damaged" in read_holds(state).of("gas").reason, "also once it was set aside"
    assert run(state, "release") == 0
    assert read_holds(state) == Holds()


def test_hold_and_release_on_the_command_line(state, capsys):
    assert run(state, "hold", "gas", "--reason", "a customer visits") == 0
    assert "no update of gas begins until: edgeops-agent release gas" in capsys.readouterr().err
    assert read_holds(state).of("gas").reason == "a customer visits"
    assert read_holds(state).of("pump") is None
    assert run(state, "release", "gas") == 0
    assert read_holds(state) == Holds()


def test_one_deployment_of_a_held_device_is_not_released_alone(state, capsys):
    run(state, "hold", "--reason", "all of it")
    assert run(state, "release", "gas") == 6
    assert "all of it" in capsys.readouterr().err
    assert read_holds(state).of("gas") is not None


@pytest.mark.parametrize("command", [("hold", "No Name"), ("hold", "--reason", "x" * 201)])
def test_a_hold_that_cannot_be_is_refused_and_holds_nothing(state, command):
    assert run(state, *command) == 2
    assert read_holds(state) == Holds()


def test_labels_are_named_shown_and_removed(state, capsys):
    assert run(state, "label", "site=plant-1", "line=3") == 0
    assert capsys.readouterr().out == "line=3\nsite=plant-1\n"
    assert run(state, "label", "line=4", "--remove", "site") == 0
    assert read_labels(state) == {"line": "4"}
    assert run(state, "label", "--remove", "site") == 3


@pytest.mark.parametrize("text", ["site", "=x", "site=", "site= ", "a b=c", f"site={'x' * 101}", f"{'k' * 64}=v"])
def test_what_is_no_label_is_refused(text):
    with pytest.raises(ConfigError, match="is no label"):
        parse_labels([text])


def test_more_labels_than_travel_are_refused(state):
    labels = {f"key-{number}": "x" for number in range(limits.MAX_DEVICE_LABELS)}
    write_labels(state, labels)
    with pytest.raises(ConfigError, match=f"{limits.MAX_DEVICE_LABELS} at most"):
        write_labels(state, {**labels, "more": "x"})
    assert read_labels(state) == labels


def test_a_damaged_file_of_labels_is_none(state):
    state.labels.write_text(json.dumps({"site": 1}))
    assert read_labels(state) == {}


def test_facts_travel_with_labels_and_the_columns_that_can_be_told(tmp_path):
    sensors = {"gas": ["a", "b"], "wide": ["c"] * (limits.MAX_SENSORS + 1), "long": ["x" * 101]}
    facts = device_facts(tmp_path, labels={"site": "plant-1"}, sensors=sensors)
    assert facts.sensors == {"gas": ("a", "b")}
    assert (facts.labels, facts.agent_version) == ({"site": "plant-1"}, __version__)
    assert decode(encode(facts), DeviceFacts) == facts
