"""A nomination is answered when every record of the answer is there, in whatever order they come, and says so once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeops.protocol.messages import Command, Nominate, decode, encode
from fleet_server.db import events, nominations
from tests.stores import ON_BOTH, database_in
from tests.unit import loop_rows
from tests.unit.loop_rows import DIGEST, enrol

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    with database.write() as connection:
        enrol(connection, "cam-1", now=NOW)
    yield database
    database.close()


def ask(connection):
    return loop_rows.ask(connection, now=NOW)


def answer(connection, nomination, part, *, last=False, samples=3, detail=""):
    return nominations.answered(
        connection, nomination.id, part=part, last=last, samples=samples, detail=detail, now=NOW
    )


def told(connection, nomination):
    found = events.after(connection, 0, [events.EventKind.NOMINATION_ANSWERED], limit=10_000)
    return [one for one in found if one.data["nomination"] == nomination.id]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_last_missing_record_ends_it_whatever_the_order(database, data):
    count = data.draw(st.integers(1, 6))
    parts = data.draw(st.permutations(range(count)))
    repeated = [part for part in parts for _ in range(data.draw(st.integers(1, 2)))]
    with database.write() as connection:
        nomination = ask(connection)
        ends = [answer(connection, nomination, part, last=part == count - 1) for part in repeated]
        (event,) = told(connection, nomination)
        row = nominations.get(connection, nomination.id)
    assert ends.count(True) == 1
    assert set(repeated[: ends.index(True) + 1]) == set(range(count))
    assert event.subject == "cam-1"
    assert event.data == {"asker": "retrain-1", "nomination": nomination.id, "samples": 3 * count}
    assert (row.samples, row.answered_at) == (3 * count, NOW)


def test_an_answer_without_samples_says_why(database):
    with database.write() as connection:
        nomination = ask(connection)
        assert answer(connection, nomination, 0, last=True, samples=0, detail="the pool is empty")
        row = nominations.get(connection, nomination.id)
    assert (row.samples, row.detail) == (0, "the pool is empty")


def test_what_comes_after_the_answer_changes_nothing(database):
    with database.write() as connection:
        nomination = ask(connection)
        answer(connection, nomination, 0, last=True)
        before = nominations.get(connection, nomination.id)
        assert not answer(connection, nomination, 1, samples=99)
        assert nominations.get(connection, nomination.id) == before


def test_those_that_wait_long_enough_are_asked_for_again(database):
    with database.write() as connection:
        first, second, third = (
            loop_rows.ask(connection, "retrain-2", count=3, now=NOW + n * timedelta(seconds=1))
            for n in range(3)
        )  # fmt: skip
        answer(connection, second, 0, last=True)
        nominations.mark_repeated(connection, [third.id], NOW + timedelta(minutes=1))
        due = nominations.unanswered(connection, "retrain-2", asked_before=NOW + timedelta(seconds=30))
        assert [one.id for one in due] == [first.id]
        assert [one.id for one in nominations.unanswered(connection, "retrain-2")] == [first.id, third.id]
        every = nominations.of_asker(connection, "retrain-2")
    assert [one.id for one in every] == [first.id, second.id, third.id]
    assert {(one.deployment, one.digest) for one in every} == {("digits", DIGEST)}


def test_its_id_names_the_command(database):
    with database.write() as connection:
        nomination = ask(connection)
    request = Nominate(deployment="digits", digest=DIGEST, count=3, random_share=0.2, seed=1)
    command = Command(command=nomination.id, request=request)
    assert decode(encode(command), Command) == command
