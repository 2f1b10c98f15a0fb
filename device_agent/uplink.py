"""What a device says, sealed: one session, one counter over all kinds.

Signs and numbers; the link carries. Safe to call from any thread.
"""

import secrets
from collections.abc import Callable
from threading import Lock

from edgeops.protocol import envelope, messages
from edgeops.protocol.envelope import Session, Speaker
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import Body, Presence, Status
from edgeops.protocol.passes import write_pass
from edgeops.protocol.topics import Topic, Up, UpKind


class Uplink:
    """The device's voice during one start of the agent."""

    def __init__(
        self, device: str, key: SigningKey, *, boot: int, agent_version: str, publish: Callable[[Topic, bytes], bool]
    ) -> None:
        """`boot` is the persisted session counter; `publish` queues at once, or returns False: no connection."""
        self.session = Session(boot, secrets.token_bytes(8))
        self._speaker = Speaker(device, key, 0, self.session)
        self._agent_version = agent_version
        self._publish = publish
        # Numbered, signed and queued in one: what arrives behind a higher number counts as repeated.
        self._turn = Lock()
        self._number = 0
        self._birth = 0

    def say(self, kind: UpKind, body: Body) -> bool:
        """Sign and publish; False = no connection, nothing was queued."""
        encoded = messages.encode(body)
        with self._turn:
            return self._send(kind, encoded, self._next())

    def blob_pass(self, digest: str) -> str:
        """What is shown to read one blob over HTTP."""
        with self._turn:
            number = self._next()
        return write_pass(self._speaker, digest, seq=number)

    def last_will(self) -> tuple[Topic, bytes]:
        """What the broker says if this connection dies; its birth gets the number just below."""
        body = messages.encode(self._status(Presence.OFFLINE))
        with self._turn:
            self._birth, number = self._next(), self._next()
        return Up(self._speaker.device, UpKind.STATUS), self._sealed(UpKind.STATUS, body, number)

    def birth(self) -> bool:
        """Say that the device is here."""
        return self._send(UpKind.STATUS, messages.encode(self._status(Presence.ONLINE)), self._birth)

    def farewell(self) -> bool:
        """Say that the device leaves on purpose."""
        return self.say(UpKind.STATUS, self._status(Presence.OFFLINE))

    def _status(self, presence: Presence) -> Status:
        return Status(presence=presence, agent_version=self._agent_version)

    def _next(self) -> int:
        """The next number; for whoever has the turn."""
        self._number += 1
        return self._number

    def _send(self, kind: UpKind, body: bytes, seq: int) -> bool:
        return self._publish(Up(self._speaker.device, kind), self._sealed(kind, body, seq))

    def _sealed(self, kind: UpKind, body: bytes, seq: int) -> bytes:
        return envelope.seal(self._speaker, kind, seq=seq, body=body)
