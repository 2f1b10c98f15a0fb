"""Decides what a batch of verified messages means: entries for the database, births, spools to answer for.

Pure: reads where devices stand, changes nothing, knows no clock but the times of arrival. A message
that is not acceptable becomes an entry for the quarantine, and so does a single record among good ones.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import assert_never

import msgspec

from edgeops import limits
from edgeops.digest import digest_from_raw
from edgeops.errors import MessageError
from edgeops.protocol.envelope import Envelope, Freshness, Mark, Session, freshness
from edgeops.protocol.messages import (
    Predictions,
    Presence,
    Record,
    Records,
    Report,
    Reported,
    Response,
    Status,
    Window,
    Wish,
    decode,
)
from edgeops.protocol.topics import SPOOLED, UpKind
from fleet_server.db.ingest import MarkRow, PredictionRow, QuarantineRow, WindowRow
from fleet_server.link.entries import (
    Advanced,
    CloneSeen,
    ControlEntry,
    Place,
    PredictionsStored,
    PresenceTold,
    Repeated,
    ReportedTold,
    ReportTold,
    SetAside,
    Taken,
    TelemetryEntry,
    WindowStored,
)
from fleet_server.link.keyring import Opened, Refusal, Refused
from fleet_server.link.standing import SpoolKey, Standing

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_AGE_MS = limits.MAX_RECORD_AGE // timedelta(milliseconds=1)


class Reading:
    """One batch, message by message, in the order of arrival."""

    def __init__(self, standing: Standing, *, is_quarantined: Callable[[str], bool]) -> None:
        self.control: list[ControlEntry] = []
        self.telemetry: list[TelemetryEntry] = []
        #: Devices that began a session.
        self.born: set[str] = set()
        #: Spools of which something arrived, new or not.
        self.touched: set[SpoolKey] = set()
        #: How many messages were put aside, and the first one's detail, by device and reason.
        self.refusals: dict[tuple[str, Refusal], tuple[int, str]] = {}
        self._standing = standing
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
                    self._put_aside(message)
            case Opened():
                if not (self._is_quarantined(message.topic.device) or message.topic.device in self._cloned):
                    self._judge(message)
            case _:
                assert_never(message)

    def finish(self) -> None:
        """Add what is said once per batch: marks, and who was heard when."""
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
        """Devices with an acceptable message in this batch."""
        return frozenset(self._heard)

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
                if not (message.delivery.retained or _is_last_will(envelope)):
                    newest = self._session(device_id)
                    detail = f"session {envelope.session.counter} came after session {newest and newest.counter}"
                    self._put_aside(Refused(message.delivery, device_id, Refusal.OLD_SESSION, detail))
            case Freshness.CLONED_SESSION:
                detail = f"two speakers in session {envelope.session.counter}"
                self._cloned.add(device_id)
                self.control.append(CloneSeen(device_id, detail, message.delivery.received_at))
                self._put_aside(Refused(message.delivery, device_id, Refusal.CLONED_SESSION, detail))
            case verdict:
                assert_never(verdict)

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
        self._marks[device_id, kind] = Mark(message.envelope.session, message.envelope.seq)
        self._sessions[device_id] = message.envelope.session
        self._heard.add(device_id)
        try:
            if kind in SPOOLED:
                self._take_records(message, decode(message.envelope.body, Records))
            else:
                starts = before is None or before.session != message.envelope.session
                self._take_state(message, starts=starts)
        except MessageError as error:
            self._put_aside(Refused(message.delivery, device_id, Refusal.BODY, str(error)))

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

    def _take_records(self, message: Opened, records: Records) -> None:
        key = (message.topic.device, records.spool)
        self.touched.add(key)
        ledger = self._standing.ledger(key)
        for record in records.records:
            if ledger.holds(record.seq):
                continue
            place = Place(*key, record.seq, record.absorbed)
            try:
                self._take_record(message, place, record)
            except MessageError as error:
                self.telemetry.append(Taken(place))
                detail = f"record {record.seq}: {error}"
                self._put_aside(Refused(message.delivery, place.device_id, Refusal.RECORD, detail), record.data)

    def _take_record(self, message: Opened, place: Place, record: Record) -> None:
        received_at = message.delivery.received_at
        match message.topic.kind:
            case UpKind.TELEMETRY:
                row = _window_row(place, record, decode(record.data, Window), received_at)
                self.telemetry.append(WindowStored(place, row))
            case UpKind.PREDICTIONS:
                rows = _prediction_rows(place, record, decode(record.data, Predictions), received_at)
                self.telemetry.append(PredictionsStored(place, rows))
            case UpKind.REPORTS:
                data = _report_data(decode(record.data, Report))
                self.control.append(ReportTold(place.device_id, data, received_at))
                self.telemetry.append(Taken(place))
            case kind:
                raise MessageError(f"this server takes no {kind} records; update it")

    def _repeat(self, message: Opened) -> None:
        device_id, kind = message.topic.device, message.topic.kind
        if not message.delivery.retained:
            self.telemetry.append(Repeated(device_id, kind))
        if kind in SPOOLED:
            try:
                self.touched.add((device_id, decode(message.envelope.body, Records).spool))
            except MessageError:
                return  # it was put aside when it came first

    def _put_aside(self, refused: Refused, payload: bytes | None = None) -> None:
        delivery = refused.delivery
        row = QuarantineRow(
            at=delivery.received_at,
            device_id=refused.device_id,
            topic=delivery.topic,
            reason=refused.reason,
            detail=refused.detail[: limits.MAX_DETAIL_LENGTH],
            payload=(delivery.payload if payload is None else payload)[: limits.QUARANTINE_BYTES],
        )
        count, detail = self.refusals.get((refused.device_id, refused.reason), (0, refused.detail))
        if count < limits.QUARANTINE_PER_BATCH:
            # The rest is counted: a flood of one device neither fills the disk nor drives out the others' rows.
            self.telemetry.append(SetAside(row))
        self.refusals[refused.device_id, refused.reason] = count + 1, detail

    def _mark(self, device_id: str, kind: str) -> Mark | None:
        return self._marks.get((device_id, kind)) or self._standing.marks(device_id).get(kind)

    def _session(self, device_id: str) -> Session | None:
        return self._sessions.get(device_id) or self._standing.session(device_id)


def made_at(record: Record, received_at: datetime) -> datetime:
    """When a record was made: by the server's clock minus its age, else by a plausible device clock."""
    if 0 <= record.age_ms <= _MAX_AGE_MS:
        return received_at - timedelta(milliseconds=record.age_ms)
    arrived_ms = (received_at - _EPOCH) // timedelta(milliseconds=1)
    ahead_ms = limits.MAX_CLOCK_AHEAD // timedelta(milliseconds=1)
    if arrived_ms - _MAX_AGE_MS <= record.at_ms <= arrived_ms + ahead_ms:
        return min(_EPOCH + timedelta(milliseconds=record.at_ms), received_at)
    return received_at


def _is_last_will(envelope: Envelope) -> bool:
    if envelope.kind != UpKind.STATUS:
        return False
    try:
        return decode(envelope.body, Status).presence is Presence.OFFLINE
    except MessageError:
        return False


def _window_row(place: Place, record: Record, window: Window, received_at: datetime) -> WindowRow:
    return WindowRow(
        device_id=place.device_id,
        spool=place.spool,
        seq=place.seq,
        deployment=window.deployment,
        digest=digest_from_raw(window.digest),
        phase=window.phase,
        closed_at=made_at(record, received_at),
        received_at=received_at,
        duration_ms=window.duration_ms,
        rows=window.rows,
        source_rows=window.source_rows,
        errors=window.errors,
        dropped=window.dropped,
        latency_p50_us=window.latency_p50_us,
        latency_p95_us=window.latency_p95_us,
        record_bytes=len(record.data),
        sketch=window.sketch,
    )


def _prediction_rows(place: Place, record: Record, batch: Predictions, received_at: datetime) -> list[PredictionRow]:
    digest = digest_from_raw(batch.digest)
    made = made_at(record, received_at)
    rows: list[PredictionRow] = []
    for prediction in batch.predictions:
        if not (math.isfinite(prediction.answer) and math.isfinite(prediction.confidence)):
            raise MessageError(f"the answer to input {prediction.input_id!r} is not a finite number")
        row = PredictionRow(
            device_id=place.device_id,
            deployment=batch.deployment,
            digest=digest,
            input_id=prediction.input_id,
            phase=batch.phase,
            answer=prediction.answer,
            confidence=prediction.confidence,
            answered_at=made - timedelta(milliseconds=min(prediction.age_ms, _MAX_AGE_MS)),
            received_at=received_at,
        )
        rows.append(row)
    return rows


def _report_data(report: Report) -> dict[str, object]:
    """A report as event data: plain JSON, the digest as text."""
    return {
        "installation": report.installation,
        "deployment": report.deployment,
        "digest": digest_from_raw(report.digest),
        "state": report.state,
        "reason": report.reason,
        "detail": report.detail,
        "evidence": None if report.evidence is None else msgspec.structs.asdict(report.evidence),
    }
