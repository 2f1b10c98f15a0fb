"""What the server says, verified: by the fleet's keys, in its session, in its order.

Turns a payload into a body, or into the reason why it is not believed. What was taken in survives a
restart in `marks.json`: the last fleet session of each kind, and the newest (epoch, revision) of the
desired state. A desired state is marked only after it was carried out, so that a crash repeats it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeops.digest import write_atomically
from edgeops.errors import PeerError
from edgeops.protocol import envelope, messages
from edgeops.protocol.envelope import Envelope, Freshness, Mark
from edgeops.protocol.keys import PublicKey
from edgeops.protocol.messages import Ack, Command, Credit, Desired
from edgeops.protocol.topics import DownKind

Heard = Desired | Ack | Credit | Command

_BODIES: Mapping[DownKind, type[Heard]] = {
    DownKind.DESIRED: Desired,
    DownKind.ACK: Ack,
    DownKind.CREDIT: Credit,
    DownKind.COMMAND: Command,
}


class Marks(msgspec.Struct, kw_only=True):
    """How far this device has listened."""

    desired: tuple[int, int] = (0, 0)
    kinds: dict[str, Mark] = {}


@dataclass(frozen=True, slots=True)
class Refused:
    """Not believed, or seen before."""

    #: A counter's name: `envelope.refused`, `envelope.repeated`, `envelope.old-session`, ...
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """Signed by a key that the fleet keys at hand do not name; newer ones may."""

    key_id: str


class Downlink:
    """One device's ear."""

    def __init__(self, device: str, path: Path) -> None:
        """`path` is `marks.json`; an unreadable one counts as none, which repeats and loses nothing."""
        self._device = device
        self._path = path
        self._marks = _read(path)
        #: Of a desired state that is heard and not yet carried out.
        self._pending: Mark | None = None

    @property
    def desired(self) -> tuple[int, int]:
        """The newest (epoch, revision) carried out."""
        return self._marks.desired

    def hear(self, kind: DownKind, payload: bytes, keys: Mapping[str, PublicKey]) -> Heard | Refused | UnknownKey:
        """Verify one payload that arrived on the topic of `kind`."""
        key_id = _named_key(payload)
        if key_id is not None and key_id not in keys:
            return UnknownKey(key_id)
        try:
            opened = envelope.open_envelope(payload, device=self._device, kind=kind, keys=keys)
            body = messages.decode(opened.body, _BODIES[kind])
        except PeerError as error:
            return Refused("envelope.refused", str(error))
        standing = envelope.freshness(opened, self._marks.kinds.get(kind))
        if standing is not Freshness.FRESH:
            return Refused(
                f"envelope.{standing}", f"a {kind} message, session {opened.session.counter} seq {opened.seq}"
            )
        if isinstance(body, Desired) and (body.epoch, body.revision) < self._marks.desired:
            return Refused("desired.older", f"revision {body.epoch}.{body.revision}, have {self._marks.desired}")
        if isinstance(body, Desired):
            self._pending = Mark(opened.session, opened.seq)
        else:
            self._remember(kind, opened)
        return body

    def carried_out(self, desired: Desired) -> None:
        """Mark a desired state, once every deployment has stored its part."""
        self._marks.desired = (desired.epoch, desired.revision)
        if self._pending is not None:
            self._marks.kinds[DownKind.DESIRED] = self._pending
        self._store()

    def _remember(self, kind: DownKind, opened: Envelope) -> None:
        last = self._marks.kinds.get(kind)
        self._marks.kinds[kind] = Mark(opened.session, opened.seq)
        # Within a session only commands must never run twice across a restart; the rest is harmless to repeat.
        if kind is DownKind.COMMAND or last is None or last.session != opened.session:
            self._store()

    def _store(self) -> None:
        write_atomically(self._path, msgspec.json.encode(self._marks))


def _named_key(payload: bytes) -> str | None:
    try:
        return msgspec.msgpack.decode(payload, type=Envelope).key_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _read(path: Path) -> Marks:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Marks)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Marks()
