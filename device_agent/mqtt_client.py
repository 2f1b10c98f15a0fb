"""A client of paho that one thread alone writes for, and that reads no packet beyond a bound.

paho writes a packet in the thread that publishes it, unless paho runs the loop's thread itself. Two threads on one
socket put the bytes of one packet inside another as soon as the line is slower than they are, and break TLS even
sooner. And paho collects a packet of any size that MQTT has (256 MiB) before anybody is asked about it.
"""

import socket
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeops import limits

_KEEPALIVE_S = 20


class MqttClient(mqtt.Client):
    """One connection: never used again once it is lost. `publish` and others queue; the thread of `loop` writes."""

    def __init__(self, *, client_id: str = "", protocol: MQTTProtocolVersion = mqtt.MQTTv5) -> None:
        """Without a `client_id` the broker makes one."""
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol, reconnect_on_failure=False
        )
        self.on_socket_open = _send_at_once
        # With somebody to tell, paho leaves writing to the loop, which it wakes up.
        self.on_socket_register_write = _leave_to_the_loop

    def connect_to(self, host: str, port: int) -> None:
        """Ask for a connection; the broker is told to send nothing beyond the bound (MQTT 5 3.1.2.11.4)."""
        properties = None
        if self.protocol == mqtt.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = limits.MAX_PACKET_BYTES
        self.connect(host, port, keepalive=_KEEPALIVE_S, properties=properties)

    def _sock_recv(self, bufsize: int) -> bytes:
        """Where paho asks for the rest of a packet; an OSError here ends the connection."""
        if bufsize > limits.MAX_PACKET_BYTES:
            raise ConnectionError(f"the broker sends a packet of {bufsize} bytes; {limits.MAX_PACKET_BYTES} are read")
        return super()._sock_recv(bufsize)


def _leave_to_the_loop(_client: mqtt.Client, _userdata: Any, _sock: Any) -> None:
    """The loop selects for writing by itself while something waits."""


def _send_at_once(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
    # paho leaves Nagle's algorithm on, which makes small windows of blocks wait for acks.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
