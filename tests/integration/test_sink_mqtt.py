"""Answers reach a broker of the owner's, late if they must; inference never waits for it."""

import json
import ssl
import threading
import time

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from device_agent.config import MqttTarget
from device_agent.sinks.mqtt import MqttSink, believing
from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.errors import ConfigError
from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Phase
from edgeops.trust.issuing import new_issuer
from tests.integration.agent_rig import DEVICE, SERVER_USER, Broker, eventually
from tests.integration.test_agent_mqtt_client import SlowBroker
from tests.integration.tls_rig import NOW, certificate

pytestmark = [pytest.mark.slow, pytest.mark.processes]

DIGEST = digest_bytes(b"model")
#: What the rig's access rules let this account write.
TOPIC = f"edgeops/v1/up/{DEVICE}/predictions"


def answer(value):
    return Prediction(value, 0.5, 0.0, None, np.zeros(0, np.float32), None)


class Listener:
    """Hears the topic."""

    def __init__(self, broker):
        self.heard = []
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=SERVER_USER, protocol=paho.MQTTv5)
        self._client.username_pw_set(SERVER_USER, broker.passwords[SERVER_USER])
        self._client.on_connect = lambda client, *_: client.subscribe(TOPIC, qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _c, _u, message: self.heard.append(json.loads(message.payload))
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._ready.wait(30)

    def answers(self):
        return [message["answer"] for message in self.heard]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path / "broker")
    yield broker
    broker.close()


@pytest.fixture
def target(tmp_path, broker):
    credentials = tmp_path / "credentials"
    credentials.write_text(f"{DEVICE}\n{broker.passwords[DEVICE]}\n")
    return lambda **choices: MqttTarget(
        host="127.0.0.1", port=broker.port, topic=TOPIC, credentials=str(credentials), **choices
    )


@pytest.fixture
def opened():
    """Sinks and listeners that end with the test."""
    things = []
    yield lambda thing: things.append(thing) or thing
    for thing in things:
        thing.close()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_answer_arrives_in_order_with_its_model(broker, target, opened, qos):
    listener, sink = opened(Listener(broker)), opened(MqttSink(target(qos=qos)))
    sink.begin(DIGEST, Phase.LIVE)
    for number in range(3 * limits.SINK_IN_FLIGHT):
        sink.take(str(number), answer(float(number)), 0)
    eventually(lambda: len(listener.heard) == 3 * limits.SINK_IN_FLIGHT, what="all answers")
    assert listener.answers() == [float(number) for number in range(3 * limits.SINK_IN_FLIGHT)]
    assert {"id": "0", "confidence": 0.5, "digest": DIGEST, "phase": "live"}.items() <= listener.heard[0].items()
    assert sink.dropped == 0


def test_confirmations_that_come_while_answers_are_taken_hold_up_neither(broker, target, opened):
    listener, sink = opened(Listener(broker)), opened(MqttSink(target()))
    sink.begin(DIGEST, Phase.LIVE)
    eventually(lambda: sink._connected, what="the connection")
    numbers = 20 * limits.SINK_WAITING

    def take():
        for number in range(numbers):
            sink.take(str(number), answer(float(number)), 0)

    feed = threading.Thread(target=take, daemon=True)
    feed.start()
    feed.join(30)
    assert not feed.is_alive()
    eventually(lambda: len(listener.heard) + sink.dropped == numbers, what="every answer is heard or counted")
    assert listener.answers() == sorted(set(listener.answers()))


def test_without_a_model_the_declared_safe_output_is_published(broker, target, opened):
    listener, sink = opened(Listener(broker)), opened(MqttSink(target(safe=0.0)))
    sink.rest(0)
    (message,) = eventually(lambda: listener.heard, what="the safe output")
    assert {"id": None, "answer": 0.0, "digest": None, "phase": "no-model"}.items() <= message.items()


def test_while_the_broker_is_away_nothing_waits_for_it_and_the_newest_answers_arrive_later(broker, target, opened):
    sink = opened(MqttSink(target()))
    sink.begin(DIGEST, Phase.LIVE)
    eventually(lambda: sink._connected, what="the first connection")
    broker.stop()
    eventually(lambda: not sink._connected, what="the loss of the connection")
    began_s = time.monotonic()
    for number in range(limits.SINK_WAITING + 7):
        sink.take(str(number), answer(float(number)), 0)
    spent_s = time.monotonic() - began_s
    assert spent_s < 1.0
    assert sink.dropped == 7
    broker.start()
    eventually(lambda: sink._connected and not (sink._waiting or sink._in_flight), what="what waited is confirmed")
    assert sink.dropped == 7


def test_an_actuating_sink_says_only_the_newest_after_a_pause(broker, target, opened):
    broker.stop()
    sink = opened(MqttSink(target(actuating=True)))
    sink.begin(DIGEST, Phase.LIVE)
    for number in range(5):
        sink.take(str(number), answer(float(number)), 0)
    assert sink.dropped == 4
    assert [json.loads(data)["answer"] for data in sink._waiting] == [4.0]
    broker.start()
    eventually(lambda: sink._connected and not (sink._waiting or sink._in_flight), what="the newest is confirmed")
    assert sink.dropped == 4


def test_credentials_that_cannot_be_read_are_tried_again(broker, target, opened, tmp_path):
    good = (tmp_path / "credentials").read_text()
    (tmp_path / "credentials").write_text("only a user\n")
    sink = opened(MqttSink(target()))
    sink.begin(DIGEST, Phase.LIVE)
    sink.take("0", answer(1.0), 0)
    listener = opened(Listener(broker))
    (tmp_path / "credentials").write_text(good)
    eventually(lambda: listener.answers() == [1.0], what="the answer that waited")


@pytest.mark.parametrize("believed", [True, False])
def test_over_tls_the_password_goes_to_a_broker_of_the_named_ca_alone(opened, tmp_path, believed):
    issuer = new_issuer(NOW)
    (tmp_path / "server.pem").write_bytes(certificate(issuer).pem)
    (tmp_path / "ca.pem").write_text((issuer if believed else new_issuer(NOW)).authority.pem)
    (tmp_path / "credentials").write_text("user\nsecret\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    broker = opened(SlowBroker(context))
    sink = opened(
        MqttSink(
            MqttTarget(
                host="localhost",
                port=broker.port,
                topic=TOPIC,
                qos=0,
                credentials=str(tmp_path / "credentials"),
                ca=str(tmp_path / "ca.pem"),
            )
        )
    )
    sink.begin(DIGEST, Phase.LIVE)
    sink.take("0", answer(1.0), 0)
    if believed:
        eventually(lambda: broker.heard, what="the answer")
    else:
        eventually(lambda: broker.broken, what="a handshake that is given up")
        assert broker.accepted.empty()


@pytest.mark.parametrize("content", [None, "no certificate\n"])
def test_a_file_that_is_no_ca_is_named(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"cannot use .*ca\.pem as the broker's CA"):
        believing(file)
