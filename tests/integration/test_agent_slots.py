"""The real agent process on a card that has turned bits of its models: the previous one answers, else none."""

import pytest
from msgspec.structs import replace

from device_agent.config import MqttTarget, read_deployment, write_deployment
from device_agent.store.slots import Slots
from edgeops.protocol.messages import UpdateState
from tests.integration.agent_rig import DEPLOYMENT, DEVICE, Broker, Rig, eventually
from tests.integration.test_sink_mqtt import TOPIC, Listener

pytestmark = [pytest.mark.slow, pytest.mark.processes]

SAFE = -1.0


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path / "site")
    yield rig
    rig.close()


@pytest.fixture
def listener(tmp_path, rig):
    """Hears what a broker of the owner's is told, for something that moves."""
    broker = Broker(tmp_path / "owner")
    credentials = tmp_path / "credentials"
    credentials.write_text(f"{DEVICE}\n{broker.passwords[DEVICE]}\n")
    target = MqttTarget(
        host="127.0.0.1", port=broker.port, topic=TOPIC, credentials=str(credentials), actuating=True, safe=SAFE
    )
    rig.play(50, rate_hz=50, loop=True)
    write_deployment(rig.state, DEPLOYMENT, replace(read_deployment(rig.state, DEPLOYMENT), mqtt=target))
    listener = Listener(broker)
    yield listener
    listener.close()
    broker.close()


@pytest.fixture
def models(rig, listener):
    """Two models that were installed one after the other, as (digest, target); the agent has ended."""
    rig.start_agent()
    found = []
    for version in (1, 2):
        found.append(rig.server.publish_model(version=version))
        rig.server.desire(version, (DEPLOYMENT, *found[-1]))
        eventually(lambda: rig.committed(found[-1][0]), what=f"model {version} is committed")
    assert rig.stop_agent() == 0
    rig.server.forget()
    listener.heard.clear()
    return found


def damage(rig, digest):
    """The card turns a bit."""
    file = Slots(rig.state.deployment(DEPLOYMENT)).slot(digest).path
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0x10
    file.write_bytes(content)


def damaged(rig):
    """How many models the server knows to be damaged."""
    return rig.server.reported and rig.server.reported[-1].counters.get("slot.damaged")


def digests(listener):
    return {message["digest"] for message in listener.heard}


def test_a_damaged_model_is_replaced_by_the_previous_one_until_it_was_fetched_again(rig, listener, models):
    (previous, _), (active, target) = models
    damage(rig, active)
    rig.server.sends_blocks = False
    rig.server.desire(2, (DEPLOYMENT, active, target))
    rig.start_agent()
    eventually(lambda: damaged(rig) == 1, what="the server hears of the damage")
    assert (rig.server.state().active, rig.server.state().state) == (previous, UpdateState.FETCHING)
    eventually(lambda: listener.heard, what="an answer")
    assert digests(listener) == {previous}
    rig.server.sends_blocks = True
    eventually(lambda: rig.committed(active), what="the model is there again")


def test_without_a_whole_model_sinks_get_their_safe_output_and_the_next_model_is_installed(rig, listener, models):
    (previous, target), (active, _) = models
    damage(rig, active)
    damage(rig, previous)
    rig.server.sends_blocks = False
    rig.start_agent()
    eventually(lambda: damaged(rig) == 2, what="the server hears of the damage")
    assert (rig.server.state().active, rig.server.state().previous) == (None, None)
    (message,) = eventually(lambda: listener.heard, what="the safe output")
    assert {"id": None, "answer": SAFE, "digest": None, "phase": "no-model"}.items() <= message.items()
    rig.server.sends_blocks = True
    rig.server.desire(3, (DEPLOYMENT, previous, target))
    eventually(lambda: rig.committed(previous), what="a model is installed")
    eventually(lambda: len(listener.heard) > 1, what="an answer")
    assert digests(listener) == {None, previous}
