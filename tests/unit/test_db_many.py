"""Rows by many keys come through the index, each once."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from fleet_server.db.many import insert_many, select_many
from fleet_server.db.tables import rollups
from tests.stores import ON_BOTH, database_in

KEY = ("device_id", "deployment", "digest", "hour")
HOUR = datetime(2026, 11, 1, tzinfo=UTC)
NUMBERS = ("windows", "duration_ms", "rows", "source_rows", "errors", "dropped", "latency_p50_us", "latency_p95_us",
           "record_bytes", "unsketched")  # fmt: skip

#: How each explains a query, and what it calls the use of an index and the reading of a whole table.
_SQLITE = ("EXPLAIN QUERY PLAN", "SEARCH rollups USING INDEX", "SCAN rollups")
_POSTGRESQL = ("EXPLAIN", "Index Scan using", "Seq Scan on rollups")


def key(number):
    return "cam-1", "digits", "sha256:0", HOUR - timedelta(hours=number)


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    rows = [dict.fromkeys(NUMBERS, 1) | dict(zip(KEY, key(n), strict=True)) | {"sketch": b""} for n in range(300)]
    with database.write_telemetry() as connection:
        insert_many(connection, rollups.insert(), rows)
    yield database
    database.close()


@pytest.mark.parametrize("count", [0, 1, 2, 17, 256, 300])
@ON_BOTH
def test_each_wanted_row_comes_once(database, count):
    wanted = [key(number) for number in range(count)]
    with database.read_telemetry() as connection:
        found = select_many(connection, rollups, KEY, wanted)
    assert sorted(row.hour for row in found) == sorted(hour for *_, hour in wanted)


@ON_BOTH
def test_what_is_not_there_is_left_out(database):
    with database.read_telemetry() as connection:
        found = select_many(connection, rollups, KEY, [key(1), key(1_000), ("cam-2", *key(1)[1:])])
    assert [row.hour for row in found] == [key(1)[-1]]


@ON_BOTH
def test_no_table_is_read_whole(database):
    said = []
    event.listen(
        database.telemetry, "before_cursor_execute", lambda _c, _k, sql, values, *_: said.append((sql, values))
    )
    with database.read_telemetry() as connection:
        select_many(connection, rollups, KEY, [key(1), key(2)])
        sql, values = said[-1]
        if database.is_shared:
            # So few rows it would read whole whatever the index.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain, search, scan = _POSTGRESQL if database.is_shared else _SQLITE
        plan = [row[-1].strip(" ->") for row in connection.exec_driver_sql(f"{explain} {sql}", values)]
    assert any(step.startswith(search) for step in plan), plan
    assert not any(step.startswith(scan) for step in plan), plan
