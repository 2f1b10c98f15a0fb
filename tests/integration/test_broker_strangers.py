"""What strangers without credentials can do to the sessions of our broker: nothing."""

import socket
import struct
import subprocess
import threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeops.protocol.topics import client_id
from fleet_server import broker
from fleet_server.config import BROKER_USER, ServerConfig
from tests.integration.ports import free_port
from tests.integration.waiting import ask_until, mosquitto

pytestmark = pytest.mark.slow

DEADLINE_S = 30.0
NOT_AUTHORIZED = 0x87


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    config = ServerConfig(tmp_path_factory.mktemp("broker"), broker_port=free_port())
    broker.write_configuration(config)
    broker.write_accounts(config, {BROKER_USER: broker.hash_password("secret")})
    process = subprocess.Popen([mosquitto(), "-c", str(config.broker_conf)], stdout=subprocess.DEVNULL)
    ask_until(lambda: _listens(config.broker_port), what="the broker listens", seconds=DEADLINE_S)
    yield config.broker_port
    process.terminate()
    process.wait(DEADLINE_S)


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Link:
    """A client like our link: its session outlives the connection."""

    def __init__(self, port):
        self.lost = threading.Event()
        self._connected = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id(BROKER_USER),
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client.username_pw_set(BROKER_USER, "secret")
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = lambda *_: self.lost.set()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self._connected.wait(DEADLINE_S)

    def _on_connect(self, _client, _userdata, flags, code, _properties):
        assert not code.is_failure, code
        self.session_present = flags.session_present
        self._connected.set()

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


def connect_packet(identifier, *, user=None, password=None):
    """CONNECT of MQTT 5 (3.1), clean start."""

    def text(value):
        return struct.pack("!H", len(value)) + value.encode()

    flags = 0x02 | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    body = text("MQTT") + bytes([5, flags]) + struct.pack("!H", 60) + b"\0" + text(identifier)
    body += b"".join(text(part) for part in (user, password) if part is not None)
    return b"\x10" + bytes([len(body)]) + body


STRANGERS = {
    "nobody under the link's name": connect_packet(BROKER_USER),
    "nobody under the link's client id": connect_packet(client_id(BROKER_USER)),
    "nobody without a name": connect_packet(""),
    "a wrong password": connect_packet(client_id(BROKER_USER), user=BROKER_USER, password="wrong"),
    "a wrong password under the link's name": connect_packet(BROKER_USER, user=BROKER_USER, password="wrong"),
    "an unknown user under the link's name": connect_packet(BROKER_USER, user="nobody", password="x"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_a_stranger_is_refused_and_the_link_keeps_its_session(port, case):
    """mosquitto 2.0.11 forgot whose session the client id of a CONNECT without user name named."""
    first = Link(port)
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as stranger:
        stranger.sendall(STRANGERS[case])
        assert stranger.recv(64)[3] == NOT_AUTHORIZED
    second = Link(port)
    assert second.session_present
    # One user, one session: the broker knew the first connection and ended it.
    assert first.lost.wait(DEADLINE_S)
    first.close()
    second.close()
