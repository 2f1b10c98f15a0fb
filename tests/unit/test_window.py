"""Which blocks to ask for now, and when again."""

import pytest

from edgeops import limits
from edgeops.artifact.window import Patience, Window

LEAST_S = limits.BLOCK_RETRY_AFTER.total_seconds()
MOST_S = limits.BLOCK_RETRY_AT_MOST_AFTER.total_seconds()
WINDOW = limits.BLOCK_WINDOW


def asking(missing=range(WINDOW), now_s=0.0):
    window = Window()
    window.asked(window.due(missing, now_s), now_s)
    return window


def test_the_lowest_missing_blocks_fill_the_window():
    window = Window()
    assert window.due(range(3, 40), 0.0) == list(range(3, 3 + WINDOW))
    assert window.outstanding == (), "asked for is what was sent"


def test_one_more_is_due_as_each_comes():
    window = asking()
    assert window.due(range(WINDOW), 0.1) == []
    assert window.arrived(2, 0.1)
    assert window.due([0, 1, *range(3, WINDOW + 1)], 0.1) == [WINDOW]
    assert window.outstanding == (0, 1, *range(3, WINDOW))


def test_a_block_nobody_waits_for_changes_nothing():
    window = asking()
    assert not window.arrived(WINDOW, 0.1)
    assert window.outstanding == tuple(range(WINDOW))


def test_what_is_late_is_due_again_before_what_is_new():
    window = asking(range(2))
    assert window.due(range(2), LEAST_S - 0.01) == []
    assert window.due(range(3), LEAST_S) == [0, 1, 2]


def test_late_blocks_take_no_room_twice():
    window = asking()
    late = window.due(range(2 * WINDOW), LEAST_S)
    assert late == list(range(WINDOW))
    window.asked(late, LEAST_S)
    assert window.due(range(2 * WINDOW), LEAST_S) == []


def test_nothing_is_outstanding_once_it_is_cleared():
    window = asking()
    window.clear()
    assert window.outstanding == ()
    assert window.due(range(2), 0.0) == [0, 1]


def test_patience_begins_with_the_least():
    assert Patience().seconds == LEAST_S


def test_patience_follows_what_answers_take_and_how_they_vary():
    patience = Patience()
    patience.answered(1.0)
    assert patience.seconds == pytest.approx(1.0 + 4 * 0.5)
    patience.answered(2.0)
    # RFC 6298: the deviation first, with a quarter, from what was expected before; then the mean, with an eighth.
    assert patience.seconds == pytest.approx((1.0 + 1.0 / 8) + 4 * (0.5 + (1.0 - 0.5) / 4))


def test_patience_stays_within_its_limits():
    patience = Patience()
    for _ in range(100):
        patience.answered(0.01)
    assert patience.seconds == LEAST_S
    patience = Patience()
    patience.answered(60.0)
    assert patience.seconds == MOST_S


def test_each_time_it_runs_out_it_is_twice_as_long_until_an_answer_comes():
    patience = Patience()
    seen = []
    for _ in range(4):
        seen.append(patience.seconds)
        patience.ran_out()
    assert seen == [LEAST_S, 2 * LEAST_S, 4 * LEAST_S, MOST_S]
    patience.answered(0.1)
    assert patience.seconds == LEAST_S


def test_a_window_backs_off_once_for_all_that_is_late():
    window = asking()
    window.asked(window.due(range(WINDOW), LEAST_S), LEAST_S)
    assert window.due(range(WINDOW), 3 * LEAST_S - 0.01) == []
    assert window.due(range(WINDOW), 3 * LEAST_S) == list(range(WINDOW))


def test_blocks_that_were_lost_together_back_off_once_though_they_were_asked_for_one_by_one():
    window = Window()
    for index in range(WINDOW):
        window.asked(window.due(range(index + 1), index * 0.1), index * 0.1)
    now_s, again = 0.0, {}
    while len(again) < WINDOW:
        now_s += 0.1
        late = window.due(range(WINDOW), now_s)
        again |= dict.fromkeys(late, now_s)
        window.asked(late, now_s)
    assert again[WINDOW - 1] <= 2 * LEAST_S + WINDOW * 0.1 + 0.2


def test_on_a_new_connection_all_that_is_outstanding_is_due_at_once_and_nothing_backs_off():
    window = asking()
    window.cut()
    assert window.due(range(WINDOW), 0.1) == list(range(WINDOW))
    window.asked(window.due(range(WINDOW), 0.1), 0.1)
    assert window.due(range(WINDOW), 0.1 + LEAST_S - 0.01) == []
    assert window.due(range(WINDOW), 0.1 + LEAST_S) == list(range(WINDOW))


def test_what_was_cut_off_is_no_measure():
    window = asking(range(1))
    window.cut()
    window.asked([0], 0.1)
    window.arrived(0, 1.1)
    window.asked([1], 2.0)
    assert window.due([1], 2.0 + LEAST_S) == [1]


def test_a_window_learns_from_blocks_that_were_asked_for_once():
    window = asking(range(1))
    window.arrived(0, 1.0)
    window.asked([1], 1.0)
    assert window.due([1], 1.0 + 3.0 - 0.01) == []
    assert window.due([1], 1.0 + 3.0) == [1]


def test_a_block_that_was_asked_for_twice_is_no_measure():
    window = asking(range(1))
    window.asked(window.due([0], LEAST_S), LEAST_S)
    window.arrived(0, LEAST_S + 0.001)
    window.asked([1], 0.0)
    assert window.due([1], 2 * LEAST_S - 0.01) == [], "still backed off"
    assert window.due([1], 2 * LEAST_S) == [1]


def test_new_blocks_do_not_back_off():
    window = asking(range(1))
    window.asked(window.due(range(2), 0.5), 0.5)
    assert window.due(range(2), LEAST_S) == [0]
