"""The connection to the broker of the fleet.

paho's thread calls in here; what arrives leaves as a value through one callback, topics parsed.
Every connection is a client of its own: nothing that an older connection left unsent is sent again
behind the spool's back, and each has a last will signed for it. The first speaks MQTT 5; a broker that
refuses it is spoken to in 3.1.1 from then on. Nothing here signs, verifies or stores.
"""

import encodings.idna  # noqa: F401 - native code of it would else be loaded by the first connect, in a thread
import logging
import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device_agent.mqtt_client import MqttClient
from device_agent.watchdog import Pulse
from edgeops import limits
from edgeops.errors import ConfigError, TopicError
from edgeops.protocol.topics import Topic, client_id, is_retained, parse_topic
from edgeops.trust.transport import is_loopback

_log = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 2.0
_LOOP_S = 0.5
#: MQTT 5, 3.2.2.2; paho also makes it of what a broker of 3.1.1 answers.
_UNSUPPORTED_VERSION = "Unsupported protocol version"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who we are there."""

    host: str
    port: int
    user: str
    password: str
    #: Whom to believe; None = plain TCP.
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError where the password would go beyond loopback in plain."""
        if self.tls is None and not is_loopback(self.host):
            raise ConfigError(
                f"the broker {self.host}:{self.port} is not on this machine, so it must be reached over TLS, as its "
                "server: edgeops-agent run --server https://HOST:PORT"
            )


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted us; nothing is subscribed yet."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone; the next attempt follows by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message on a topic of the protocol."""

    topic: Topic
    payload: bytes


@dataclass(frozen=True, slots=True)
class NotBelieved:
    """Who answered could not prove to be our broker; the next attempt follows by itself."""

    reason: str


LinkEvent = Connected | Disconnected | NotBelieved | Arrived


class Link:
    """Connects, and connects again with full jitter until `close`."""

    def __init__(
        self,
        broker: Broker,
        *,
        will: Callable[[], tuple[Topic, bytes]],
        on_event: Callable[[LinkEvent], None],
        pulse: Pulse | None = None,
    ) -> None:
        """`will` makes the last will of one connection; `on_event` is called from the link's thread."""
        self._pulse = pulse or Pulse()
        self._broker = broker
        self._will = will
        self._on_event = on_event
        self._client: MqttClient | None = None
        self._protocol = mqtt.MQTTv5
        #: The broker refused MQTT 5: the next connection speaks 3.1.1.
        self._older = False
        #: The largest payload that the broker takes, as it said in its CONNACK (MQTT 5 3.2.2.3.6).
        self.largest_payload_bytes = limits.MAX_MESSAGE_BYTES
        self._advertised_s = 0.0
        self._closing = Event()
        self._thread = Thread(target=self._run, name="link", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the present connection."""
        client = self._client
        return client is not None and client.is_connected()

    def publish(self, topic: Topic, payload: bytes, *, qos: int = 1) -> bool:
        """Hand one message to the present connection; False = it cannot leave, nothing was queued."""
        client = self._client
        if client is None or not client.is_connected():
            return False
        if len(payload) > self.largest_payload_bytes:
            # The broker would cut us off for it (MQTT 5 3.1.2.11.4), again and again.
            _log.warning(
                "message.beyond-broker",
                extra={"topic": str(topic), "size_bytes": len(payload), "limit_bytes": self.largest_payload_bytes},
            )
            return False
        return client.publish(str(topic), payload, qos=qos, retain=is_retained(topic)).rc == mqtt.MQTT_ERR_SUCCESS

    def spread_over(self, spread: timedelta) -> None:
        """Come back at a moment drawn from so long at least, from the next loss of connection on."""
        self._advertised_s = spread.total_seconds()

    def subscribe(self, topics: Sequence[Topic], *, qos: int) -> None:
        """Subscribe on the present connection; a later one starts without."""
        client = self._client
        if client is not None and topics:
            client.subscribe([(str(topic), qos) for topic in topics])

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """Undo `subscribe`."""
        client = self._client
        if client is not None and topics:
            client.unsubscribe([str(topic) for topic in topics])

    def close(self) -> None:
        """Disconnect cleanly (the last will stays unsaid) once what was published has left."""
        self._closing.set()
        client = self._client
        if client is not None:
            until_s = time.monotonic() + _CLOSE_TIMEOUT_S
            while client.is_connected() and client.want_write() and time.monotonic() < until_s:
                time.sleep(0.01)
            client.disconnect()
        self._thread.join(_CLOSE_TIMEOUT_S)

    # -- the link's thread ----------------------------------------------------------------

    def _run(self) -> None:
        attempts = 0
        while not self._closing.is_set():
            began_s = time.monotonic()
            try:
                client = self._new_client()
                self._client = client
                client.connect_to(self._broker.host, self._broker.port)
                while client.loop(timeout=_LOOP_S) == mqtt.MQTT_ERR_SUCCESS:
                    self._pulse.beat()
            except ssl.SSLCertVerificationError as error:
                self._say(NotBelieved(str(error)))
            except Exception as error:  # noqa: BLE001 - the border to paho and the network: report, then try again
                self._say(Disconnected(str(error)))
            # Two agents under one id throw each other out: only a connection that lasted makes the next one quick.
            lasted = time.monotonic() - began_s > limits.RECONNECT_MAX.total_seconds()
            attempts = 0 if lasted else attempts + 1
            self._client = None
            if self._older:
                self._protocol, self._older = mqtt.MQTTv311, False
                continue
            self._pause(random.uniform(0.0, spread_s(attempts, self._advertised_s)))  # noqa: S311 - guards nothing

    def _pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while not self._closing.is_set() and (left_s := until_s - time.monotonic()) > 0:
            self._pulse.beat()
            self._closing.wait(min(left_s, _LOOP_S))

    def _new_client(self) -> MqttClient:
        client = MqttClient(client_id=client_id(self._broker.user), protocol=self._protocol)
        client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        client.max_inflight_messages_set(limits.INITIAL_CREDIT)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        topic, payload = self._will()
        client.will_set(str(topic), payload, qos=1, retain=is_retained(topic))
        return client

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code == _UNSUPPORTED_VERSION and self._protocol == mqtt.MQTTv5:
            self._older = True
            client.disconnect()
            return
        if code.is_failure:
            self._say(Disconnected(f"the broker refused {self._broker.user!r}: {code}"))
            client.disconnect()
            return
        packet_bytes = getattr(properties, "MaximumPacketSize", 2 * limits.MAX_MESSAGE_BYTES)
        self.largest_payload_bytes = min(limits.MAX_MESSAGE_BYTES, packet_bytes - limits.PACKET_OVERHEAD_BYTES)
        self._say(Connected())

    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: Any, _flags: Any, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._say(Disconnected(str(code)))

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = parse_topic(message.topic)
        except (TopicError, UnicodeDecodeError) as error:
            _log.warning("message.ignored", extra={"error": error})
            return
        self._say(Arrived(topic, bytes(message.payload)))

    def _say(self, event: LinkEvent) -> None:
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - an exception here would end paho's thread
            _log.exception("link.callback-failed")


def spread_s(attempts: int, advertised_s: float) -> float:
    """Of what the next pause is a part: full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015)."""
    doubling_s = limits.RECONNECT_MIN.total_seconds() * (1 << min(attempts, 10))
    return max(advertised_s, min(limits.RECONNECT_MAX.total_seconds(), doubling_s))
