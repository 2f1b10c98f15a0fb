"""Publishes answers to a broker of the owner's, one JSON object a message.

That broker is not the fleet's and nothing of the protocol goes there, so this does not go by `device_agent.link`.
What the broker does not take waits here, so many at most; beyond that the oldest are dropped and counted. An actuating
sink keeps the newest alone: nothing shall move by an answer of yesterday. The connection has a thread of its own, so
inference never waits for it.
"""

import logging
import random
import ssl
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device_agent.config import MqttTarget
from device_agent.mqtt_client import MqttClient
from device_agent.sinks.answer import described
from edgeops import limits
from edgeops.errors import ConfigError
from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Phase

_log = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 0.5
_LOOP_S = 0.5


class MqttSink:
    """`{"at", "id", "answer", "confidence", "digest", "phase"}` per message, of a score also `alarm`.

    Without a model id and digest are null.
    """

    def __init__(self, target: MqttTarget) -> None:
        """Begins to connect."""
        self.actuating = target.actuating
        self._target = target
        self._encoder = msgspec.json.Encoder()
        self._digest = ""
        self._phase = Phase.LIVE
        #: Guards what is below; never held while paho is called, which calls back under locks of its own.
        self._lock = Lock()
        #: Held by the one thread that hands over to paho.
        self._turn = Lock()
        self._most = 1 if target.actuating else limits.SINK_WAITING
        self._waiting: deque[bytes] = deque()
        #: What the broker has not confirmed, by packet id.
        self._in_flight: dict[int, bytes] = {}
        #: What is being handed over and has no packet id yet; None = nothing, or it waits again.
        self._handed: bytes | None = None
        #: Packets that the broker confirmed before they were in flight here.
        self._early: set[int] = set()
        self._dropped = 0
        self._client: MqttClient | None = None
        self._connected = False
        self._closing = Event()
        Thread(target=self._run, name="sink-mqtt", daemon=True).start()

    @property
    def dropped(self) -> int:
        """Answers that did not fit the queue."""
        return self._dropped

    def begin(self, digest: str, phase: Phase) -> None:
        """Name the artifact of the answers that follow."""
        self._digest, self._phase = digest, phase

    def take(self, input_id: str, prediction: Prediction, now_ns: int) -> None:  # noqa: ARG002 - the seam has a clock
        """Hand one answer to the connection, or keep it until there is one."""
        self._put(described(input_id, prediction, digest=self._digest, phase=self._phase))

    def rest(self, now_ns: int) -> None:  # noqa: ARG002 - the seam has a clock
        """Publish the safe output that the owner declared; without one `answer` is null."""
        at = datetime.fromtimestamp(time.time(), UTC)
        safe = self._target.safe
        self._put({"at": at, "id": None, "answer": safe, "confidence": None, "digest": None, "phase": "no-model"})

    def tick(self, now_ns: int) -> None:
        """Nothing waits for time to pass."""

    def flush(self, now_ns: int) -> None:
        """What the broker has not taken may be lost with the process: this sink is for now, not for the record."""

    def close(self) -> None:
        """Leave, once what was handed over has left, as far as half a second allows."""
        until_s = time.monotonic() + _CLOSE_TIMEOUT_S
        while self._connected and (self._waiting or self._handed or self._in_flight) and time.monotonic() < until_s:
            time.sleep(0.01)
        self._closing.set()
        client = self._client
        if client is not None:
            client.disconnect()

    # -- below ------------------------------------------------------------------------

    def _put(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._waiting.append(self._encoder.encode(message))
        self._publish()
        with self._lock:
            self._trim()

    def _publish(self) -> None:
        """Hand to paho what fits; the connection's thread writes it.

        Nobody waits for the thread that is at it: that one looks again after it has given its turn back.
        """
        goes_on = True
        while goes_on and self._has_room() and self._turn.acquire(blocking=False):
            try:
                goes_on = self._hand_over()
            finally:
                self._turn.release()

    def _has_room(self) -> bool:
        return self._connected and bool(self._waiting) and len(self._in_flight) < limits.SINK_IN_FLIGHT

    def _hand_over(self) -> bool:
        """One message; False = paho did not take it. The connection may be lost meanwhile: then it waits again."""
        with self._lock:
            client = self._client
            if client is None or not self._has_room():
                return True
            data = self._handed = self._waiting.popleft()
        sent = client.publish(self._target.topic, data, qos=self._target.qos)
        with self._lock:
            waits_again = self._handed is not data
            self._handed = None
            if waits_again:
                return True
            if sent.rc != mqtt.MQTT_ERR_SUCCESS:
                self._waiting.appendleft(data)
                return False
            if sent.mid in self._early:
                self._early.remove(sent.mid)
            else:
                self._in_flight[sent.mid] = data
        return True

    def _trim(self) -> None:
        while len(self._waiting) > self._most:
            self._waiting.popleft()
            self._dropped += 1

    def _run(self) -> None:
        """The connection's thread: as `device_agent.link` does it, every connection is a client of its own."""
        attempts = 0
        while not self._closing.is_set():
            began_s = time.monotonic()
            try:
                self._client = client = self._new_client()
                client.connect_to(self._target.host, self._target.port)
                client.loop_forever(timeout=_LOOP_S)
            except Exception as error:  # noqa: BLE001 - the border to paho and the network: told, then tried again
                self._away(str(error))
            lasted = time.monotonic() - began_s > limits.RETRY_MAX.total_seconds()
            attempts = 0 if lasted else attempts + 1
            spread_s = min(limits.RETRY_MAX.total_seconds(), limits.RETRY_MIN.total_seconds() * 2 ** min(attempts, 10))
            self._closing.wait(random.uniform(0.0, spread_s))  # noqa: S311 - spreads load, guards nothing

    def _new_client(self) -> MqttClient:
        client = MqttClient()
        if self._target.credentials is not None:
            client.username_pw_set(*read_credentials(Path(self._target.credentials)))
        if self._target.ca is not None:
            client.tls_set_context(believing(Path(self._target.ca)))
        client.suppress_exceptions = True
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure or self._closing.is_set():
            self._away(f"the broker refused: {code}")
            client.disconnect()
            return
        _log.info("sink.connected", extra={"host": self._target.host, "port": self._target.port})
        with self._lock:
            self._connected = True
        self._publish()

    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: Any, _flags: Any, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._away(str(code))

    def _on_publish(
        self, client: mqtt.Client, _userdata: Any, packet: int, _code: ReasonCode, _properties: Properties | None
    ) -> None:
        with self._lock:
            if client is self._client and self._connected and self._in_flight.pop(packet, None) is None:
                self._early.add(packet)
        self._publish()

    def _away(self, reason: str) -> None:
        """What was on its way waits again, in front; of an actuating sink only what is newer."""
        if not self._closing.is_set():
            _log.warning("sink.away", extra={"host": self._target.host, "port": self._target.port, "reason": reason})
        with self._lock:
            self._connected = False
            handed = () if self._handed is None else (self._handed,)
            self._waiting.extendleft(reversed((*self._in_flight.values(), *handed)))
            self._handed = None
            self._in_flight.clear()
            self._early.clear()
            self._trim()


def read_credentials(path: Path) -> tuple[str, str]:
    """User and password, a line each.

    Raises:
        ConfigError: the file cannot be read, or does not have both.
    """
    try:
        user, password, *_ = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the broker credentials {path}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} needs two lines, the broker's user and the password") from error
    return user, password


def believing(path: Path) -> ssl.SSLContext:
    """Whoever shows a certificate that these CAs signed, for the broker's name and for the time of the system's clock.

    Raises:
        ConfigError: the file cannot be read, or has no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=path)
    except OSError as error:  # an SSLError is one too
        raise ConfigError(f"cannot use {path} as the broker's CA: {error}; give certificates in PEM") from error
    context.sslsocket_class = _Socket
    return context


class _Socket(ssl.SSLSocket):
    """Closed where its handshake fails: paho forgets it then."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as in the standard library
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise
