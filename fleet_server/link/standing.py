"""Where every device stands, as committed: marks, ledgers and hourly sums, cached in front of the database.

Changed only after a commit, by the one ingestion thread, so it never says more than the database.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping

from edgeops import limits
from edgeops.protocol.envelope import Mark, Session
from fleet_server.db import ingest, rollups, samples
from fleet_server.db.database import Database
from fleet_server.db.rollups import RollupKey
from fleet_server.link.hours import Hour, from_rows
from fleet_server.link.ledger import Ledger

#: Beyond this the ledgers are forgotten and read again as needed.
_CACHED_LEDGERS = 100_000

SpoolKey = tuple[str, bytes]


class Standing:
    """Committed marks by device and kind, ledgers by device and spool, sums by device, deployment, digest and hour."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._marks: dict[str, dict[str, Mark]] = {}
        self._ledgers: dict[SpoolKey, Ledger] = {}
        self._hours: OrderedDict[RollupKey, Hour] = OrderedDict()
        #: By device and kind, where the session before the present one ended; what was so before this start is unknown.
        self._ended: dict[tuple[str, str], Mark] = {}

    def marks(self, device_id: str) -> Mapping[str, Mark]:
        """The last accepted mark of a device by kind."""
        known = self._marks.get(device_id)
        if known is None:
            with self._database.read_telemetry() as connection:
                known = self._marks[device_id] = ingest.marks_of(connection, device_id)
        return known

    def session(self, device_id: str) -> Session | None:
        """The newest session of a device; None when it never spoke."""
        return max((mark.session for mark in self.marks(device_id).values()), default=None)

    def ended(self, device_id: str, kind: str) -> Mark | None:
        """The last mark of the session before the present one, as far as it is known."""
        return self._ended.get((device_id, kind))

    def ledger(self, key: SpoolKey) -> Ledger:
        """What is committed of one spool."""
        known = self._ledgers.get(key)
        if known is None:
            with self._database.read_telemetry() as connection:
                row = ingest.spool(connection, *key)
            known = Ledger() if row is None else Ledger(row["through"], tuple(row["ranges"]))
            self.commit_ledger(key, known)
        return known

    def samples_of(self, nomination_id: str) -> frozenset[str]:
        """The ids of the samples that answer a nomination."""
        with self._database.read_telemetry() as connection:
            return samples.ids_of_nomination(connection, nomination_id)

    def hours(self, keys: Collection[RollupKey]) -> dict[RollupKey, Hour]:
        """The sums of those of these hours that have any."""
        missing = [key for key in keys if key not in self._hours]
        if missing:
            with self._database.read_telemetry() as connection:
                rows = rollups.some(connection, missing)
            read = from_rows(rows)
        else:
            read = {}
        return read | {key: self._hours[key] for key in keys if key in self._hours}

    def commit_mark(self, device_id: str, kind: str, mark: Mark) -> None:
        """Take in a mark that was committed."""
        self._marks.setdefault(device_id, {})[kind] = mark

    def commit_ended(self, ended: Mapping[tuple[str, str], Mark]) -> None:
        """Take in where sessions ended, by device and kind, whose successors were committed."""
        self._ended |= ended

    def commit_ledger(self, key: SpoolKey, ledger: Ledger) -> None:
        """Take in a ledger that was committed."""
        if len(self._ledgers) >= _CACHED_LEDGERS:
            self._ledgers.clear()
        self._ledgers[key] = ledger

    def commit_hours(self, hours: Mapping[RollupKey, Hour]) -> None:
        """Take in sums that were committed; the ones that changed last are kept."""
        for key, hour in hours.items():
            self._hours[key] = hour
            self._hours.move_to_end(key)
        while len(self._hours) > limits.ROLLUPS_CACHED:
            self._hours.popitem(last=False)
