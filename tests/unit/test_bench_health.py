"""The bench rows of the health gate: what is made is what is promised, and every row computes."""

import numpy as np
import pytest

from bench import health_canaries, health_events
from bench._canaries import FAULTS, GOOD, Canary
from bench.health_canaries import PASSED, STOPPED, judge

FIELDS = {"name", "value", "unit", "baseline", "bar", "holds", "inside"}
ROWS = 3_000


def canary(kind, *, lost, won):
    """Two classifiers of three classes, the old one always right but on `won` of the rows."""
    truths = np.arange(ROWS) % 3
    old, new = truths.copy(), truths.copy()
    old[: int(won * ROWS)] = (truths[: int(won * ROWS)] + 1) % 3
    new[int(won * ROWS) : int((won + lost) * ROWS)] = 2 - truths[int(won * ROWS) : int((won + lost) * ROWS)]
    sure = np.full(ROWS, 0.9)
    return Canary("made up", kind, truths, old, new, sure, sure, old_stated=0.9, new_stated=0.9)


def test_a_canary_that_loses_much_is_stopped_and_one_that_wins_as_much_as_it_loses_passes():
    bad, good = judge(canary(FAULTS[0], lost=0.25, won=0.02), 2), judge(canary(GOOD, lost=0.06, won=0.06), 2)
    assert {one.verdict for one in bad} == {STOPPED}
    assert {one.verdict for one in good} == {PASSED}
    assert all(0 < one.labels <= 120 and one.pairs <= 2_000 for one in (*bad, *good))


def test_orders_are_seeded():
    one = canary(GOOD, lost=0.06, won=0.06)
    assert judge(one, 2) == judge(one, 2)


def test_the_row_of_events_computes():
    row = health_events.measure(streams=3)
    assert set(row) == FIELDS
    assert row["value"] == 0.0


@pytest.mark.data
def test_the_row_of_canaries_computes():
    pytest.importorskip("sklearn")
    row = health_canaries.measure(number=4, orders=1)
    assert set(row) == FIELDS
    assert row["value"] >= 50
