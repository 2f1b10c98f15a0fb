"""What goes into the spool, comes out of it, and is never counted twice."""

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from device_agent.store.records import Entry, Spent
from device_agent.store.spool import Spool
from device_agent.store.spoolfile import Clock
from edgeops import limits
from edgeops.errors import MessageError, PlatformError
from edgeops.protocol.messages import SpoolAck
from edgeops.protocol.topics import UpKind


@dataclass
class MovedClock:
    now: float = 1000.0
    boot: str = "boot-1"

    @property
    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now + 1e9, uptime=lambda: self.now, boot=self.boot)


@pytest.fixture
def time():
    return MovedClock()


@pytest.fixture
def spool(tmp_path, time):
    spool = Spool.open(tmp_path / "spool.db", clock=time.clock)
    yield spool
    spool.close()


def reopened(spool: Spool, path: Path, clock: Clock) -> Spool:
    spool.close()
    return Spool.open(path, clock=clock)


def seqs(batches) -> list[int]:
    return [record.seq for batch in batches for record in batch.body.records]


def test_numbers_start_at_zero_and_are_never_used_twice(tmp_path, spool, time):
    assert [spool.append(UpKind.TELEMETRY, b"w") for _ in range(3)] == [0, 1, 2]
    spool.take(10)
    assert sorted(spool.acknowledge(SpoolAck(spool=spool.id, through=2))) == [0, 1, 2]
    spool_id = spool.id
    spool = reopened(spool, tmp_path / "spool.db", time.clock)
    assert spool.id == spool_id
    assert spool.append(UpKind.TELEMETRY, b"w") == 3
    spool.close()


def test_a_checkpoint_is_stored_with_its_record(tmp_path, spool, time):
    assert spool.checkpoint("gas") is None
    spool.append(UpKind.TELEMETRY, b"w", checkpoint=("gas", b"500"))
    spool = reopened(spool, tmp_path / "spool.db", time.clock)
    assert spool.checkpoint("gas") == b"500"
    spool.forget_checkpoint("gas")
    assert spool.checkpoint("gas") is None
    spool.close()


def test_nothing_is_stored_of_a_transaction_that_fails(spool):
    with pytest.raises(MessageError, match="exceeds"):
        spool.append_entries(
            [
                Entry(UpKind.TELEMETRY, b"w", ("gas", b"1")),
                Entry(UpKind.PREDICTIONS, bytes(limits.MAX_RECORD_BYTES + 1)),
            ]
        )
    assert spool.pending == 0
    assert spool.checkpoint("gas") is None


def test_only_spooled_kinds_are_taken(spool):
    with pytest.raises(MessageError, match="does not go through the spool"):
        spool.append(UpKind.STATUS, b"")


def test_reports_leave_first_and_then_the_newest(spool):
    for kind in (UpKind.PREDICTIONS, UpKind.TELEMETRY, UpKind.REPORTS, UpKind.PREDICTIONS, UpKind.REPORTS):
        spool.append(kind, b"x")
    batches = spool.take(3)
    assert [batch.kind for batch in batches] == [UpKind.REPORTS, UpKind.PREDICTIONS]
    assert seqs(batches) == [2, 4, 3]


def test_no_more_than_the_credit_is_in_flight(spool):
    for _ in range(10):
        spool.append(UpKind.TELEMETRY, b"x")
    assert seqs(spool.take(4)) == [9, 8, 7, 6]
    assert spool.take(4) == []
    spool.acknowledge(SpoolAck(spool=spool.id, through=-1, ranges=((8, 9),)))
    assert seqs(spool.take(4)) == [5, 4]


def test_a_batch_holds_one_kind_and_fits_a_message(spool):
    for _ in range(20):
        spool.append(UpKind.TELEMETRY, b"small")
    for _ in range(5):
        spool.append(UpKind.PREDICTIONS, bytes(limits.MAX_RECORD_BYTES))
    batches = spool.take(100)
    assert [(batch.kind, len(batch.body.records)) for batch in batches] == [
        (UpKind.TELEMETRY, 16),
        (UpKind.TELEMETRY, 4),
        (UpKind.PREDICTIONS, 3),
        (UpKind.PREDICTIONS, 2),
    ]


def test_what_is_not_acknowledged_in_time_is_offered_again(spool, time):
    spool.append(UpKind.TELEMETRY, b"x")
    assert seqs(spool.take(8)) == [0]
    assert spool.take(8) == []
    time.now += limits.ACK_TIMEOUT.total_seconds()
    assert seqs(spool.take(8)) == [0]


def test_a_new_connection_offers_everything_again(spool):
    spool.append(UpKind.TELEMETRY, b"x")
    spool.take(8)
    spool.lost_contact()
    assert seqs(spool.take(8)) == [0]


def test_an_ack_of_another_spool_or_of_what_never_left_is_ignored(spool):
    spool.append(UpKind.TELEMETRY, b"x")
    assert spool.acknowledge(SpoolAck(spool=spool.id, through=1_000_000)) == []
    spool.take(8)
    assert spool.acknowledge(SpoolAck(spool=b"otherone", through=1_000_000)) == []
    assert spool.pending == 1


def test_an_acknowledged_report_is_known_as_such(spool):
    seq = spool.append(UpKind.REPORTS, b"x")
    assert not spool.is_acknowledged(seq)
    spool.take(8)
    spool.acknowledge(SpoolAck(spool=spool.id, through=seq))
    assert spool.is_acknowledged(seq)
    assert not spool.is_acknowledged(seq + 1)


def test_a_record_named_once_is_stored_once(tmp_path, spool, time):
    seq = spool.append(UpKind.REPORTS, b"x", once="gas/1.7/final")
    spool = reopened(spool, tmp_path / "spool.db", time.clock)
    assert spool.append(UpKind.REPORTS, b"y", once="gas/1.7/final") == seq
    assert spool.pending == 1
    assert spool.append(UpKind.REPORTS, b"y", once="gas/1.8/final") != seq
    spool.close()


def test_several_records_named_once_are_stored_together_or_not_at_all(tmp_path, spool, time):
    records = [(UpKind.SAMPLES, b"one"), (UpKind.SAMPLES, b"two")]
    spent = Spent("gas", "2026-11-01", 60)
    assert not spool.knows("command nom-1")
    assert spool.append_all(records, once="command nom-1", spent=spent) == [0, 1]
    spool = reopened(spool, tmp_path / "spool.db", time.clock)
    assert spool.knows("command nom-1")
    assert spool.append_all(records, once="command nom-1", spent=Spent("gas", "2026-11-01", 999)) == []
    assert spool.pending == 2
    assert spool.spent_bytes("gas", "2026-11-01") == 60
    spool.close()


def test_what_a_day_cost_is_forgotten_with_the_next_day(spool):
    for day, size in (("2026-11-01", 60), ("2026-11-02", 7)):
        spool.append_all([(UpKind.SAMPLES, b"s")], once=day, spent=Spent("gas", day, size))
    assert spool.spent_bytes("gas", "2026-11-02") == 7
    assert spool.spent_bytes("gas", "2026-11-01") == spool.spent_bytes("water", "2026-11-02") == 0


def test_a_record_tells_its_age_within_one_start_of_the_machine(tmp_path, spool, time):
    spool.append(UpKind.TELEMETRY, b"x")
    time.now += 90.0
    spool = reopened(spool, tmp_path / "spool.db", time.clock)
    assert spool.take(8)[0].body.records[0].age_ms == 90_000
    time.boot = "boot-2"
    spool = reopened(spool, tmp_path / "spool.db", time.clock)
    record = spool.take(8)[0].body.records[0]
    assert (record.age_ms, record.at_ms) == (-1, 1_000_001_000_000)
    spool.close()


@pytest.mark.parametrize("damage", [b"not a database at all, just text " * 40, b""])
def test_a_corrupt_file_is_set_aside_and_counted(tmp_path, spool, time, damage):
    spool.append(UpKind.TELEMETRY, b"x")
    old = spool.id
    spool.close()
    path = tmp_path / "spool.db"
    path.write_bytes(damage or path.read_bytes()[:4096] + bytes(8192))
    spool = Spool.open(path, clock=time.clock)
    assert spool.id != old
    assert spool.counters == {"spool.corrupt": 1}
    assert path.with_name("spool.db.corrupt").exists()
    assert spool.append(UpKind.TELEMETRY, b"x") == 0
    spool.close()


def test_a_folder_that_does_not_exist_is_a_clear_error(tmp_path):
    with pytest.raises(PlatformError, match="cannot use the spool"):
        Spool.open(tmp_path / "missing" / "spool.db")


def test_a_file_of_a_newer_agent_is_left_alone(tmp_path, spool):
    path = tmp_path / "spool.db"
    spool._connection.execute("PRAGMA user_version = 99")
    spool.close()
    with pytest.raises(PlatformError, match="update the agent"):
        Spool.open(path)
    assert not path.with_name("spool.db.corrupt").exists()


def test_numbers_are_not_used_twice_although_a_power_cut_took_the_newest_records(tmp_path, time):
    path, disk = tmp_path / "spool.db", tmp_path / "disk"
    spool = Spool.open(path, clock=time.clock)
    spool.append(UpKind.TELEMETRY, b"w", checkpoint=("gas", b"1"))
    disk.mkdir()
    for file in tmp_path.glob("spool.db*"):
        shutil.copy(file, disk)
    # Predictions ride on a later commit: these may have left, and are not on the disk yet.
    lost = [spool.append(UpKind.PREDICTIONS, b"p") for _ in range(100)]
    assert set(seqs(spool.take(1000))) == {0, *lost}
    spool.close()
    time.boot = "boot-2"
    spool = Spool.open(disk / "spool.db", clock=time.clock)
    again = spool.append(UpKind.TELEMETRY, b"v", checkpoint=("gas", b"2"))
    assert again > max(lost)
    [batch] = spool.take(1000)
    answered = {seq for record in batch.body.records for seq in (record.seq, *record.absorbed)}
    assert answered == set(range(again + 1)), "the server waits for no number for ever"
    spool.close()


def test_numbers_that_may_be_used_are_on_disk_before_they_are(tmp_path, spool):
    for _ in range(600):
        seq = spool.append(UpKind.PREDICTIONS, b"p")
    reader = sqlite3.connect(tmp_path / "spool.db")
    assert reader.execute("SELECT reserved FROM meta").fetchone()[0] > seq
    reader.close()


def test_a_clean_stop_leaves_no_hole_in_the_numbers(tmp_path, spool, time):
    assert spool.append(UpKind.TELEMETRY, b"w") == 0
    time.boot = "boot-2"
    spool = reopened(spool, tmp_path / "spool.db", time.clock)
    assert spool.append(UpKind.TELEMETRY, b"w") == 1
    spool.close()


def flowing(spool):
    """A spool whose records leave as fast as they come."""
    spool.append(UpKind.REPORTS, b"r")
    acknowledged(spool, seqs(spool.take(1000)))
    return spool


def acknowledged(spool, numbers):
    spool.acknowledge(SpoolAck(spool=spool.id, through=-1, ranges=tuple((seq, seq) for seq in numbers)))


def on_disk(folder) -> set[int]:
    reader = sqlite3.connect(folder / "spool.db")
    found = {row[0] for row in reader.execute("SELECT seq FROM records")}
    reader.close()
    return found


def test_a_prediction_that_is_acknowledged_at_once_never_touches_the_disk(tmp_path, spool):
    flowing(spool)
    seq = spool.append(UpKind.PREDICTIONS, b"p")
    assert seqs(spool.take(1000)) == [seq]
    acknowledged(spool, [seq])
    assert spool.pending == 0
    spool.append(UpKind.TELEMETRY, b"w", checkpoint=("gas", b"1"))
    assert seq not in on_disk(tmp_path)


def test_a_prediction_is_on_disk_before_the_window_that_counts_its_row(tmp_path, spool, time):
    flowing(spool)
    seq = spool.append(UpKind.PREDICTIONS, b"p")
    assert seq not in on_disk(tmp_path)
    window = spool.append(UpKind.TELEMETRY, b"w", checkpoint=("gas", b"1"))
    assert {seq, window} <= on_disk(tmp_path)


def test_without_contact_every_record_is_on_disk_at_once(tmp_path, spool):
    flowing(spool)
    spool.no_contact()
    seq = spool.append(UpKind.PREDICTIONS, b"p")
    assert seq in on_disk(tmp_path)


def test_numbers_of_predictions_that_a_kill_took_are_not_used_again_and_are_answered_for(tmp_path, spool, time):
    flowing(spool)
    lost = [spool.append(UpKind.PREDICTIONS, b"p") for _ in range(3)]
    assert set(seqs(spool.take(1000))) == set(lost)
    spool._connection.close()
    again = Spool.open(tmp_path / "spool.db", clock=time.clock)
    window = again.append(UpKind.TELEMETRY, b"w", checkpoint=("gas", b"1"))
    assert window > max(lost)
    answered = {seq for batch in again.take(1000) for record in batch.body.records for seq in record.absorbed}
    assert set(lost) <= answered
    again.close()


def test_what_is_acknowledged_is_given_up_although_it_is_deleted_later(tmp_path, spool):
    flowing(spool)
    seq = spool.append(UpKind.REPORTS, b"r")
    spool.take(1000)
    acknowledged(spool, [seq])
    assert spool.is_acknowledged(seq)
    assert (spool.pending, spool.take(1000)) == (0, [])
    spool.append(UpKind.TELEMETRY, b"w", checkpoint=("gas", b"1"))
    assert seq not in on_disk(tmp_path)


def test_a_spool_in_memory_knows_where_the_sources_of_the_one_on_disk_stand(tmp_path, spool):
    spool.append(UpKind.TELEMETRY, b"w", checkpoint=("gas", b"500"))
    memory = Spool.in_memory(instead_of=tmp_path / "spool.db")
    assert memory.checkpoint("gas") == b"500"
    assert (memory.pending, memory.id == spool.id) == (0, False)
    memory.close()
    nothing = Spool.in_memory(instead_of=tmp_path / "none.db")
    assert nothing.checkpoint("gas") is None
    assert not (tmp_path / "none.db").exists()
    nothing.close()
