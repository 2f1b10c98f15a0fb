"""A client that holds the credentials of one device and means harm: raw MQTT, so that nothing keeps it from anything."""

import fcntl
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edgeops import limits
from edgeops.protocol.topics import CLIENT_ID_PREFIX, Up, UpKind, client_id
from tests.integration.link_rig import DEADLINE_S, eventually

#: Every table of what devices said, by the column that names the device.
_TABLES = {
    "windows": "device_id",
    "predictions": "device_id",
    "samples": "device_id",
    "spools": "device_id",
    "marks": "device_id",
    "rollups": "device_id",
    "quarantine": "device_id",
}


class RawClient:
    """One connection, MQTT 3.1.1 by hand (OASIS mqtt-v3.1.1, 3)."""

    def __init__(self, rig, *, user=None, password=None, client_id=CLIENT_ID_PREFIX + "x", will=None):
        with socket.create_connection(("127.0.0.1", rig.config.broker_port)) as low:
            # paho's select() knows no file descriptors beyond 1023: those below are left to its clients.
            self._socket = socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, 2_000))
        self._socket.settimeout(DEADLINE_S)
        flags, payload = 0x02, _text(client_id)
        if will is not None:
            topic, body = will
            flags |= 0x04 | 0x20 | 0x08
            payload += _text(topic) + _text(body)
        if user is not None:
            flags |= 0x80
            payload += _text(user)
        if password is not None:
            flags |= 0x40
            payload += _text(password)
        self.send(0x10, _text("MQTT") + bytes([4, flags]) + struct.pack(">H", 60) + payload)

    def send(self, first_byte, body):
        self._socket.sendall(bytes([first_byte]) + _length(len(body)) + body)

    def publish(self, topic, payload=b"x", *, retain=True, packet=7):
        self.send(0x32 | retain, _text(topic) + struct.pack(">H", packet) + payload)

    def answer(self):
        """The next bytes; none when the broker has ended the connection."""
        try:
            return self._socket.recv(65536)
        except ConnectionResetError:
            return b""

    def is_refused(self):
        """Whether CONNACK says no, or nothing comes; then the connection is over."""
        answer = self.answer()
        accepted = answer[:1] == b"\x20" and answer[3] == 0
        if not accepted:
            self.drop()
        return not accepted

    def is_over(self):
        """Whether the broker has ended the connection."""
        with suppress(BrokenPipeError, ConnectionResetError):
            while self._socket.recv(65536):
                pass
        self._socket.close()
        return True

    def drop(self):
        """End without DISCONNECT, so that the will is said."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def _text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">H", len(data)) + data


def _length(count):
    out = bytearray()
    while True:
        count, low = divmod(count, 128)
        out.append(low | (0x80 if count else 0))
        if not count:
            return bytes(out)


def standing(rig, device):
    """All that the server keeps of a device, and all that the device has heard and lived through."""
    rows = {
        table: rig.rows(f"SELECT * FROM {table} WHERE {column} = '{device.id}'") for table, column in _TABLES.items()
    }
    rows["devices"] = rig.control_rows(
        "SELECT presence, session_counter, reported, quarantined, desired_revision "
        f"FROM devices WHERE id = '{device.id}'"
    )
    rows["events"] = rig.control_rows(f"SELECT kind, data FROM events WHERE subject = '{device.id}'")
    rows["installations"] = rig.control_rows(f"SELECT * FROM installations WHERE device_id = '{device.id}'")
    rows["heard"] = {topic: tuple(payloads) for topic, payloads in device.heard.items()}
    rows["connected"] = device.is_connected
    rows["refused"] = device.refused.is_set()
    return rows


def retained(rig):
    """Everything that the broker retains, as the server's own account sees it; the link is away meanwhile."""
    rig.end_link()
    found, done = {}, []
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=client_id(rig.config.broker_user), protocol=rig.protocol
    )
    client.username_pw_set(rig.config.broker_user, rig.config.server_password.read_text())
    client.on_connect = lambda one, *_: one.subscribe("edgeops/v1/up/#", qos=1)
    client.on_subscribe = lambda *_: done.append(True)
    client.on_message = lambda _client, _userdata, message: found.__setitem__(message.topic, message.payload)
    client.connect("127.0.0.1", rig.config.broker_port)
    client.loop_start()
    try:
        eventually(lambda: done, what="the subscription")
        time.sleep(0.3)  # what is retained comes with the SUBACK
    finally:
        client.disconnect()
        client.loop_stop()
    rig.start_linked()
    return found


def own_topics(device):
    """The topics that a device may write."""
    return [str(Up(device.id, kind)) for kind in UpKind]


def events_of(rig, kind, subject):
    return rig.control_rows(f"SELECT data FROM events WHERE kind = '{kind}' AND subject = '{subject}'")


class Flood:
    """Publishes on its own topic as fast as the broker takes it, in a process of its own, until `stop` or the end."""

    _PROGRAM = """
import socket, struct, sys, time
port, user, password, topic, payload, rate = int(sys.argv[1]), *sys.argv[2:5], bytes.fromhex(sys.argv[5]), float(sys.argv[6])
text = lambda data: struct.pack(">H", len(data)) + data
def packet(first, body):
    size, length = len(body), bytearray()
    while True:
        size, low = divmod(size, 128)
        length.append(low | (0x80 if size else 0))
        if not size:
            return bytes([first]) + bytes(length) + body
one = socket.create_connection(("127.0.0.1", port))
name, secret = user.encode(), password.encode()
who = text(b"edgeops/" + name) + text(name) + text(secret)
one.sendall(packet(0x10, text(b"MQTT") + b"\\x04\\xc2\\x00\\x00" + who))
assert one.recv(4)[3] == 0
many = packet(0x32, text(topic.encode()) + b"\\x00\\x07" + payload) * 10
sent, began = 0, time.monotonic()
try:
    while True:
        if rate and sent > rate * (time.monotonic() - began):
            time.sleep(0.005)
            continue
        one.setblocking(True)
        one.sendall(many)
        sent += 10
        one.setblocking(False)
        try:
            while one.recv(65536):
                pass
            break
        except BlockingIOError:
            pass
except OSError:
    pass
print(sent)
"""

    def __init__(self, rig, device, payload, *, topic=None, rate=0):
        topic = topic or str(Up(device.id, UpKind.TELEMETRY))
        arguments = [str(rig.config.broker_port), device.id, device.password, topic, payload.hex(), str(rate)]
        self._process = subprocess.Popen([sys.executable, "-c", self._PROGRAM, *arguments], stdout=subprocess.PIPE)

    @property
    def is_over(self):
        """Whether the broker has ended it."""
        return self._process.poll() is not None

    def stop(self):
        """End it; how many messages it sent, if the broker had ended it before."""
        if not self.is_over:
            self._process.terminate()
        said, _ = self._process.communicate(timeout=DEADLINE_S)
        return int(said or 0)


def _is_acked(device, seq, *, seconds):
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        if device.acked_through() >= seq:
            return True
        time.sleep(0.005)
    return False


def ack_latencies(device, count, *, pause_s=0.0):
    """Seconds from a record to its signed ack, `count` times."""
    latencies = []
    for seq in range(device.acked_through() + 1, device.acked_through() + 1 + count):
        began_s = time.monotonic()
        device.send_windows(seq)
        if not _is_acked(device, seq, seconds=limits.ACK_TIMEOUT.total_seconds()):
            device.send_windows(seq)  # as every agent does
        eventually(lambda: device.acked_through() >= seq, what=f"the ack of record {seq}")  # noqa: B023
        latencies.append(time.monotonic() - began_s)
        time.sleep(pause_s)
    return latencies
