"""Takes in the spool records of one batch: each becomes an entry, or is put aside alone and holds up no other.

Pure: reads where devices stand and what they refer to, changes nothing. What a good record becomes is decided in
`fleet_server.link.records`.
"""

import logging

from msgspec.structs import replace

from edgeops.digest import digest_from_raw
from edgeops.errors import MessageError
from edgeops.protocol.messages import Benchmarked, Predictions, Record, Records, Report, Samples, Window, decode
from edgeops.protocol.topics import UpKind
from fleet_server.db.database import is_outage
from fleet_server.db.ingest import WindowRow
from fleet_server.link.aside import Aside
from fleet_server.link.catalog import Catalog
from fleet_server.link.entries import (
    BenchmarkTold,
    ControlEntry,
    NomineesTold,
    Place,
    PredictionsStored,
    ReportTold,
    SamplesStored,
    Taken,
    TelemetryEntry,
    WindowStored,
)
from fleet_server.link.keyring import Opened, Refusal, Refused
from fleet_server.link.records import (
    check_paired,
    check_sketch,
    prediction_rows,
    read_sketches,
    report_data,
    sample_rows,
    window_row,
)
from fleet_server.link.standing import SpoolKey, Standing

log = logging.getLogger(__name__)


class Spooled:
    """Adds entries to `control` and `telemetry`."""

    def __init__(
        self,
        standing: Standing,
        catalog: Catalog,
        *,
        control: list[ControlEntry],
        telemetry: list[TelemetryEntry],
        aside: Aside,
    ) -> None:
        #: Spools of which something arrived, new or not.
        self.touched: set[SpoolKey] = set()
        self._standing = standing
        self._catalog = catalog
        self._control = control
        self._telemetry = telemetry
        self._aside = aside
        #: Windows whose sketches are read together at the end.
        self._windows: list[tuple[Opened, Place, Record, WindowRow]] = []
        #: Ids of the samples that each nomination has, with those of this batch.
        self._sampled: dict[str, frozenset[str]] = {}

    def take(self, message: Opened, records: Records) -> None:
        """Take in those of the records that are not committed."""
        key = (message.topic.device, records.spool)
        self.touched.add(key)
        ledger = self._standing.ledger(key)
        for record in records.records:
            if ledger.holds(record.seq):
                continue
            place = Place(*key, record.seq, record.absorbed)
            try:
                self._take(message, place, record)
            except Exception as error:  # noqa: BLE001 - the border of one record; `_put_aside` says why
                self._put_aside(message, place, record, error)

    def finish(self) -> None:
        """Add the windows whose sketches are what they claim to be."""
        sketches = read_sketches([row for *_, row in self._windows])
        for (message, place, record, row), sketch in zip(self._windows, sketches, strict=True):
            if isinstance(sketch, MessageError):
                self._put_aside(message, place, record, sketch)
                continue
            try:
                check_sketch(row, sketch, self._catalog.artifact(row["digest"]))
            except Exception as error:  # noqa: BLE001 - the border of one record; `_put_aside` says why
                self._put_aside(message, place, record, error)
            else:
                self._telemetry.append(WindowStored(place, row, sketch))

    def _take(self, message: Opened, place: Place, record: Record) -> None:
        received_at = message.delivery.received_at
        match message.topic.kind:
            case UpKind.TELEMETRY:
                window = decode(record.data, Window)
                if window.paired is not None:
                    charge, shadow = map(digest_from_raw, (window.digest, window.paired.shadow))
                    cells = self._catalog.cells(shadow, charge)
                    if cells is None:
                        # A server that came out of a backup may lack a model. The window itself counts all the same.
                        window = replace(window, paired=None)
                    else:
                        check_paired(window, cells)
                row = window_row(place, record, window, received_at)
                self._windows.append((message, place, record, row))
            case UpKind.PREDICTIONS:
                rows = prediction_rows(place, record, decode(record.data, Predictions), received_at)
                self._telemetry.append(PredictionsStored(place, rows))
            case UpKind.SAMPLES:
                self._take_samples(message, place, record)
            case UpKind.BENCHMARKS:
                told = decode(record.data, Benchmarked)
                asked = self._catalog.benchmark(told.benchmark)
                if asked is None or (asked.device_id, asked.digest) != (place.device_id, digest_from_raw(told.digest)):
                    raise MessageError(f"a benchmark {told.benchmark!r} that this device was not asked for")
                self._control.append(BenchmarkTold(place.device_id, told, received_at))
                self._telemetry.append(Taken(place))
            case UpKind.REPORTS:
                data = report_data(decode(record.data, Report))
                self._control.append(ReportTold(place.device_id, data, received_at))
                self._telemetry.append(Taken(place))
            case kind:
                raise MessageError(f"this server takes no {kind} records; update it")

    def _take_samples(self, message: Opened, place: Place, record: Record) -> None:
        answer, received_at = decode(record.data, Samples), message.delivery.received_at
        asked = self._catalog.nomination(answer.nomination)
        if asked is None or asked.device_id != place.device_id:
            raise MessageError(f"samples for {answer.nomination!r}, which this device was not asked for")
        expected = self._catalog.artifact(asked.digest)
        rows = sample_rows(place, record, answer, asked=asked, expected=expected, received_at=received_at)
        known = self._sampled.get(asked.id)
        known = self._standing.samples_of(asked.id) if known is None else known
        sampled = known.union(row["id"] for row in rows)
        if len(sampled) > asked.count:
            raise MessageError(f"more samples than the {asked.count} that {asked.id} asked for")
        self._sampled[asked.id] = sampled
        told = NomineesTold(place.device_id, asked.id, answer.part, answer.last, len(rows), answer.detail, received_at)
        self._control.append(told)
        self._telemetry.append(SamplesStored(place, rows))

    def _put_aside(self, message: Opened, place: Place, record: Record, error: Exception) -> None:
        """It counts as received, also when no check foresaw what is wrong with it: no record holds up another."""
        if is_outage(error):
            raise error
        reason, what = Refusal.RECORD, str(error)
        if not isinstance(error, MessageError):
            log.error("ingest.unreadable device=%s record=%d", place.device_id, place.seq, exc_info=error)
            reason, what = Refusal.UNREADABLE, f"{type(error).__name__}: {error}"
        self._telemetry.append(Taken(place))
        self._aside.put(Refused(message.delivery, place.device_id, reason, f"record {record.seq}: {what}"), record.data)
