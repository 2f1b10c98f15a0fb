"""Writes the entries of a batch, many rows per statement; divides a batch that fails until it does not.

Decides nothing about messages. An entry that the database refuses even alone is put aside, so that
one poisonous row never holds up the others.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar, assert_never

from edgeops import limits
from edgeops.protocol.envelope import Mark, Session
from edgeops.sketch.window import Sketch
from fleet_server import blessings
from fleet_server.db import devices, events, ingest, nominations, rollups, samples
from fleet_server.db.database import Database, is_outage
from fleet_server.db.events import EventKind
from fleet_server.db.ingest import MarkRow, PredictionRow, QuarantineRow, SpoolRow, WindowRow
from fleet_server.db.rollups import RollupKey
from fleet_server.db.samples import SampleRow
from fleet_server.link.entries import (
    Advanced,
    Alerted,
    BenchmarkTold,
    CloneSeen,
    ControlEntry,
    Heard,
    NomineesTold,
    Place,
    PredictionsStored,
    PresenceTold,
    Repeated,
    ReportedTold,
    ReportTold,
    SamplesStored,
    SetAside,
    Taken,
    TelemetryEntry,
    WindowStored,
)
from fleet_server.link.hours import Hour, sum_by_hour, to_row, together
from fleet_server.link.keyring import Refusal
from fleet_server.link.ledger import Ledger
from fleet_server.link.standing import SpoolKey, Standing

log = logging.getLogger(__name__)

#: Answers of a deployment are pruned after this many new ones.
_PRUNE_EVERY = limits.PREDICTIONS_KEPT // 10

_Entry = TypeVar("_Entry")


def commit_divided(
    entries: Sequence[_Entry],
    commit: Callable[[Sequence[_Entry]], None],
    refuse: Callable[[_Entry, Exception], None],
) -> None:
    """Commit all entries in one transaction if that works, else in halves, down to the one that does not.

    Raises:
        Exception: the database itself is locked, full or gone; the entries are not to blame.
    """
    if not entries:
        return
    try:
        commit(entries)
    except Exception as error:
        if is_outage(error):
            raise
        if len(entries) == 1:
            refuse(entries[0], error)
            return
        middle = len(entries) // 2
        commit_divided(entries[:middle], commit, refuse)
        commit_divided(entries[middle:], commit, refuse)


class Writer:
    """The link's way into both databases."""

    def __init__(self, database: Database, standing: Standing) -> None:
        self._database = database
        self._standing = standing
        self._unpruned: Counter[tuple[str, str]] = Counter()

    def write(self, control: Sequence[ControlEntry], telemetry: Sequence[TelemetryEntry], *, now: datetime) -> None:
        """Commit `control`, then `telemetry`, so that nothing counts as received before it took effect."""
        refused: list[TelemetryEntry] = []

        def refuse(entry: ControlEntry | TelemetryEntry, error: Exception) -> None:
            log.error("ingest.not_storable entry=%s error=%s", type(entry).__name__, error)
            refused.extend(_put_aside(entry, error, now))

        def commit_telemetry(entries: Sequence[TelemetryEntry]) -> None:
            self._commit_telemetry(entries, now)

        commit_divided(control, self._commit_control, refuse)
        commit_divided(telemetry, commit_telemetry, refuse)
        commit_divided(tuple(refused), commit_telemetry, lambda _, error: log.error("ingest.lost error=%s", error))

    def _commit_control(self, entries: Sequence[ControlEntry]) -> None:  # noqa: C901 - one case an entry
        seen: dict[datetime, list[str]] = {}
        with self._database.write() as connection:
            for entry in entries:
                match entry:
                    case PresenceTold(device_id, status, session_counter, at):
                        devices.set_presence(
                            connection,
                            device_id,
                            presence=status.presence,
                            session_counter=session_counter,
                            agent_version=status.agent_version,
                            now=at,
                        )
                    case ReportedTold(device_id, reported, at):
                        devices.set_reported(connection, device_id, reported, now=at)
                    case ReportTold(device_id, data, at):
                        events.append(connection, EventKind.REPORT_RECEIVED, device_id, data, at)
                    case NomineesTold(_, nomination, part, last, count, detail, at):
                        nominations.answered(
                            connection, nomination, part=part, last=last, samples=count, detail=detail, now=at
                        )
                    case BenchmarkTold(_, told, at):
                        blessings.take(connection, told, at)
                    case CloneSeen(device_id, detail, at):
                        devices.quarantine(connection, device_id, reason=detail, now=at)
                    case Alerted(device_id, reason, count, detail, at):
                        data = {"reason": reason, "count": count, "detail": detail}
                        events.append(connection, EventKind.MESSAGE_QUARANTINED, device_id, data, at)
                    case Heard(device_id, at):
                        seen.setdefault(at, []).append(device_id)
                    case _:
                        assert_never(entry)
            for at, device_ids in seen.items():
                devices.mark_seen(connection, device_ids, now=at)

    def _commit_telemetry(self, entries: Sequence[TelemetryEntry], now: datetime) -> None:
        rows = _Rows(entries)
        ledgers = self._grown(rows.places)
        pruned = self._prunable(rows.predictions)
        with self._database.write_telemetry() as connection:
            new = ingest.add_windows(connection, [row for row, _ in rows.windows])
            hours = self._summed(rows.windows, new)
            rollups.put(connection, [to_row(key, hour) for key, hour in hours.items()])
            ingest.put_predictions(connection, rows.predictions)
            samples.add(connection, rows.samples)
            ingest.put_spools(connection, [_spool_row(key, ledger, now) for key, ledger in ledgers.items()])
            ingest.put_marks(connection, rows.marks)
            ingest.count_repeated(connection, [(*key, count) for key, count in rows.repeated.items()])
            ingest.put_aside(connection, rows.aside)
            for device_id, deployment in pruned:
                ingest.prune_predictions(connection, device_id, deployment, keep=limits.PREDICTIONS_KEPT)
        for key, ledger in ledgers.items():
            self._standing.commit_ledger(key, ledger)
        for row in rows.marks:
            mark = Mark(Session(row["session_counter"], row["session_nonce"]), row["seq"])
            self._standing.commit_mark(row["device_id"], row["kind"], mark)
        self._standing.commit_hours(hours)
        for deployment_key in pruned:
            del self._unpruned[deployment_key]

    def _grown(self, places: Iterable[Place]) -> dict[SpoolKey, Ledger]:
        """The ledgers with everything that is about to be committed."""
        grown: dict[SpoolKey, Ledger] = {}
        for place in places:
            key = (place.device_id, place.spool)
            ledger = grown.get(key) or self._standing.ledger(key)
            grown[key] = ledger.add(place.seq, *place.absorbed)
        return grown

    def _summed(
        self, windows: Sequence[tuple[WindowRow, Sketch | None]], new: Sequence[WindowRow]
    ) -> dict[RollupKey, Hour]:
        """The hours of the windows that are new, with what they held before."""
        sketches = {id(row): sketch for row, sketch in windows}
        added = sum_by_hour((row, sketches[id(row)]) for row in new)
        before = self._standing.hours(added.keys())
        return {key: together(before[key], hour) if key in before else hour for key, hour in added.items()}

    def _prunable(self, rows: Sequence[PredictionRow]) -> list[tuple[str, str]]:
        """Count new answers; the deployments that have enough of them to prune."""
        fresh = Counter((row["device_id"], row["deployment"]) for row in rows)
        self._unpruned.update(fresh)
        return [key for key in fresh if self._unpruned[key] >= _PRUNE_EVERY]


class _Rows:
    """Entries sorted by the table they go to."""

    def __init__(self, entries: Sequence[TelemetryEntry]) -> None:
        self.windows: list[tuple[WindowRow, Sketch | None]] = []
        self.predictions: list[PredictionRow] = []
        self.samples: list[SampleRow] = []
        self.places: list[Place] = []
        self.marks: list[MarkRow] = []
        self.repeated: Counter[tuple[str, str]] = Counter()
        self.aside: list[QuarantineRow] = []
        for entry in entries:
            match entry:
                case WindowStored(place, row, sketch):
                    self.windows.append((row, sketch))
                    self.places.append(place)
                case PredictionsStored(place, rows):
                    self.predictions.extend(rows)
                    self.places.append(place)
                case SamplesStored(place, nominees):
                    self.samples.extend(nominees)
                    self.places.append(place)
                case Taken(place):
                    self.places.append(place)
                case Advanced(mark):
                    self.marks.append(mark)
                case Repeated(device_id, kind):
                    self.repeated[device_id, kind] += 1
                case SetAside(aside):
                    self.aside.append(aside)
                case _:
                    assert_never(entry)


def _spool_row(key: SpoolKey, ledger: Ledger, now: datetime) -> SpoolRow:
    device_id, spool = key
    return SpoolRow(device_id=device_id, spool=spool, through=ledger.through, ranges=ledger.ranges, updated_at=now)


def _put_aside(entry: ControlEntry | TelemetryEntry, error: Exception, now: datetime) -> list[TelemetryEntry]:
    """What is written in place of an entry that cannot be: a record still counts as received."""
    row = QuarantineRow(
        at=now,
        device_id=_device_of(entry),
        topic="",
        reason=Refusal.NOT_STORABLE,
        # A driver's error says what; SQLAlchemy's adds the statement and every value.
        detail=f"{type(error).__name__}: {getattr(error, 'orig', error)}"[: limits.MAX_DETAIL_LENGTH],
        payload=repr(entry).encode(errors="replace")[: limits.QUARANTINE_BYTES],
    )
    aside: list[TelemetryEntry] = [SetAside(row)]
    if isinstance(entry, WindowStored | PredictionsStored | SamplesStored | Taken):
        aside.insert(0, Taken(entry.place))
    return aside


def _device_of(entry: ControlEntry | TelemetryEntry) -> str:
    match entry:
        case WindowStored() | PredictionsStored() | SamplesStored() | Taken():
            return entry.place.device_id
        case Advanced() | SetAside():
            return entry.row["device_id"]
        case _:
            return entry.device_id
