"""Hourly sums say what the windows say, however those are batched, repeated or late."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeops import limits
from edgeops.sketch.packing import pack, unpack
from edgeops.sketch.window import merge_all
from fleet_server.db import ingest, rollups
from fleet_server.link.entries import Place, WindowStored
from fleet_server.link.hours import from_rows
from fleet_server.link.standing import Standing
from fleet_server.link.writing import Writer
from tests.stores import ON_BOTH, database_in
from tests.unit.sketches import CHANNELS, packed

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DIGEST = "sha256:" + "0" * 64
COUNTS = ("windows", "rows", "source_rows", "errors", "dropped", "duration_ms", "record_bytes")


def stored(seq, *, rows=10, closed_at=NOW, sketch=None, device="cam-1", p50_us=5, p95_us=9):
    sketch = packed(rows, seed=seq) if sketch is None else sketch
    row = ingest.WindowRow(
        device_id=device, spool=b"s" * 8, seq=seq, deployment="digits", digest=DIGEST, phase="live",
        closed_at=closed_at, received_at=closed_at, duration_ms=100, rows=rows, source_rows=rows, errors=1, dropped=2,
        latency_p50_us=p50_us, latency_p95_us=p95_us, record_bytes=300, sketch=sketch, paired=b"",
    )  # fmt: skip
    return WindowStored(Place(device, b"s" * 8, seq), row, unpack(sketch) if sketch else None)


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    yield database
    database.close()


def write(database, *batches):
    """Each batch through a link of its own, as after a restart."""
    for batch in batches:
        Writer(database, Standing(database)).write([], batch, now=NOW)


def hours(database, device="cam-1"):
    with database.read_telemetry() as connection:
        return rollups.device_page(connection, device, limit=1000)


def test_windows_are_summed_by_the_hour_in_which_they_closed(database):
    write(database, [stored(0, rows=10), stored(1, rows=30), stored(2, rows=5, closed_at=NOW + HOUR)])
    first, second = hours(database)
    assert [first[name] for name in COUNTS] == [2, 40, 40, 2, 4, 200, 600]
    assert (first["hour"], second["hour"]) == (NOW, NOW + HOUR)
    assert second["rows"] == 5
    merged = merge_all([unpack(packed(10, seed=0)), unpack(packed(30, seed=1))], channels=CHANNELS)
    assert first["sketch"] == pack(merged)


def test_medians_are_weighed_by_rows_and_the_worst_tail_stays(database):
    write(database, [stored(0, rows=10, p50_us=100, p95_us=900)], [stored(1, rows=30, p50_us=200, p95_us=300)])
    (hour,) = hours(database)
    assert (hour["latency_p50_us"], hour["latency_p95_us"]) == (175, 900)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_neither_batches_nor_repetitions_nor_restarts_change_a_sum(tmp_path_factory, data):
    count = data.draw(st.integers(1, 12))
    windows = [
        stored(seq, rows=seq + 1, closed_at=NOW + timedelta(minutes=37 * seq), device=f"cam-{seq % 2}")
        for seq in range(count)
    ]
    sent = data.draw(st.permutations(windows + data.draw(st.lists(st.sampled_from(windows), max_size=8))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    batches = [sent[first:last] for first, last in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    seen = []
    for each in ([windows], batches):
        database = database_in(tmp_path_factory.mktemp("db"))
        write(database, *each)
        # Rounded at every write, so only nearly the same.
        seen.append([{**row, "latency_p50_us": 0} for name in ("cam-0", "cam-1") for row in hours(database, name)])
        database.close()
    assert seen[0] == seen[1]


def test_a_window_that_is_there_already_counts_once_though_its_ledger_was_lost(database):
    writer = Writer(database, Standing(database))
    for _ in range(3):
        writer.write([], [stored(0), stored(0), stored(1)], now=NOW)
    (hour,) = hours(database)
    assert (hour["windows"], hour["rows"]) == (2, 20)


def test_a_sketch_of_other_channels_is_left_out_and_counted(database):
    write(database, [stored(0), stored(1, sketch=packed(10, channels=2))], [stored(2, sketch=packed(10, channels=1))])
    (hour,) = hours(database)
    assert (hour["windows"], hour["rows"], hour["unsketched"]) == (3, 30, 2)
    assert hour["sketch"] == packed(10, seed=0)


def test_a_window_without_sketch_is_no_fault(database):
    write(database, [stored(0, sketch=b"")], [stored(1)], [stored(2, sketch=b"")])
    (hour,) = hours(database)
    assert (hour["windows"], hour["unsketched"], hour["sketch"]) == (3, 0, packed(10, seed=1))


def test_a_stored_sketch_that_cannot_be_read_costs_only_itself(database):
    write(database, [stored(0), stored(1)])
    (row,) = hours(database)
    (hour,) = from_rows({("cam-1", "digits", DIGEST, NOW): {**row, "sketch": b"damaged"}}).values()
    assert (hour.sketch, hour.unsketched, hour.rows) == (None, 2, 20)


def test_few_hours_are_held_in_memory_and_the_others_read_again(database, monkeypatch):
    monkeypatch.setattr(limits, "ROLLUPS_CACHED", 2)
    standing = Standing(database)
    writer = Writer(database, standing)
    for turn in range(3):
        writer.write([], [stored(10 * turn + n, device=f"cam-{n}") for n in range(5)], now=NOW)
    assert len(standing._hours) == 2
    assert [hours(database, f"cam-{n}")[0]["windows"] for n in range(5)] == [3] * 5


def test_a_fleet_is_summed_over_its_devices_in_pages(database):
    write(database, [stored(n, device=f"cam-{n % 4}", closed_at=NOW + (n % 3) * HOUR, rows=n + 1) for n in range(24)])
    seen, after = [], None
    with database.read_telemetry() as connection:
        while page := rollups.fleet_page(connection, after=after, limit=2):
            seen += page
            after = page[-1].key
        some = rollups.fleet_page(connection, start=NOW + HOUR, end=NOW + 2 * HOUR, limit=9)
        assert rollups.fleet_page(connection, deployment="other", limit=9) == ()
        assert rollups.fleet_page(connection, digests=[], limit=9) == ()
    assert [(one.hour, one.devices, one.windows) for one in seen] == [(NOW + n * HOUR, 4, 8) for n in range(3)]
    assert sum(one.rows for one in seen) == sum(range(25))
    assert [one.hour for one in some] == [NOW + HOUR]


def test_a_device_that_lies_about_its_counts_does_not_overflow_the_fleet(database):
    most = 2**53
    lies = [stored(n, device=f"liar-{n}", rows=1, p50_us=most) for n in range(3)]
    for one in lies:
        one.row["rows"] = one.row["source_rows"] = most
    write(database, [*lies, stored(9, p50_us=7)])
    with database.read_telemetry() as connection:
        (hour,) = rollups.fleet_page(connection, limit=9)
    assert hour.rows >= 3 * most
