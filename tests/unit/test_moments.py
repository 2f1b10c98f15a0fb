"""Moments that come from outside: in UTC, or refused, for what cannot be read back must never be stored."""

import base64
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import StatementError

from edgeops.api.shapes import PinRequest, checked
from fleet_server.api import pages
from fleet_server.api.pages import Paging
from fleet_server.api.problems import FieldError
from fleet_server.db.tables import control, events

#: RFC 3339, and none of them a moment in UTC.
NONE_IN_UTC = ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999-00:01", "0001-01-01T00:00:00+10:00"]


def until(text):
    """What the end of a pin is read as, or what is wrong with it."""
    return checked(PinRequest, {"reason": "x", "until": text})


@pytest.mark.parametrize("text", NONE_IN_UTC)
def test_a_moment_that_utc_cannot_tell_is_refused_at_its_field(text):
    (problem,) = until(text)
    assert problem.pointer == "#/until"
    assert "a moment lies within the years 1 to 9999 of UTC" in problem.detail


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:00:00-00:59"])
def test_the_first_and_the_last_moment_of_utc_are_taken(text):
    assert until(text).until == datetime.fromisoformat(text)


def test_a_moment_is_read_in_utc():
    read = until("2027-01-01T01:30:00+02:00").until
    assert (read, read.utcoffset()) == (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), timedelta(0))


@pytest.mark.parametrize("text", NONE_IN_UTC)
def test_a_cursor_with_a_moment_that_utc_cannot_tell_is_refused(text):
    packed = msgspec.msgpack.encode(("/api/v1/incidents", (text, "incident-1")))
    paging = Paging("/api/v1/incidents", base64.urlsafe_b64encode(packed).decode().rstrip("="), 10)
    with pytest.raises(FieldError, match="not from this list"):
        paging.after(tuple[pages.Moment, str])


@pytest.mark.parametrize("text", NONE_IN_UTC)
def test_a_moment_that_could_not_be_read_back_is_not_stored(text):
    engine = create_engine("sqlite://")
    control.create_all(engine)
    row = events.insert().values(at=datetime.fromisoformat(text), kind="k", subject="s", data={})
    with engine.connect() as connection, pytest.raises(StatementError, match="out of range"):
        connection.execute(row)
    engine.dispose()
