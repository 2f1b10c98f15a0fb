"""The time floor: the last word of those who could sign it, never to the end of what was signed offline."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.trust.floor import NEVER, Floor, answered, is_fallen, told, verified

TODAY = datetime(2026, 11, 26, tzinfo=UTC)
DAY = timedelta(days=1)
ENDS = TODAY + 300 * DAY
BEFORE_THE_END = ENDS - timedelta(seconds=1)
IN_2038 = datetime(2038, 1, 20, tzinfo=UTC)
KEYS = ("aa", "bb")
KNOWN = verified(Floor(), ends=ENDS, keys=KEYS, epoch=1)
MOMENTS = st.integers(0, 4_000_000_000).map(lambda at: datetime.fromtimestamp(at, UTC))
PLACES = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


def at(floor, *words):
    """Where it stands after words in order."""
    for number, word in enumerate(words, start=1):
        floor = told(floor, word, place=(1, 7, number))
    return floor.at


def test_before_any_statement_it_is_the_beginning_of_all_clocks():
    assert datetime(1970, 1, 1, tzinfo=UTC) == NEVER
    assert Floor() == Floor(at=NEVER, ends=None, keys=(), place=(0, 0, 0))


@pytest.mark.parametrize(
    ("words", "stands"),
    [
        ([], NEVER),
        ([TODAY], TODAY),
        ([TODAY, TODAY + DAY], TODAY + DAY),
        ([TODAY + DAY, TODAY], TODAY),
        ([IN_2038], BEFORE_THE_END),
        ([IN_2038, TODAY], TODAY),
        ([TODAY, NEVER], NEVER),
        ([ENDS], BEFORE_THE_END),
        ([BEFORE_THE_END], BEFORE_THE_END),
        ([ENDS - timedelta(seconds=2)], ENDS - timedelta(seconds=2)),
    ],
)
def test_the_last_word_counts_up_to_a_second_before_the_end(words, stands):
    assert at(KNOWN, *words) == stands


@pytest.mark.parametrize(
    "say", [lambda floor: told(floor, TODAY, place=(1, 7, 1)), lambda floor: answered(floor, TODAY)]
)
def test_nothing_is_believed_before_something_was_verified_that_bounds_a_lie(say):
    assert say(Floor()) == Floor()


@pytest.mark.parametrize("place", [(1, 7, 2), (1, 7, 1), (1, 6, 9), (0, 9, 9)])
def test_a_word_that_was_said_before_the_last_one_says_nothing(place):
    floor = told(KNOWN, TODAY, place=(1, 7, 2))
    assert told(floor, TODAY - DAY, place=place) == floor
    assert told(floor, TODAY + DAY, place=place) == floor


@pytest.mark.parametrize("place", [(1, 7, 3), (1, 8, 0), (2, 0, 0)])
def test_a_later_word_is_one_of_the_session_of_a_newer_one_or_of_a_newer_key(place):
    floor = told(KNOWN, TODAY, place=(1, 7, 2))
    assert told(floor, TODAY - DAY, place=place) == Floor(at=TODAY - DAY, ends=ENDS, keys=KEYS, place=place)


def test_an_answer_is_later_than_all_that_was_said_before_it_was_asked_for():
    floor = told(KNOWN, IN_2038, place=(1, 7, 2))
    assert answered(floor, TODAY) == Floor(at=TODAY, ends=ENDS, keys=KEYS, place=(1, 7, 2))


def test_an_answer_is_bounded_too():
    assert answered(KNOWN, IN_2038).at == BEFORE_THE_END


# -- what was verified


def test_what_is_verified_again_under_the_same_keys_leaves_it_where_it_is():
    floor = told(KNOWN, TODAY, place=(1, 7, 2))
    again = verified(floor, ends=ENDS + DAY, keys=("bb", "aa"), epoch=1)
    assert again == Floor(at=TODAY, ends=ENDS + DAY, keys=("bb", "aa"), place=(1, 7, 2))


@pytest.mark.parametrize("keys", [("cc",), ("aa",), ("aa", "bb", "cc")])
def test_a_root_with_other_timestamp_keys_lets_it_fall(keys):
    floor = told(KNOWN, IN_2038, place=(1, 7, 2))
    assert verified(floor, ends=ENDS, keys=keys, epoch=1) == Floor(at=NEVER, ends=ENDS, keys=keys, place=(1, 7, 2))


def test_nothing_falls_that_was_told_under_no_keys():
    assert not is_fallen((), KEYS)
    assert not is_fallen(KEYS, KEYS)
    assert is_fallen(KEYS, ())


def test_what_a_fleet_key_says_that_is_listed_no_more_does_not_raise_it_again():
    floor = verified(told(KNOWN, IN_2038, place=(1, 7, 2)), ends=ENDS, keys=("cc",), epoch=2)
    assert told(floor, IN_2038, place=(1, 2**52, 2**52)).at == NEVER
    assert told(floor, TODAY, place=(2, 0, 1)).at == TODAY


@given(st.lists(st.tuples(MOMENTS, PLACES)), MOMENTS)
def test_no_lie_takes_it_to_the_end(words, ends):
    floor = verified(Floor(), ends=ends, keys=KEYS, epoch=0)
    for moment, place in words:
        floor = told(floor, moment, place=place)
        assert floor.at < ends or floor.at == NEVER


@given(st.lists(st.tuples(MOMENTS, PLACES), min_size=1))
def test_in_whatever_order_words_come_it_stands_at_the_one_with_the_highest_place(words):
    floor = KNOWN
    heard = [(KNOWN.place, NEVER)]
    for moment, place in words:
        floor = told(floor, moment, place=place)
        if place > max(heard)[0]:
            heard.append((place, min(moment, BEFORE_THE_END)))
    assert (floor.place, floor.at) == max(heard)
