"""The audit trail: a chain that shows when somebody touched it."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet_server.db import audit
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def database(tmp_path):
    made = database_in(tmp_path)
    with made.write() as connection:
        for number in range(5):
            at = NOW + timedelta(seconds=number)
            audit.append(connection, "me", "model.published", f"gas@{number}", {"b": [1, 2.5], "a": None}, at)
    yield made
    made.close()


def verdict(database):
    with database.read() as connection:
        return audit.verify(connection)


def test_an_untouched_trail_is_intact_and_has_a_head(database):
    with database.read() as connection:
        head = audit.head(connection)
    assert verdict(database) == audit.Intact(5, head)


def test_an_empty_trail_is_intact(tmp_path):
    empty = database_in(tmp_path / "empty")
    assert verdict(empty) == audit.Intact(0, audit.GENESIS)
    empty.close()


@pytest.mark.parametrize(
    ("touch", "first_broken"),
    [
        ("UPDATE audit SET actor = 'you' WHERE id = 3", 3),
        ("UPDATE audit SET at = at + 1 WHERE id = 3", 3),
        ("UPDATE audit SET remark = 'harmless' WHERE id = 3", 3),
        ("UPDATE audit SET data = '{}' WHERE id = 3", 3),
        ("DELETE FROM audit WHERE id = 3", 4),
        ("DELETE FROM audit WHERE id = 1", 2),
        ("UPDATE audit SET id = 9 WHERE id = 3", 4),
    ],
)
def test_every_touch_breaks_the_chain_where_it_happened(database, touch, first_broken):
    with database.write() as connection:
        connection.exec_driver_sql(touch)
    assert verdict(database) == audit.Broken(first_broken)


def test_a_cut_off_tail_is_seen_by_who_kept_the_head(database):
    with database.read() as connection:
        kept = audit.head(connection)
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM audit WHERE id = 5")
    cut = verdict(database)
    assert isinstance(cut, audit.Intact)
    assert cut.head != kept


def test_the_trail_is_read_newest_first_in_pages(database):
    with database.read() as connection:
        first = audit.page(connection, limit=2)
        second = audit.page(connection, after=first[-1].id, limit=2)
    assert [entry.subject for entry in (*first, *second)] == ["gas@4", "gas@3", "gas@2", "gas@1"]
