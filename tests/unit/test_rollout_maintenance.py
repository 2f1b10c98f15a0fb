"""When a device may turn to another model: windows by the wall clock of a zone, also on the days clocks are set."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops.errors import InputError
from edgeops.protocol.messages import Maintenance
from edgeops.rollout.maintenance import is_open, opens_next, parse_window, unknown_zone, words

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def weekly(*texts):
    return tuple(map(parse_window, texts))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "days", "opens", "closes", "zone"),
    [
        ("sat,sun 22:00-05:00 Europe/Berlin", (5, 6), 1320, 300, "Europe/Berlin"),
        ("  mon-fri 9:30 - 17:45 America/New_York ", (0, 1, 2, 3, 4), 570, 1065, "America/New_York"),
        ("fri-mon,mon 00:00-24:00 UTC", (0, 4, 5, 6), 0, 0, "UTC"),
        ("daily 00:05-23:59 Asia/Kolkata", (0, 1, 2, 3, 4, 5, 6), 5, 1439, "Asia/Kolkata"),
        ("tue 24:00-01:00 UTC", (1,), 0, 60, "UTC"),
    ],
)
def test_a_window_is_read_as_people_write_it(text, days, opens, closes, zone):
    assert parse_window(text) == Maintenance(zone=zone, days=days, opens=opens, closes=closes)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not a maintenance window"),
        ("sat 22:00 Europe/Berlin", "not a maintenance window"),
        ("sat 22:00-05:00", "not a maintenance window"),
        ("sat 22:00-05:00 Europe/Berlin and more", "not a maintenance window"),
        ("someday 22:00-05:00 UTC", "no such day: 'someday'"),
        ("sat-someday 22:00-05:00 UTC", "no such day: 'sat-someday'"),
        ("sat, 22:00-05:00 UTC", "no such day: ''"),
        ("sat- 22:00-05:00 UTC", "no such day: 'sat-'"),
        ("sat 24:01-05:00 UTC", "no such time: 24:01"),
        ("sat 22:60-05:00 UTC", "no such time: 22:60"),
        ("sat 22:00-25:00 UTC", "no such time: 25:00"),
        ("sat 22:00-05:00 Europe/Atlantis", "no data of the time zone 'Europe/Atlantis'"),
        ("sat 22:00-05:00 ../../etc/passwd", "no data of the time zone"),
    ],
)
def test_what_is_no_window_is_refused_with_how_to_write_one(text, word):
    with pytest.raises(InputError) as refused:
        parse_window(text)
    assert word in str(refused.value)
    form = "; write it as sat,sun 22:00-05:00 Europe/Berlin (days: mon to sun, mon-fri, or daily)"
    assert str(refused.value).endswith(form)


@pytest.mark.parametrize(
    "text",
    [
        "sat,sun 22:00-05:00 Europe/Berlin",
        "daily 00:00-00:00 UTC",
        "mon 09:05-10:50 America/New_York",
        "tue,wed,thu,fri 01:00-02:00 UTC",
    ],
)
def test_a_window_is_said_as_it_was_written(text):
    assert words(parse_window(text)) == text


def test_without_windows_every_time_is_good():
    assert is_open((), at("2026-11-27T12:00:00+00:00"))


@pytest.mark.parametrize(
    ("now", "open_now"),
    [
        # Saturday, 28 November 2026, 10:00 to 12:00 in Berlin is 09:00 to 11:00 UTC.
        ("2026-11-28T08:59:59+00:00", False),
        ("2026-11-28T09:00:00+00:00", True),
        ("2026-11-28T10:59:59+00:00", True),
        ("2026-11-28T11:00:00+00:00", False),
        ("2026-11-27T10:00:00+00:00", False),
        ("2026-11-29T10:00:00+00:00", False),
    ],
)
def test_a_window_within_a_day_is_open_from_its_first_moment_to_before_its_last(now, open_now):
    assert is_open(weekly("sat 10:00-12:00 Europe/Berlin"), at(now)) is open_now


@pytest.mark.parametrize(
    ("now", "open_now"),
    [
        ("2026-11-28T20:59:59+00:00", False),
        ("2026-11-28T21:00:00+00:00", True),
        ("2026-11-29T03:59:59+00:00", True),
        ("2026-11-29T04:00:00+00:00", False),
        # The night to Saturday belongs to Friday.
        ("2026-11-28T03:00:00+00:00", False),
        ("2026-11-29T21:00:00+00:00", False),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens(now, open_now):
    assert is_open(weekly("sat 22:00-05:00 Europe/Berlin"), at(now)) is open_now


def test_a_window_that_ends_where_it_begins_lasts_a_day():
    windows = weekly("wed 06:00-06:00 UTC")
    opens = at("2026-11-25T06:00:00+00:00")
    assert [is_open(windows, opens + shift) for shift in (-SECOND, SECOND * 0, timedelta(days=1, seconds=-1))] == [
        False,
        True,
        True,
    ]
    assert not is_open(windows, opens + timedelta(days=1))


def test_one_open_window_of_several_is_enough():
    windows = weekly("mon 00:00-01:00 UTC", "fri 12:00-13:00 UTC")
    assert is_open(windows, at("2026-11-27T12:30:00+00:00"))
    assert not is_open(windows, at("2026-11-27T13:30:00+00:00"))


def test_the_zone_decides_what_day_it_is():
    # Sunday 23:30 UTC is Monday 08:30 in Tokyo.
    windows = weekly("mon 08:00-09:00 Asia/Tokyo")
    assert is_open(windows, at("2026-11-29T23:30:00+00:00"))
    assert not is_open(windows, at("2026-11-30T08:30:00+00:00"))


def test_summer_and_winter_have_their_own_offset():
    windows = weekly("daily 12:00-13:00 Europe/Berlin")
    assert is_open(windows, at("2026-07-01T10:30:00+00:00"))
    assert not is_open(windows, at("2026-07-01T11:30:00+00:00"))
    assert is_open(windows, at("2026-12-01T11:30:00+00:00"))


# In Berlin 02:00 to 03:00 does not exist on 29 March 2026, and comes twice on 25 October.


@pytest.mark.parametrize(
    ("text", "opens", "closes"),
    [
        # Over the jump: an hour less.
        ("sun 01:00-04:00 Europe/Berlin", "2026-03-29T00:00:00+00:00", "2026-03-29T02:00:00+00:00"),
        # A border in the hour that does not exist is the moment of the jump.
        ("sun 02:30-04:00 Europe/Berlin", "2026-03-29T01:00:00+00:00", "2026-03-29T02:00:00+00:00"),
        ("sun 02:31-04:00 Europe/Berlin", "2026-03-29T01:00:00+00:00", "2026-03-29T02:00:00+00:00"),
        ("sun 01:30-02:30 Europe/Berlin", "2026-03-29T00:30:00+00:00", "2026-03-29T01:00:00+00:00"),
        # Over the hour that comes twice: an hour more.
        ("sun 01:00-04:00 Europe/Berlin", "2026-10-24T23:00:00+00:00", "2026-10-25T03:00:00+00:00"),
        # A border in it is the first of the two.
        ("sun 02:30-04:00 Europe/Berlin", "2026-10-25T00:30:00+00:00", "2026-10-25T03:00:00+00:00"),
        ("sun 01:30-02:30 Europe/Berlin", "2026-10-24T23:30:00+00:00", "2026-10-25T00:30:00+00:00"),
    ],
)
def test_on_the_days_clocks_are_set_a_window_is_open_once_and_by_the_wall_clock(text, opens, closes):
    windows = weekly(text)
    first, last = at(opens), at(closes)
    begin = first - timedelta(hours=6)
    seen = [begin + MINUTE * number for number in range(900) if is_open(windows, begin + MINUTE * number)]
    assert (seen[0], seen[-1] + MINUTE) == (first, last)
    assert len(seen) == (last - first) // MINUTE


def test_a_window_inside_the_hour_that_does_not_exist_comes_a_week_later():
    windows = weekly("sun 02:10-02:50 Europe/Berlin")
    day = at("2026-03-29T00:00:00+00:00")
    assert not any(is_open(windows, day + MINUTE * number) for number in range(240))
    assert opens_next(windows, day) == at("2026-04-05T02:10:00+02:00")


def test_a_day_that_a_zone_leaves_out_has_no_window():
    # Samoa went from 29 to 31 December 2011.
    windows = weekly("fri 10:00-12:00 Pacific/Apia")
    assert opens_next(windows, at("2011-12-29T12:00:00-10:00")) == at("2012-01-06T10:00:00+14:00")


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-27T12:00:00+00:00", "2026-11-28T22:00:00+01:00"),
        ("2026-11-28T20:59:59+00:00", "2026-11-28T22:00:00+01:00"),
        # One that opens now has not still to open.
        ("2026-11-28T21:00:00+00:00", "2026-12-05T22:00:00+01:00"),
        ("2026-11-29T12:00:00+00:00", "2026-12-05T22:00:00+01:00"),
    ],
)
def test_the_next_opening_is_told_in_the_windows_own_zone(now, opens):
    told = opens_next(weekly("sat 22:00-05:00 Europe/Berlin"), at(now))
    assert told.isoformat() == opens


def test_of_several_windows_the_first_to_open_is_told():
    windows = weekly("mon 06:00-07:00 UTC", "sun 08:00-09:00 America/New_York", "tue 01:00-02:00 UTC")
    assert opens_next(windows, at("2026-11-29T10:00:00+00:00")).isoformat() == "2026-11-29T08:00:00-05:00"
    assert opens_next(windows, at("2026-11-29T13:00:00+00:00")).isoformat() == "2026-11-30T06:00:00+00:00"


def test_a_zone_without_data_is_named_with_what_to_install():
    known = parse_window("sat 22:00-05:00 UTC")
    assert unknown_zone(()) is None
    assert unknown_zone((known,)) is None
    strange = Maintenance(zone="Mars/Olympus", days=(0,), opens=0, closes=60)
    told = unknown_zone((known, strange))
    assert told is not None
    assert "'Mars/Olympus'" in told
    assert "tzdata" in told


def test_the_next_opening_is_the_first_moment_that_is_open():
    windows = weekly("mon-fri 22:15-22:20 Europe/Berlin", "sun 02:30-03:30 Europe/Berlin")
    now = datetime(2026, 3, 27, 23, tzinfo=UTC)
    opens = opens_next(windows, now)
    assert not is_open(windows, opens - SECOND)
    assert is_open(windows, opens)
