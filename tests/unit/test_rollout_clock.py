"""The service clock: it runs while devices can be heard, and never back."""

from datetime import UTC, datetime, timedelta

from edgeops import limits
from edgeops.rollout.clock import ServiceClock, is_missed, looked, started

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MISSED, GRACE = limits.HEARTBEAT_MISSED, limits.GRACE_AFTER_OUTAGE
RUNS = ServiceClock(NOW, NOW)


def test_it_runs_while_the_link_says_that_it_hears():
    clock = looked(RUNS, NOW + 10 * SECOND, beat_at=NOW + 8 * SECOND)
    assert clock == ServiceClock(NOW + 10 * SECOND, NOW + 10 * SECOND)
    assert clock.at(NOW + 15 * SECOND) == NOW + 15 * SECOND


def test_before_anybody_was_heard_it_stands_and_then_runs_at_once():
    clock = looked(started(NOW), NOW + 5 * SECOND, beat_at=None)
    assert clock.at(NOW + 9 * SECOND) == NOW
    clock = looked(clock, NOW + 6 * SECOND, beat_at=NOW + 6 * SECOND)
    assert clock.at(NOW + 7 * SECOND) == NOW + SECOND


def test_a_heartbeat_that_is_missed_stops_it():
    on_time = looked(RUNS, NOW + MISSED, beat_at=NOW)
    assert on_time.stands_until is None
    late = looked(on_time, NOW + MISSED + SECOND, beat_at=NOW)
    assert late.stands_until == NOW + MISSED + SECOND + GRACE
    assert late.at(NOW + timedelta(hours=3)) == NOW + MISSED + SECOND


def test_it_stands_for_a_grace_after_the_link_is_back():
    clock = looked(RUNS, NOW + MISSED + SECOND, beat_at=NOW)
    back = NOW + timedelta(hours=1)
    shows = clock.shows
    for seconds in range(0, int(GRACE.total_seconds()), 10):
        clock = looked(clock, back + seconds * SECOND, beat_at=back + seconds * SECOND)
        assert clock.shows == shows
    clock = looked(clock, back + GRACE, beat_at=back + GRACE)
    assert clock.stands_until is None
    assert clock.at(back + GRACE + SECOND) == shows + SECOND


def test_an_engine_that_was_away_counts_no_more_than_a_missed_heartbeat():
    later = NOW + timedelta(hours=1)
    clock = looked(RUNS, later, beat_at=later)
    assert clock == ServiceClock(NOW + MISSED, later, later + GRACE)


def test_a_clock_that_is_put_back_takes_nothing_back():
    clock = looked(RUNS, NOW - timedelta(hours=1), beat_at=NOW)
    assert clock.shows == NOW
    assert RUNS.at(NOW - timedelta(hours=1)) == NOW


def test_a_heartbeat_is_missed_that_is_too_long_ago_or_too_far_ahead():
    assert not is_missed(NOW, NOW + MISSED)
    assert not is_missed(NOW, NOW - MISSED)
    assert is_missed(NOW, NOW + MISSED + SECOND)
    assert is_missed(NOW, NOW - MISSED - SECOND)
