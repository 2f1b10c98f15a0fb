"""Tables stay bounded: what is beyond its bound goes, in small transactions, and nothing else does."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from fleet_server.db import events, ingest, nominations, retention, rollups, samples, settings, telemetry, webhooks
from fleet_server.db.retention import drop_old
from tests.stores import ON_BOTH, database_in
from tests.unit.loop_rows import add_retraining, add_to_queue, ask, enrol, label, rollup, sample_row
from tests.unit.test_ingest_writing import answer, window

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    yield database
    database.close()


def seqs(database, device_id="cam-1"):
    with database.read_telemetry() as connection:
        return [one.seq for one in telemetry.window_page(connection, device_id, limit=10_000)]


def add_windows(database, *rows):
    with database.write_telemetry() as connection:
        ingest.add_windows(connection, rows)


def test_windows_and_predictions_older_than_their_life_go(database, monkeypatch):
    monkeypatch.setattr(limits, "RETENTION_BATCH", 3)
    old = NOW - limits.TELEMETRY_LIFE
    add_windows(database, *(window(seq, old + timedelta(seconds=seq - 10)) for seq in range(20)))
    with database.write_telemetry() as connection:
        stale = answer(1) | {"answered_at": old - timedelta(seconds=1)}
        ingest.put_predictions(connection, [stale, answer(2)])
    assert drop_old(database, NOW) == 11
    assert seqs(database) == list(range(10, 20))
    with database.read_telemetry() as connection:
        assert [one.input_id for one in telemetry.prediction_page(connection, "cam-1", limit=9)] == ["2"]
    assert drop_old(database, NOW) == 0


def test_only_the_latest_windows_of_each_deployment_are_kept(database, monkeypatch):
    series = retention._Series(telemetry.windows, telemetry.windows.c.closed_at, 4)
    monkeypatch.setattr(retention, "_SERIES", (series,))
    for device_id in ("cam-1", "cam-2"):
        rows = [window(seq, NOW + timedelta(seconds=seq)) | {"device_id": device_id} for seq in range(9)]
        add_windows(database, *rows)
    assert drop_old(database, NOW) == 10
    assert seqs(database, "cam-1") == seqs(database, "cam-2") == [5, 6, 7, 8]


def test_events_beyond_their_number_go_unless_the_engine_has_not_taken_them_in(database, monkeypatch):
    monkeypatch.setattr(limits, "EVENTS_KEPT", 4)
    monkeypatch.setattr(limits, "RETENTION_BATCH", 2)
    with database.write() as connection:
        for number in range(10):
            events.append(connection, "device.status", str(number), {}, NOW)
        settings.write(connection, settings.ENGINE_CURSOR, "3")
    assert drop_old(database, NOW) == 3
    with database.write() as connection:
        settings.write(connection, settings.ENGINE_CURSOR, "10")
    assert drop_old(database, NOW) == 3
    with database.read() as connection:
        assert [event.subject for event in events.after(connection, 0)] == ["6", "7", "8", "9"]


def test_events_are_counted_and_not_their_ids_which_jump_after_a_restore(database, monkeypatch):
    monkeypatch.setattr(limits, "EVENTS_KEPT", 3)
    with database.write() as connection:
        events.append(connection, "device.status", "before", {}, NOW)
        events.append_above(connection, events.Event(10**12, NOW, events.EventKind.SERVER_RESTORED, "b-1", {}))
        events.append(connection, "device.status", "after", {}, NOW)
        settings.write(connection, settings.ENGINE_CURSOR, str(events.last_id(connection)))
    assert drop_old(database, NOW) == 0
    with database.read() as connection:
        assert [event.id for event in events.after(connection, 1)] == [10**12, 10**12 + 1]


def test_events_that_a_receiver_was_not_told_stay_up_to_a_bound(database, monkeypatch):
    monkeypatch.setattr(limits, "EVENTS_KEPT", 2)
    monkeypatch.setattr(limits, "EVENTS_KEPT_UNTOLD", 6)

    def kept():
        drop_old(database, NOW)
        with database.read() as connection:
            return [event.id for event in events.after(connection, 0)]

    def happen(count):
        with database.write() as connection:
            for number in range(count):
                events.append(connection, "device.status", str(number), {}, NOW)
            settings.write(connection, settings.ENGINE_CURSOR, str(events.last_id(connection)))

    with database.write() as connection:
        for name, cursor in (("a", 1), ("b", 3)):
            receiver = webhooks.Webhook(id=name, url="u", kinds=[], created_by="me", created_at=NOW, cursor=cursor)
            webhooks.add(connection, receiver)
    happen(5)
    assert kept() == [2, 3, 4, 5]
    with database.write() as connection:
        webhooks.move(connection, "a", cursor=4)
    assert kept() == [4, 5]
    happen(5)
    assert kept() == [5, 6, 7, 8, 9, 10]
    with database.read() as connection:
        assert events.last_dropped(connection) == 4
    with database.write() as connection:
        for name in ("a", "b"):
            webhooks.remove(connection, name)
    assert kept() == [9, 10]


def test_only_the_ledgers_of_the_latest_spools_are_kept(database, monkeypatch):
    monkeypatch.setattr(limits, "SPOOLS_KEPT", 2)
    with database.write_telemetry() as connection:
        for number in range(5):
            row = ingest.SpoolRow(
                device_id="cam-1",
                spool=bytes([number]) * 8,
                through=1,
                ranges=[],
                updated_at=NOW + timedelta(seconds=number),
            )
            ingest.put_spools(connection, [row])
    assert drop_old(database, NOW) == 3
    with database.read_telemetry() as connection:
        assert ingest.spool_ids(connection, "cam-1", limit=9) == (b"\4" * 8, b"\3" * 8)


def test_hours_outlive_their_windows_but_not_for_ever(database, monkeypatch):
    monkeypatch.setattr(limits, "RETENTION_BATCH", 2)
    old = NOW - limits.ROLLUP_LIFE
    with database.write_telemetry() as connection:
        rollups.put(connection, [rollup(old + timedelta(hours=hour)) for hour in range(-5, 2)])
    assert drop_old(database, NOW) == 5
    with database.read_telemetry() as connection:
        kept = rollups.device_page(connection, "cam-1", limit=9)
    assert [row["hour"] for row in kept] == [old, old + timedelta(hours=1)]


def test_old_samples_go_unless_they_have_a_label_or_wait_for_one(database, monkeypatch):
    monkeypatch.setattr(limits, "RETENTION_BATCH", 2)
    old = NOW - limits.SAMPLE_LIFE
    with database.write_telemetry() as connection:
        samples.add(connection, [sample_row(number, old + timedelta(days=number - 6)) for number in range(9)])
    with database.write() as connection:
        add_retraining(connection, "retrain-1", now=NOW)
        add_to_queue(connection, "sample-1", now=NOW)
        add_to_queue(connection, "sample-3", now=NOW, closed=True)
        label(connection, "sample-2", now=NOW)
    assert drop_old(database, NOW) == 4
    assert drop_old(database, NOW) == 0
    with database.read_telemetry() as connection:
        kept = samples.of_nominations(connection, ["nominate-1"])
    assert [one.id for one in kept] == ["sample-1", "sample-2", "sample-6", "sample-7", "sample-8"]


def test_who_was_asked_for_samples_is_forgotten_with_them_and_a_late_answer_is_nobodys(database, monkeypatch):
    monkeypatch.setattr(limits, "RETENTION_BATCH", 2)
    old = NOW - limits.SAMPLE_LIFE
    with database.write() as connection:
        enrol(connection, "cam-1", now=old)
        asked = [ask(connection, now=old + timedelta(days=number - 3)) for number in range(5)]
    assert drop_old(database, NOW) == 3
    with database.write() as connection:
        assert nominations.of_asker(connection, "retrain-1") == tuple(asked[3:])
        late = {"part": 0, "last": True, "samples": 1, "detail": "", "now": NOW}
        assert not nominations.answered(connection, asked[0].id, **late)
        assert nominations.answered(connection, asked[4].id, **late)


def test_a_stop_ends_the_dropping(database):
    add_windows(database, window(0, NOW - 2 * limits.TELEMETRY_LIFE))
    stop = threading.Event()
    stop.set()
    assert drop_old(database, NOW, stop) == 0
    assert seqs(database) == [0]
