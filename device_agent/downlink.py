"""What the server says, verified: by the fleet's keys, in its session, in its order.

Turns a payload into a body, or into the reason why it is not believed. What was taken in survives a
restart in `marks.json`: the epoch of the fleet key that spoke last, its last session of each kind, and the newest
(epoch, revision) of the desired state, which is marked only after it was carried out, so that a crash repeats it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from device_agent.store.aside import read_or_set_aside
from edgeops.digest import write_atomically
from edgeops.errors import EnvelopeError, MessageError
from edgeops.protocol import envelope, messages
from edgeops.protocol.envelope import Envelope, Freshness, Mark
from edgeops.protocol.messages import Ack, Command, Credit, Desired
from edgeops.protocol.topics import DownKind
from edgeops.trust.floor import Place
from edgeops.trust.keyring import AcceptedKeys

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
    #: Of the fleet key that spoke last; what follows belongs to it.
    epoch: int = 0
    kinds: dict[str, Mark] = {}


@dataclass(frozen=True, slots=True)
class Refused:
    """Not believed, or seen before."""

    #: A counter's name: `envelope.` and a `Misfit` or a `Freshness`, `envelope.unparsable`, `body.refused`,
    #: `desired.older`.
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
        #: Files set aside since this process started.
        self.damaged = 0
        #: Writes that the disk did not take.
        self.unwritten = 0
        self._marks = self._read()
        #: Of a desired state that is heard and not yet carried out.
        self._pending: Mark | None = None

    @property
    def desired(self) -> tuple[int, int]:
        """The newest (epoch, revision) carried out."""
        return self._marks.desired

    def place(self, kind: DownKind) -> Place:
        """Of the last message of a kind that was taken in."""
        mark = self._marks.kinds[kind]
        return (self._marks.epoch, mark.session.counter, mark.seq)

    def hear(  # noqa: PLR0911 - one return a reason
        self, kind: DownKind, payload: bytes, accepted: AcceptedKeys
    ) -> Heard | Refused | UnknownKey:
        """Verify one payload that arrived on the topic of `kind`."""
        key_id = _named_key(payload)
        if key_id is not None and key_id not in accepted.publics:
            return UnknownKey(key_id)
        try:
            opened = envelope.open_envelope(payload, device=self._device, kind=kind, keys=accepted.publics)
        except EnvelopeError as error:
            return Refused(f"envelope.{error.reason}", str(error))
        except MessageError as error:
            return Refused("envelope.unparsable", str(error))
        try:
            body = messages.decode(opened.body, _BODIES[kind])
        except MessageError as error:
            return Refused("body.refused", str(error))
        refused = self._refused_epoch(opened, body, accepted.epochs[opened.key_id])
        if refused is not None:
            return refused
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

    def _refused_epoch(self, opened: Envelope, body: Heard, epoch: int) -> Refused | None:
        """Why a message of a key that speaks in `epoch` is not believed; a newer epoch than the last begins here."""
        if opened.epoch != epoch or (isinstance(body, Desired) and body.epoch > epoch):
            return Refused("envelope.wrong-epoch", f"{opened.kind} for another epoch than {epoch}, which is its key's")
        if epoch < self._marks.epoch:
            return Refused("envelope.old-epoch", f"{opened.kind} of epoch {epoch}, and {self._marks.epoch} has spoken")
        if epoch > self._marks.epoch:
            # Whoever stole the key before may have counted sessions up to where nobody follows.
            self._marks.epoch = epoch
            self._marks.kinds.clear()
            self._store()
        return None

    def _remember(self, kind: DownKind, opened: Envelope) -> None:
        last = self._marks.kinds.get(kind)
        self._marks.kinds[kind] = Mark(opened.session, opened.seq)
        # Within a session only commands must never run twice across a restart; the rest is harmless to repeat, and a
        # disk that takes nothing is no reason not to listen.
        if kind is DownKind.COMMAND:
            self._store()
        elif last is None or last.session != opened.session:
            try:
                self._store()
            except OSError:
                self.unwritten += 1

    def _read(self) -> Marks:
        return read_or_set_aside(self._path, Marks, on_damage=self._count_damage) or Marks()

    def _count_damage(self, _: Exception) -> None:
        self.damaged += 1

    def _store(self) -> None:
        write_atomically(self._path, msgspec.json.encode(self._marks))


def _named_key(payload: bytes) -> str | None:
    try:
        return msgspec.msgpack.decode(payload, type=Envelope).key_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
