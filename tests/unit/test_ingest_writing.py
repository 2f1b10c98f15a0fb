"""Batches are written whole or divided; ages become times; tables stay bounded."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops import limits
from edgeops.protocol.messages import Record
from fleet_server.db import ingest, telemetry
from fleet_server.db.tables import marks
from fleet_server.link.records import made_at
from fleet_server.link.writing import commit_divided
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY_MS = 86_400_000
NOW_MS = int(NOW.timestamp() * 1000)


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    yield database
    database.close()


def answer(number, *, value=1.0, input_id=None):
    return ingest.PredictionRow(
        device_id="cam-1",
        deployment="digits",
        digest="sha256:" + "0" * 64,
        input_id=str(number) if input_id is None else input_id,
        phase="live",
        answer=value,
        confidence=0.5,
        answered_at=NOW + timedelta(seconds=number),
        received_at=NOW,
    )


def window(seq, closed_at=NOW):
    return ingest.WindowRow(
        device_id="cam-1", spool=b"s" * 8, seq=seq, deployment="digits", digest="sha256:" + "0" * 64, phase="live",
        closed_at=closed_at, received_at=NOW, duration_ms=1, rows=10, source_rows=10, errors=0, dropped=0,
        latency_p50_us=1, latency_p95_us=2, record_bytes=100, sketch=b"", paired=b"",
    )  # fmt: skip


@given(st.lists(st.booleans(), max_size=40))
def test_a_failing_batch_is_divided_until_only_the_bad_entries_are_left_out(good):
    kept, refused = [], []

    def commit(entries):
        if not all(fine for _, fine in entries):
            raise ValueError("bad entry")
        kept.extend(entries)

    entries = list(enumerate(good))
    commit_divided(entries, commit, lambda entry, _: refused.append(entry))
    assert kept == [entry for entry in entries if entry[1]]
    assert refused == [entry for entry in entries if not entry[1]]


def test_a_database_that_is_gone_is_not_the_fault_of_the_entries():
    def commit(_):
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        commit_divided([1, 2, 3], commit, lambda *_: pytest.fail("no entry is to blame"))


@pytest.mark.parametrize(
    ("age_ms", "at_ms", "expected"),
    [
        (1500, 0, NOW - timedelta(milliseconds=1500)),
        (-1, NOW_MS - DAY_MS, NOW - timedelta(days=1)),
        (-1, 0, NOW),
        (-1, NOW_MS + 1000, NOW),
        (-1, NOW_MS + DAY_MS, NOW),
        (2**60, 2**60, NOW),
    ],
)
def test_a_record_is_dated_by_its_age_else_by_a_plausible_clock(age_ms, at_ms, expected):
    assert made_at(Record(seq=0, age_ms=age_ms, at_ms=at_ms, data=b""), NOW) == expected


def test_a_later_answer_replaces_an_earlier_one_and_never_the_other_way(database):
    with database.write_telemetry() as connection:
        for row in (
            answer(5, value=5.0, input_id="x"),
            answer(9, value=9.0, input_id="x"),
            answer(7, value=7.0, input_id="x"),
        ):
            ingest.put_predictions(connection, [row])
        (kept,) = telemetry.prediction_page(connection, "cam-1", limit=9)
        assert kept.answer == 9.0


def test_only_the_latest_answers_are_kept(database):
    with database.write_telemetry() as connection:
        ingest.put_predictions(connection, [answer(number) for number in range(20)])
        assert ingest.prune_predictions(connection, "cam-1", "digits", keep=8) == 12
        assert ingest.prune_predictions(connection, "cam-1", "digits", keep=8) == 0
        kept = telemetry.prediction_page(connection, "cam-1", limit=99)
        assert {prediction.input_id for prediction in kept} == {str(number) for number in range(12, 20)}
        (latest,) = telemetry.latest_predictions(connection, "cam-1")
        assert latest.input_id == "19"


def test_the_quarantine_keeps_the_newest(database, monkeypatch):
    monkeypatch.setattr(limits, "QUARANTINE_ROWS", 5)
    with database.write_telemetry() as connection:
        for number in range(8):
            row = ingest.QuarantineRow(at=NOW, device_id="", topic="t", reason="r", detail=str(number), payload=b"")
            ingest.put_aside(connection, [row])
        assert [one.detail for one in telemetry.quarantine_page(connection, limit=9)] == ["7", "6", "5", "4", "3"]


def test_windows_are_stored_once_and_paged_in_time_order(database):
    with database.write_telemetry() as connection:
        rows = [window(seq, NOW + timedelta(seconds=seq % 3)) for seq in range(7)]
        ingest.add_windows(connection, rows)
        ingest.add_windows(connection, rows)
        seen, after = [], None
        while page := telemetry.window_page(connection, "cam-1", after=after, limit=3):
            seen += [one.seq for one in page]
            after = page[-1].key
        assert seen == [0, 3, 6, 1, 4, 2, 5]
        some = telemetry.window_page(
            connection, "cam-1", start=NOW + timedelta(seconds=1), end=NOW + timedelta(seconds=2), limit=9
        )
        assert [one.seq for one in some] == [1, 4]


def test_windows_of_all_deployments_are_one_list_in_time_order(database):
    with database.write_telemetry() as connection:
        names = ("gas", "digits", "pump")
        rows = [
            window(seq, NOW + timedelta(seconds=seq % 5)) | {"deployment": names[seq % 3], "spool": bytes([seq]) * 8}
            for seq in range(20)
        ]
        ingest.add_windows(connection, rows)
        seen, after = [], None
        while page := telemetry.window_page(connection, "cam-1", after=after, limit=4):
            seen += page
            after = page[-1].key
    assert [one.key for one in seen] == sorted((row["closed_at"], row["spool"], row["seq"]) for row in rows)


def test_a_mark_that_moves_on_keeps_the_count_of_its_repetitions(database):
    def mark(seq):
        return ingest.MarkRow(device_id="cam-1", kind="status", session_counter=1, session_nonce=bytes(8), seq=seq)

    with database.write_telemetry() as connection:
        ingest.put_marks(connection, [mark(1)])
        ingest.count_repeated(connection, [("cam-1", "status", 3)])
        ingest.put_marks(connection, [mark(2)])
        (row,) = connection.execute(marks.select())
    assert (row.seq, row.repeated) == (2, 3)
