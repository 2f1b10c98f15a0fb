"""The link's connection to the broker: with `fleet_server.link.wire` the only place of the server that knows paho.

Keeps one session that outlives the process (clean start false), acknowledges a message only when told to, and
answers which messages the broker has taken. Speaks MQTT 5, and 3.1.1 to a broker that refuses 5: then the broker's own
limit of messages in flight holds. It does not know what messages mean.
"""

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgeops import limits
from edgeops.protocol.topics import client_id
from fleet_server.link.wire import Client, Publish
from fleet_server.wall_clock import utc_now

log = logging.getLogger(__name__)

_SESSION_EXPIRY = timedelta(days=1)
_KEEPALIVE_S = 20
#: MQTT 5, 3.2.2.2; paho also makes it of what a broker of 3.1.1 answers.
UNSUPPORTED_VERSION = "Unsupported protocol version"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it arrived."""

    topic: str
    payload: bytes
    #: From the broker's store because we subscribed, not because somebody spoke now.
    retained: bool
    received_at: datetime
    #: The packet id, and the connection on which it means something; 0 = QoS 0, nothing to acknowledge.
    packet: int
    connection: int

    @property
    def speaker(self) -> str:
        """Whose account published it, by the topic: the broker lets nobody else write there."""
        return self.topic.split("/", 4)[3]


class Broker:
    """Publishes, delivers, and acknowledges on demand; every method may be called from any thread."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        username: str,
        password: str,
        subscription: str,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls` None = the broker speaks plain TCP, which it does on loopback only."""
        self._host = host
        self._port = port
        self._subscription = subscription
        self._deliver: Callable[[Delivery], None] = lambda _: None
        self._connection = 0
        self._connected = threading.Event()
        self._taken: SimpleQueue[int] = SimpleQueue()
        self._username = username
        self._password = password
        self._tls = tls
        self._stopping = False
        #: The largest payload that the broker takes, as it said in its CONNACK (MQTT 5 3.2.2.3.6).
        self.max_payload_bytes = limits.MAX_MESSAGE_BYTES
        self._client = self._new_client(paho.MQTTv5)

    def start(self, deliver: Callable[[Delivery], None]) -> None:
        """Connect, and reconnect for ever; `deliver` is called on the network thread and must be quick."""
        self._deliver = deliver
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = int(_SESSION_EXPIRY.total_seconds())
        properties.ReceiveMaximum = limits.RECEIVE_MAXIMUM
        self._client.connect_async(
            self._host, self._port, keepalive=_KEEPALIVE_S, clean_start=False, properties=properties
        )
        self._client.loop_start()

    def stop(self) -> None:
        """Leave; the broker keeps the session and queues what devices say."""
        self._stopping = True
        self._client.disconnect()
        self._client.loop_stop()

    def _new_client(self, protocol: MQTTProtocolVersion) -> Client:
        # In 5 the session is asked for when connecting, in 3.1.1 it is the client's.
        clean = None if protocol == paho.MQTTv5 else False
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id(self._username),
            clean_session=clean,
            protocol=protocol,
            manual_ack=True,
        )
        client.username_pw_set(self._username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.max_inflight_messages_set(limits.RECEIVE_MAXIMUM)
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        # An exception that leaves a callback would end paho's network thread for good.
        client.suppress_exceptions = True
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.hear = self._on_message
        client.on_publish = self._on_publish
        return client

    def _speak_older(self) -> None:
        """Go on in 3.1.1; in a thread of its own, because a client cannot end its network thread from there."""
        log.info("broker.older host=%s port=%s protocol=3.1.1", self._host, self._port)
        self._client.disconnect()
        self._client.loop_stop()
        if not self._stopping:
            self._client = self._new_client(paho.MQTTv311)
            self._client.connect_async(self._host, self._port, keepalive=_KEEPALIVE_S)
            self._client.loop_start()

    @property
    def is_connected(self) -> bool:
        """Whether the broker hears us now."""
        return self._connected.is_set()

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False) -> int | None:
        """Hand a message to paho; its packet id, or None when it cannot leave now (it is not queued)."""
        if not self._connected.is_set():
            return None
        if len(payload) > self.max_payload_bytes:
            # The broker would cut us off for it (MQTT 5 3.1.2.11.4).
            log.error(
                "broker.too_large topic=%s size_bytes=%d limit_bytes=%d", topic, len(payload), self.max_payload_bytes
            )
            return None
        return self._client.publish(topic, payload, qos=qos, retain=retain).mid

    def taken(self) -> list[int]:
        """The packet ids that the broker has taken since the last call."""
        packets: list[int] = []
        try:
            while True:
                packets.append(self._taken.get_nowait())
        except Empty:
            return packets

    def acknowledge(self, *deliveries: Delivery) -> None:
        """Let the broker forget messages.

        A packet id means nothing on another connection (the broker may have given it to another
        message); what is not acknowledged comes again. A message of QoS 0
        has none: a PUBACK for it is a protocol error, for which the broker would cut us off.
        """
        packets = [one.packet for one in deliveries if one.packet and one.connection == self._connection]
        if packets and self._connected.is_set():
            self._client.ack_all(packets)

    def _on_connect(
        self, client: paho.Client, _userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure and reason == UNSUPPORTED_VERSION and client.protocol == paho.MQTTv5:
            threading.Thread(target=self._speak_older, name="older", daemon=True).start()
            return
        if reason.is_failure:
            log.error("broker.refused reason=%s", reason)
            return
        packet_bytes = getattr(properties, "MaximumPacketSize", 2 * limits.MAX_MESSAGE_BYTES)
        self.max_payload_bytes = min(limits.MAX_MESSAGE_BYTES, packet_bytes - limits.PACKET_OVERHEAD_BYTES)
        if self.max_payload_bytes < limits.BLOCK_BYTES:
            log.warning("broker.packet_limit bytes=%d block_bytes=%d", packet_bytes, limits.BLOCK_BYTES)
        self._connection += 1
        client.subscribe(self._subscription, qos=1)
        self._connected.set()
        log.info("broker.connected host=%s port=%s session_present=%s", self._host, self._port, flags.session_present)

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, _packet: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            log.error("broker.not_subscribed topic=%s reasons=%s", self._subscription, [str(one) for one in reasons])
        else:
            log.info("broker.subscribed topic=%s", self._subscription)

    def _on_disconnect(
        self, _client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._connected.clear()
        log.warning("broker.disconnected reason=%s", reason)

    def _on_message(self, message: Publish) -> None:
        topic, payload, retained, packet = message
        self._deliver(Delivery(topic, payload, retained, utc_now(), packet, self._connection))

    def _on_publish(
        self, _client: paho.Client, _userdata: Any, packet: int, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            # paho calls this for failures too; who waits for the packet will try again.
            log.warning("broker.not_taken packet=%d reason=%s", packet, reason)
            return
        self._taken.put(packet)
