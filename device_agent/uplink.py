"""What a device says, sealed: one session, one counter over all kinds.

Signs and numbers; the link carries. Safe to call from any thread.
"""

import secrets
from collections.abc import Callable
from itertools import count

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
        """`boot` is the persisted session counter; `publish` returns False when there is no connection."""
        self.session = Session(boot, secrets.token_bytes(8))
        self._speaker = Speaker(device, key, 0, self.session)
        self._agent_version = agent_version
        self._publish = publish
        # next() of a count is one step of the interpreter: no two threads get the same number.
        self._numbers = count(1)
        self._birth = 0

    def say(self, kind: UpKind, body: Body) -> bool:
        """Sign and publish; False = no connection, nothing was queued."""
        return self._send(kind, messages.encode(body), next(self._numbers))

    def blob_pass(self, digest: str) -> str:
        """What is shown to read one blob over HTTP."""
        return write_pass(self._speaker, digest, seq=next(self._numbers))

    def last_will(self) -> tuple[Topic, bytes]:
        """What the broker says if this connection dies; its birth gets the number just below."""
        self._birth = next(self._numbers)
        body = messages.encode(self._status(Presence.OFFLINE))
        return Up(self._speaker.device, UpKind.STATUS), self._sealed(UpKind.STATUS, body, next(self._numbers))

    def birth(self) -> bool:
        """Say that the device is here."""
        return self._send(UpKind.STATUS, messages.encode(self._status(Presence.ONLINE)), self._birth)

    def farewell(self) -> bool:
        """Say that the device leaves on purpose."""
        return self.say(UpKind.STATUS, self._status(Presence.OFFLINE))

    def _status(self, presence: Presence) -> Status:
        return Status(presence=presence, agent_version=self._agent_version)

    def _send(self, kind: UpKind, body: bytes, seq: int) -> bool:
        return self._publish(Up(self._speaker.device, kind), self._sealed(kind, body, seq))

    def _sealed(self, kind: UpKind, body: bytes, seq: int) -> bytes:
        return envelope.seal(self._speaker, kind, seq=seq, body=body)
