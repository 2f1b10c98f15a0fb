"""The tray before the spool: no input waits for the disk, and what the disk does not take is bounded and counted."""

import sqlite3
import threading

import pytest

from device_agent.store.spool import Spool
from device_agent.store.tray import Tray
from edgeops import limits
from edgeops.errors import MessageError
from edgeops.protocol.messages import Phase, Window, decode, encode
from edgeops.protocol.topics import UpKind

DEADLINE_S = 20.0


class House:
    """A spool on a disk that can be full."""

    def __init__(self, folder, limit_bytes=limits.TRAY_BYTES) -> None:
        self.folder = folder
        self.spool = Spool.open(folder / "spool.db")
        #: The deployments that were asked to settle, and the position that the disk held then.
        self.settled: list[tuple[str, bytes | None]] = []
        self.tray = Tray(self.spool, settle=self._settle, limit_bytes=limit_bytes)

    def _settle(self, deployment: str) -> None:
        self.settled.append((deployment, self.spool.checkpoint(deployment)))

    def fill(self) -> None:
        self._run("CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'disk full'); END")

    def empty(self) -> None:
        self._run("DROP TRIGGER full")

    def records(self) -> list[tuple[UpKind, bytes]]:
        assert self.tray.settled(DEADLINE_S)
        batches = self.spool.take(1000)
        found = [(record.seq, batch.kind, record.data) for batch in batches for record in batch.body.records]
        return [(kind, data) for _, kind, data in sorted(found)]

    def _run(self, statement) -> None:
        other = sqlite3.connect(self.folder / "spool.db", isolation_level=None)
        other.execute(statement)
        other.close()

    def close(self) -> None:
        self.tray.close(DEADLINE_S)
        self.spool.close()


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()


def window(rows: int, digest: bytes = bytes(32)) -> bytes:
    return encode(
        Window(
            deployment="gas", digest=digest, phase=Phase.LIVE, rows=rows, source_rows=rows, errors=0, dropped=0,
            duration_ms=1, latency_p50_us=1, latency_p95_us=1, sketch=b"",
        )
    )  # fmt: skip


def test_what_is_put_in_is_in_the_spool_soon_in_order_and_with_its_position(house):
    house.tray.append(UpKind.PREDICTIONS, b"p")
    house.tray.append(UpKind.TELEMETRY, window(3), checkpoint=("gas", b"3"))
    assert house.records() == [(UpKind.PREDICTIONS, b"p"), (UpKind.TELEMETRY, window(3))]
    assert house.spool.checkpoint("gas") == b"3"


def test_a_deployment_settles_before_the_position_of_its_source_is_stored(house):
    house.tray.append(UpKind.PREDICTIONS, b"p")
    house.tray.append(UpKind.TELEMETRY, window(3), checkpoint=("gas", b"3"))
    assert len(house.records()) == 2
    assert house.settled == [("gas", None)]


def test_the_newest_position_is_known_before_it_is_on_disk(house):
    house.fill()
    house.tray.append(UpKind.TELEMETRY, window(3), checkpoint=("gas", b"3"))
    assert house.spool.checkpoint("gas") is None
    assert house.tray.checkpoint("gas") == b"3"
    house.empty()


def test_a_full_disk_loses_no_row_and_is_counted(house):
    house.fill()
    for at in range(1, 4):
        house.tray.append(UpKind.TELEMETRY, window(10), checkpoint=("gas", b"%d" % (10 * at)))
    assert not house.tray.settled(0.05)
    house.empty()
    assert sum(decode(data, Window).source_rows for _, data in house.records()) == 30
    assert house.spool.checkpoint("gas") == b"30"
    assert house.tray.counters["spool.errors"] >= 1
    assert house.tray.counters["tray.dropped"] == 0


def test_a_disk_that_stays_full_does_not_fill_the_memory(tmp_path):
    house = House(tmp_path, limit_bytes=20_000)
    house.fill()
    for at in range(1, 1001):
        house.tray.append(UpKind.PREDICTIONS, b"%04d" % at + bytes(96))
        house.tray.append(UpKind.TELEMETRY, window(10), checkpoint=("gas", b"%d" % (10 * at)))
    assert house.tray._bytes <= 20_000
    house.empty()
    records = house.records()
    assert sum(decode(data, Window).source_rows for kind, data in records if kind is UpKind.TELEMETRY) == 10_000
    kept = [int(data[:4]) for kind, data in records if kind is UpKind.PREDICTIONS]
    assert max(kept) == 1000, "the newest stay"
    assert house.tray.counters["tray.dropped"] == 1000 - len(kept) > 0
    assert house.spool.checkpoint("gas") == b"10000"
    house.close()


def test_windows_that_do_not_merge_are_given_up_at_last_and_counted(tmp_path):
    house = House(tmp_path, limit_bytes=2_000)
    house.fill()
    for at in range(100):
        house.tray.append(UpKind.TELEMETRY, window(1, digest=bytes([at]) * 32))
    assert house.tray._bytes <= 2_000
    assert house.tray.counters["tray.dropped"] > 0
    house.empty()
    house.close()


def test_a_record_that_no_spool_takes_is_refused_at_once(house):
    with pytest.raises(MessageError, match="exceeds"):
        house.tray.append(UpKind.PREDICTIONS, bytes(limits.MAX_RECORD_BYTES + 1))
    assert house.tray.pending == 0


def test_putting_something_in_waits_for_nobody_who_holds_the_spool(house):
    with house.spool._lock:
        done = threading.Event()
        thread = threading.Thread(target=lambda: (house.tray.append(UpKind.PREDICTIONS, b"p"), done.set()))
        thread.start()
        assert done.wait(DEADLINE_S)
    thread.join()


def test_a_tray_that_is_closed_has_written_what_was_in_it(house):
    for _ in range(200):
        house.tray.append(UpKind.PREDICTIONS, b"p")
    house.tray.close(DEADLINE_S)
    assert house.spool.pending == 200
