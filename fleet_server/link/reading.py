"""Decides what a batch of verified messages means: entries for the database, births, spools to answer for.

Pure: reads where devices stand, changes nothing, knows no clock but the times of arrival. A message
that is not acceptable becomes an entry for the quarantine. What spool records become is decided in
`fleet_server.link.spooled`.
"""

from collections.abc import Callable
from typing import assert_never

from edgeops.errors import MessageError
from edgeops.protocol.envelope import Envelope, Freshness, Mark, Session, freshness
from edgeops.protocol.messages import Presence, Records, Reported, Response, Status, Wish, decode
from edgeops.protocol.topics import SPOOLED, UpKind
from fleet_server.db.ingest import MarkRow
from fleet_server.link.aside import Aside
from fleet_server.link.catalog import Catalog
from fleet_server.link.entries import (
    Advanced,
    CloneSeen,
    ControlEntry,
    PresenceTold,
    Repeated,
    ReportedTold,
    TelemetryEntry,
)
from fleet_server.link.keyring import Opened, Refusal, Refused
from fleet_server.link.spooled import Spooled
from fleet_server.link.standing import SpoolKey, Standing


class Reading:
    """One batch, message by message, in the order of arrival."""

    def __init__(self, standing: Standing, catalog: Catalog, *, is_quarantined: Callable[[str], bool]) -> None:
        self.control: list[ControlEntry] = []
        self.telemetry: list[TelemetryEntry] = []
        #: Devices that began a session.
        self.born: set[str] = set()
        #: By device and kind, the last mark of a session that a newer one followed.
        self.ended: dict[tuple[str, str], Mark] = {}
        self._standing = standing
        self._aside = Aside(self.telemetry)
        self._spooled = Spooled(standing, catalog, control=self.control, telemetry=self.telemetry, aside=self._aside)
        self._is_quarantined = is_quarantined
        self._marks: dict[tuple[str, str], Mark] = {}
        self._sessions: dict[str, Session] = {}
        self._reported: dict[str, ReportedTold] = {}
        self._heard: set[str] = set()
        self._cloned: set[str] = set()

    def take(self, message: Opened | Refused) -> None:
        """Take in one message."""
        match message:
            case Refused():
                # The broker's memory of a device that left the fleet is no attack either.
                if not (message.delivery.retained and message.reason is Refusal.UNKNOWN_DEVICE):
                    self._aside.put(message)
            case Opened():
                if not (self._is_quarantined(message.topic.device) or message.topic.device in self._cloned):
                    self._judge(message)
            case _:
                assert_never(message)

    def finish(self) -> None:
        """Add what is said once per batch: windows, and how far everybody came."""
        self._spooled.finish()
        for (device_id, kind), mark in self._marks.items():
            session = mark.session
            row = MarkRow(
                device_id=device_id,
                kind=kind,
                session_counter=session.counter,
                session_nonce=session.nonce,
                seq=mark.seq,
            )
            self.telemetry.append(Advanced(row))

    @property
    def heard(self) -> frozenset[str]:
        """Devices with an acceptable message of their own in this batch."""
        return frozenset(self._heard)

    @property
    def touched(self) -> set[SpoolKey]:
        """Spools of which something arrived, new or not."""
        return self._spooled.touched

    @property
    def refusals(self) -> dict[tuple[str, Refusal], tuple[int, str]]:
        """How many messages and records were put aside, and the first one's detail, by device and reason."""
        return self._aside.refusals

    def _judge(self, message: Opened) -> None:
        device_id, envelope = message.topic.device, message.envelope
        match self._freshness(device_id, envelope):
            case Freshness.FRESH:
                self._accept(message)
            case Freshness.REPEATED:
                self._repeat(message)
            case Freshness.OLD_SESSION:
                # The broker's memory of an older session, and its last will, are no attack: they come
                # late by design, and only the current session's count.
                if message.delivery.retained or _is_last_will(envelope):
                    return
                if self._lives_on(device_id, envelope):
                    self._tell_clone(message, f"session {envelope.session.counter} goes on beside a newer one")
                else:
                    newest = self._session(device_id)
                    detail = f"session {envelope.session.counter} came after session {newest and newest.counter}"
                    self._aside.put(Refused(message.delivery, device_id, Refusal.OLD_SESSION, detail))
            case Freshness.CLONED_SESSION:
                self._tell_clone(message, f"two speakers in session {envelope.session.counter}")
            case verdict:
                assert_never(verdict)

    def _lives_on(self, device_id: str, envelope: Envelope) -> bool:
        """Whether an older session says something new: a repetition of the broker's has an old number."""
        ended = self.ended.get((device_id, envelope.kind)) or self._standing.ended(device_id, envelope.kind)
        return ended is not None and ended.session == envelope.session and envelope.seq > ended.seq

    def _tell_clone(self, message: Opened, detail: str) -> None:
        device_id = message.topic.device
        self._cloned.add(device_id)
        self.control.append(CloneSeen(device_id, detail, message.delivery.received_at))
        self._aside.put(Refused(message.delivery, device_id, Refusal.CLONED_SESSION, detail))

    def _freshness(self, device_id: str, envelope: Envelope) -> Freshness:
        """Sessions are compared over all kinds of message, sequence numbers within one kind."""
        session = self._session(device_id)
        if session is not None:
            verdict = freshness(envelope, Mark(session, -1))
            if verdict is not Freshness.FRESH:
                return verdict
        return freshness(envelope, self._mark(device_id, envelope.kind))

    def _accept(self, message: Opened) -> None:
        device_id, kind = message.topic.device, message.topic.kind
        before = self._mark(device_id, kind)
        if before is not None and before.session != message.envelope.session:
            self.ended[device_id, kind] = before
        self._marks[device_id, kind] = Mark(message.envelope.session, message.envelope.seq)
        self._sessions[device_id] = message.envelope.session
        if not _is_last_will(message.envelope):
            self._heard.add(device_id)
        try:
            if kind in SPOOLED:
                self._spooled.take(message, decode(message.envelope.body, Records))
            else:
                starts = before is None or before.session != message.envelope.session
                self._take_state(message, starts=starts)
        except MessageError as error:
            self._aside.put(Refused(message.delivery, device_id, Refusal.BODY, str(error)))

    def _take_state(self, message: Opened, *, starts: bool) -> None:
        device_id, body, at = message.topic.device, message.envelope.body, message.delivery.received_at
        match message.topic.kind:
            case UpKind.STATUS:
                status = decode(body, Status)
                self.control.append(PresenceTold(device_id, status, message.envelope.session.counter, at))
                if status.presence is Presence.ONLINE:
                    self.born.add(device_id)
            case UpKind.REPORTED:
                reported = decode(body, Reported)
                if not message.delivery.retained and device_id not in self._reported:
                    # It lives, though it may have been given up (`fleet_server.link.silence`).
                    online = Status(presence=Presence.ONLINE)
                    self.control.append(PresenceTold(device_id, online, message.envelope.session.counter, at))
                self._tell_reported(ReportedTold(device_id, reported, at))
                if starts:
                    self.born.add(device_id)
            case UpKind.RESPONSE:
                decode(body, Response)
            case UpKind.FETCH:
                decode(body, Wish)  # type: ignore[arg-type]  # served by fleet_server.link.wishes; the rest ends here
            case kind:
                raise MessageError(f"this server takes no {kind} messages; update it")

    def _tell_reported(self, told: ReportedTold) -> None:
        """The latest wins, so that a device that floods costs one row per batch."""
        earlier = self._reported.get(told.device_id)
        if earlier is not None:
            self.control.remove(earlier)
        self._reported[told.device_id] = told
        self.control.append(told)

    def _repeat(self, message: Opened) -> None:
        device_id, kind = message.topic.device, message.topic.kind
        if not message.delivery.retained:
            self.telemetry.append(Repeated(device_id, kind))
        if kind in SPOOLED:
            try:
                self._spooled.touched.add((device_id, decode(message.envelope.body, Records).spool))
            except MessageError:
                return  # it was put aside when it came first

    def _mark(self, device_id: str, kind: str) -> Mark | None:
        return self._marks.get((device_id, kind)) or self._standing.marks(device_id).get(kind)

    def _session(self, device_id: str) -> Session | None:
        return self._sessions.get(device_id) or self._standing.session(device_id)


def _is_last_will(envelope: Envelope) -> bool:
    if envelope.kind != UpKind.STATUS:
        return False
    try:
        return decode(envelope.body, Status).presence is Presence.OFFLINE
    except MessageError:
        return False
