"""What PostgreSQL has to be told that SQLite does by itself: one writer at a time, one moment for a reader."""

import os
import threading
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from edgeops import limits
from edgeops.errors import LeaseError
from fleet_server.alone import alone
from fleet_server.config import ServerConfig
from fleet_server.db import events, ingest, leases, settings, tables
from fleet_server.db.database import Database, is_outage
from fleet_server.db.news import Watch
from fleet_server.link.entries import SetAside
from fleet_server.link.standing import Standing
from fleet_server.link.writing import Writer
from tests.postgresql import PrivateServer
from tests.stores import STORES

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def url(tmp_path):
    return STORES.url(tmp_path)


@pytest.fixture
def database(url):
    return STORES.open(url)


@pytest.fixture
def other(url):
    """The same one, of another process."""
    return STORES.open(url)


def in_thread(act):
    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.parametrize("writing", ["write", "write_telemetry"])
def test_a_writer_waits_for_the_writer_before_it(database, other, writing):
    order = []

    def second():
        with getattr(other, writing)():
            order.append("second")

    with getattr(database, writing)() as connection:
        waits = in_thread(second)
        wait_for_lock(database)
        order.append("first")
        connection.exec_driver_sql("SELECT 1")
    waits.join()
    assert order == ["first", "second"]


def wait_for_lock(database):
    """Return when somebody waits for a lock."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with database.read() as connection:
            if connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar_one():
                return
    pytest.fail("nobody waits for a lock")


def test_a_writer_of_one_chain_waits_for_none_of_the_other(database, other):
    with database.write(), other.write_telemetry() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_a_writer_that_waited_sees_what_the_one_before_it_wrote(database, other):
    def count(one):
        for _ in range(50):
            with one.write() as connection:
                settings.count_up(connection, "n")
                events.append(connection, "n", "n", {}, NOW)

    threads = [in_thread(lambda one=one: count(one)) for one in (database, other, database, other)]
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert settings.read(connection, "n") == "200"


def test_a_follower_of_events_misses_none_while_several_write(database, other):
    def write():
        for _ in range(100):
            with other.write() as connection:
                events.append(connection, "n", "n", {}, NOW)

    threads = [in_thread(write) for _ in range(3)]
    seen, cursor, alive = 0, 0, True
    while alive:
        alive = any(thread.is_alive() for thread in threads)
        with database.read() as connection:
            news = events.after(connection, cursor, limit=1_000)
        seen, cursor = seen + len(news), news[-1].id if news else cursor
    assert seen == 300


def test_a_reader_sees_one_moment_and_cannot_write(database, other):
    with database.read() as connection:
        assert settings.read(connection, "a") is None
        with other.write() as writer:
            settings.write(writer, "a", "b")
        assert settings.read(connection, "a") is None
        with pytest.raises(DBAPIError, match="read-only transaction"):
            settings.write(connection, "a", "c")


def test_a_lock_that_is_never_given_back_is_an_outage(database, other, monkeypatch):
    monkeypatch.setattr("fleet_server.db.postgres._SESSION", (("lock_timeout", "50ms"),))
    with database.write(), pytest.raises(DBAPIError) as late, other.write():
        pass
    assert is_outage(late.value)


def test_what_a_row_is_to_blame_for_is_no_outage(database):
    with pytest.raises(DBAPIError) as refused, database.write() as connection:
        settings.write(connection, "a\0", "b")
    assert not is_outage(refused.value)
    with pytest.raises(DBAPIError) as twice, database.write() as connection:
        connection.execute(tables.settings.insert(), [{"key": "a", "value": ""}] * 2)
    assert not is_outage(twice.value)


def test_a_server_that_is_gone_is_an_outage_and_one_that_is_back_is_used(monkeypatch):
    server = PrivateServer()
    try:
        database = Database.at(server.url("postgres"))
        with database.read() as connection:
            connection.exec_driver_sql("SELECT 1")
        with database.control.connect() as connection:
            server.kill()
            with pytest.raises(DBAPIError) as cut:
                connection.exec_driver_sql("SELECT 1")
        assert is_outage(cut.value)
        with pytest.raises(DBAPIError) as away, database.read() as connection:
            connection.exec_driver_sql("SELECT 1")
        assert is_outage(away.value)
        server.start()
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
        database.close()
    finally:
        server.stop()


# -- who waits is told


def test_whoever_waits_hears_of_a_write_at_once(database, other):
    stop = threading.Event()
    with closing(Watch(database.news, stop)) as watch:
        until(lambda: database.news.tells)
        watch.wait(timedelta(hours=1))  # the first look
        began = time.monotonic()
        teller = in_thread(lambda: write_something(other))
        assert watch.wait(timedelta(hours=1)) is False
        assert time.monotonic() - began < 30
        teller.join()


def write_something(database):
    with database.write() as connection:
        settings.write(connection, "a", "b")


def test_whoever_waits_and_shall_end_does(database):
    stop = threading.Event()
    with closing(Watch(database.news, stop)) as watch:
        until(lambda: database.news.tells)
        watch.wait(timedelta(hours=1))
        stop.set()
        assert watch.wait(timedelta(hours=1)) is True


def until(question):
    deadline = time.monotonic() + 30
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- the lease in use


def test_the_first_works_and_the_second_when_the_first_has_ended(tmp_path, database, other, caplog):
    caplog.set_level("INFO")
    config, order = ServerConfig(tmp_path), []

    def second():
        with alone(config, other, "jobs", threading.Event()) as is_its_turn:
            order.append(("second", is_its_turn))

    with alone(config, database, "jobs", threading.Event()) as is_its_turn:
        waits = in_thread(second)
        until(lambda: "jobs.waits" in caplog.text)
        order.append(("first", is_its_turn))
    waits.join()
    assert order == [("first", True), ("second", True)]


def test_one_that_shall_end_before_its_turn_has_none(tmp_path, database, other):
    stop = threading.Event()
    stop.set()
    with (
        alone(ServerConfig(tmp_path), database, "jobs", threading.Event()),
        alone(ServerConfig(tmp_path), other, "jobs", stop) as is_its_turn,
    ):
        assert is_its_turn is False


def test_one_whose_place_was_taken_is_told_to_stop_and_says_why(tmp_path, database, other):
    stop = threading.Event()
    turn = alone(ServerConfig(tmp_path), database, "jobs", stop)
    turn.__enter__()
    take_over(other)
    with suppress(LeaseError), database.write():
        pytest.fail("it may not write")
    assert stop.is_set()
    with pytest.raises(LeaseError, match="not the jobs process any more, another is"):
        turn.__exit__(None, None, None)


@pytest.mark.parametrize("writing", ["write", "write_telemetry"])
def test_a_fenced_database_writes_nothing_for_who_lost_the_lease(database, other, writing):
    with database.write() as connection:
        lease = leases.take(connection, "jobs", holder="a", now=NOW, life=limits.LEASE_LIFE)
    database.fence(lambda connection: leases.require(connection, lease))
    with getattr(database, writing)():
        pass
    take_over(other)
    with pytest.raises(LeaseError) as lost, getattr(database, writing)():
        pytest.fail("it may not write")
    assert is_outage(lost.value), "what was to be written is not to blame, and comes again"


def take_over(database, name="jobs"):
    with database.write() as connection:
        long_after = leases.clock(connection) + 2 * limits.LEASE_LIFE
        leases.take(connection, name, holder="another", now=long_after, life=limits.LEASE_LIFE)


def test_a_link_whose_place_was_taken_takes_nothing_for_written(tmp_path, database, other):
    row = ingest.QuarantineRow(at=NOW, device_id="a", topic="t", reason="r", detail="d", payload=b"")
    with suppress(LeaseError), alone(ServerConfig(tmp_path), database, "link", threading.Event()):
        take_over(other, "link")
        with pytest.raises(LeaseError):
            Writer(database, Standing(database)).write([], [SetAside(row)], now=NOW)


def test_nobody_takes_a_lease_from_under_a_write_that_has_begun(tmp_path, database, other):
    done = []
    with suppress(LeaseError), alone(ServerConfig(tmp_path), database, "jobs", threading.Event()):
        with database.write_telemetry() as connection:
            taker = in_thread(lambda: (take_over(other), done.append("taken")))
            wait_for_lock(database)
            connection.exec_driver_sql("SELECT 1")
            done.append("written")
        taker.join()
    assert done == ["written", "taken"]


# -- secrets


def test_a_password_comes_from_where_libpq_finds_it_and_is_in_no_message(tmp_path, monkeypatch):
    from tests.integration.ports import free_port

    port, secret = free_port(), "s3cret-of-the-database"
    server = PrivateServer(port=port, password=secret)
    try:
        url = f"postgresql://edgeops@127.0.0.1:{port}/postgres"
        file = tmp_path / "pgpass"
        file.write_text(f"127.0.0.1:{port}:*:edgeops:{secret}\n")
        file.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(file))
        with closing(Database.at(url)) as database, database.read() as connection:
            assert connection.exec_driver_sql("SELECT current_user").scalar_one() == "edgeops"
        monkeypatch.setenv("PGPASSFILE", os.devnull)
        monkeypatch.setenv("PGPASSWORD", f"wrong-{secret}")
        with closing(Database.at(url)) as database, pytest.raises(DBAPIError) as refused, database.read():
            pass
        assert is_outage(refused.value)
        assert secret not in str(refused.value)
    finally:
        server.stop()
