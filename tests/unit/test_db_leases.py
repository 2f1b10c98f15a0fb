"""Of each kind of process one holds the lease; who lost it writes nothing more."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from edgeops.errors import LeaseError
from fleet_server.db import leases
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LIFE = timedelta(seconds=10)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    yield database
    database.close()


def take(database, holder, now=NOW, name="jobs"):
    with database.write() as connection:
        return leases.take(connection, name, holder=holder, now=now, life=LIFE)


def test_nobody_has_a_lease_that_was_never_taken(database):
    with database.read() as connection:
        assert leases.get(connection, "jobs") is None


def test_a_second_one_gets_it_when_the_first_has_ended_and_no_moment_earlier(database):
    assert take(database, "a") == leases.Lease("jobs", "a", NOW + LIFE, 1)
    assert take(database, "b", NOW + LIFE - MOMENT) is None
    assert take(database, "b", NOW + LIFE) == leases.Lease("jobs", "b", NOW + 2 * LIFE, 2)


def test_leases_of_other_names_are_others(database):
    take(database, "a")
    assert take(database, "b", name="link") == leases.Lease("link", "b", NOW + LIFE, 1)


def test_a_renewed_one_lives_on(database):
    lease = take(database, "a")
    with database.write() as connection:
        leases.renew(connection, lease, now=NOW + LIFE / 2, life=LIFE)
    assert take(database, "b", NOW + LIFE) is None
    assert take(database, "b", NOW + LIFE * 1.5) is not None


def test_one_that_ended_and_that_nobody_took_can_be_renewed(database):
    lease = take(database, "a")
    with database.write() as connection:
        leases.renew(connection, lease, now=NOW + LIFE * 3, life=LIFE)
    assert take(database, "b", NOW + LIFE * 3) is None


def test_one_that_another_took_can_be_neither_renewed_nor_given_back(database):
    lost = take(database, "a")
    take(database, "b", NOW + LIFE)
    with (
        pytest.raises(LeaseError, match=r"\(a\) is not the jobs process any more, b is"),
        database.write() as connection,
    ):
        leases.renew(connection, lost, now=NOW + LIFE, life=LIFE)
    with database.write() as connection:
        leases.give_back(connection, lost, now=NOW + LIFE)
        assert leases.get(connection, "jobs").until == NOW + 2 * LIFE


def test_one_that_is_given_back_is_free_at_once(database):
    lease = take(database, "a")
    with database.write() as connection:
        leases.give_back(connection, lease, now=NOW + MOMENT)
    assert take(database, "b", NOW + MOMENT).token == 2


def test_of_two_that_take_at_once_one_does(database):
    gate, got = threading.Barrier(4), []

    def run(holder):
        gate.wait()
        got.append(take(database, holder))

    threads = [threading.Thread(target=run, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(lease is not None for lease in got) == 1
