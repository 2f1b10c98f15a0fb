"""Figures of answers, and whether two models differ by more than luck."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.learning.classification import REFUSED, Answers, Paired, compare, fisher_p, loss_bound, mcnemar_p


def answers(right, rows, *, classes=2):
    """`right` of `rows` right answers, the rest wrong; classes alternate."""
    truths = np.arange(rows) % classes
    given = np.where(np.arange(rows) < right, truths, (truths + 1) % classes)
    return Answers(truths=truths, answers=given, classes=classes)


def from_confusion(*rows):
    pairs = [
        (truth, answer if answer < len(rows) else REFUSED)
        for truth, row in enumerate(rows)
        for answer, count in enumerate(row)
        for _ in range(count)
    ]
    truths, given = np.array(pairs).T
    return Answers(truths=truths, answers=given, classes=len(rows))


def test_figures_are_those_of_the_confusion():
    one = from_confusion((8, 2, 0), (1, 4, 5))
    assert one.confusion.tolist() == [[8, 2, 0], [1, 4, 5]]
    assert one.accuracy == pytest.approx(12 / 20)
    assert one.majority == pytest.approx(0.5)
    assert one.recall.tolist() == pytest.approx([0.8, 0.4])
    assert one.precision.tolist() == pytest.approx([8 / 9, 4 / 6])
    assert one.f1[0] == pytest.approx(2 * 0.8 * (8 / 9) / (0.8 + 8 / 9))
    assert one.figures(("a", "b"))["recall.b"] == pytest.approx(0.4)


def test_the_balanced_accuracy_counts_each_class_that_occurs_alike():
    assert from_confusion((90, 0, 0), (8, 2, 0)).balanced_accuracy == pytest.approx(0.6)
    one_class_only = Answers(truths=np.zeros(4, np.int64), answers=np.array([0, 0, 0, 1]), classes=2)
    assert one_class_only.figures(("a", "b"))["balanced-accuracy"] == pytest.approx(0.75)


def test_a_refused_row_counts_as_wrong():
    assert from_confusion((5, 0, 5), (0, 10, 0)).accuracy == pytest.approx(0.75)


def test_a_class_that_was_never_answered_has_precision_zero_and_not_nothing():
    assert from_confusion((0, 5, 0), (0, 5, 0)).precision.tolist() == pytest.approx([0.0, 0.5])


def test_rows_are_compared_one_by_one():
    old, new = answers(8, 10), answers(9, 10)
    assert compare(old, new) == Paired(rows=10, lost=0, won=1)
    assert compare(new, old).loss == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    [(0, 0, 1.0), (5, 0, 1 / 32), (0, 5, 1.0), (8, 2, 56 / 1024), (10, 10, 0.588), (120, 80, 0.0028)],
)
def test_the_chance_of_losing_so_many_rows_is_the_binomial_one(lost, won, p):
    assert mcnemar_p(lost, won) == pytest.approx(p, rel=2e-2)


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_chance_is_a_chance_and_the_two_sides_add_up(lost, won):
    one, other = mcnemar_p(lost, won), mcnemar_p(won, lost)
    assert 0 <= one <= 1
    tie = math.comb(lost + won, lost) / 2 ** (lost + won)
    assert one + other == pytest.approx(1 + tie, abs=1e-9)


def test_the_tea_lady_has_fishers_own_p():
    """Fisher 1935: all four of four guessed, by luck one time in seventy."""
    assert fisher_p(answers(0, 4), answers(4, 4)) == pytest.approx(1 / 70)
    assert fisher_p(answers(4, 4), answers(0, 4)) == pytest.approx(1.0)
    assert fisher_p(answers(3, 4), answers(3, 4)) > 0.5


def test_nothing_is_proven_by_no_rows():
    assert fisher_p(answers(0, 0), answers(3, 4)) == pytest.approx(1.0)
    assert mcnemar_p(0, 0) == 1.0


def test_what_may_be_lost_shrinks_with_rows():
    bounds = [loss_bound(Paired(rows=rows, lost=0, won=0)) for rows in (50, 338, 5_000)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[1] == pytest.approx(0.0048, abs=2e-4)
    assert loss_bound(Paired(rows=1_000, lost=30, won=10)) == pytest.approx(0.030, abs=2e-3)


def test_the_bound_holds_nineteen_times_in_twenty():
    random = np.random.default_rng(0)
    lost, won = 0.02, 0.01
    drawn = random.multinomial(338, [lost, won, 1 - lost - won], size=4_000)
    held = [loss_bound(Paired(rows=338, lost=a, won=b)) >= lost - won for a, b, _ in drawn.tolist()]
    assert 0.93 <= np.mean(held) <= 0.99
