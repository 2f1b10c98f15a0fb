"""The time floor: raised by signed statements alone, and never to the end of what was signed offline."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from edgeops.trust.floor import NEVER, raised

TODAY = datetime(2026, 11, 26, tzinfo=UTC)
ENDS = TODAY + timedelta(days=300)
MOMENTS = st.integers(0, 4_000_000_000).map(lambda at: datetime.fromtimestamp(at, UTC))


def test_a_statement_raises_the_floor_to_its_time():
    assert raised(NEVER, TODAY, ends=ENDS) == TODAY


def test_nothing_is_believed_before_something_was_verified_that_bounds_a_lie():
    assert raised(NEVER, TODAY, ends=None) == NEVER


@given(st.lists(MOMENTS), MOMENTS)
def test_it_never_falls_and_no_lie_takes_it_to_the_end(told, ends):
    floor = NEVER
    for at in told:
        before, floor = floor, raised(floor, at, ends=ends)
        assert floor >= before
        assert floor < ends or floor == NEVER


def test_before_any_statement_it_is_the_beginning_of_all_clocks():
    assert datetime(1970, 1, 1, tzinfo=UTC) == NEVER


def test_a_lie_takes_it_to_a_second_before_the_end():
    assert raised(NEVER, ENDS + timedelta(days=1), ends=ENDS) == ENDS - timedelta(seconds=1)
