"""Groups of rows and lost columns: what is told of them, and a model that fails because of one."""

import numpy as np

from edgeops.learning.fragility import LostColumn, bears_a_lost_column
from edgeops.learning.scrutiny import Scrutiny
from edgeops.learning.slices import by_group, serves_every_group

NAMES = ("ann", "ben", "cyd")
#: Ann's rows are answered worse, and Cyd has few.
GROUPS = np.repeat([0, 1, 2], [100, 100, 5])
COSTS = np.concatenate([np.arange(100) % 2, np.arange(100) % 20 == 0, np.ones(5)]).astype(float)


def test_the_group_that_costs_most_comes_first_and_small_ones_are_said_to_be_so():
    slices = by_group(COSTS, GROUPS, NAMES)
    assert [(one.name, one.rows, one.cost, one.is_judged) for one in slices] == [
        ("ann", 100, 0.5, True),
        ("ben", 100, 0.05, True),
        ("cyd", 5, 1.0, False),
    ]
    assert all(one.low < one.cost < one.high for one in slices[:2])
    assert Scrutiny(slices=slices).figures() == {"worst-group": 0.5, "groups": 2.0}


def test_slices_by_several_columns_are_judged_together_and_the_columns_are_told():
    sites = (GROUPS + np.arange(len(GROUPS))) % 2
    slices = (*by_group(COSTS, GROUPS, NAMES, by="who"), *by_group(COSTS, sites, ("ghent", "lille"), by="site"))
    assert [(one.by, one.name) for one in slices if one.is_judged] == [
        ("who", "ann"), ("who", "ben"), ("site", "lille"), ("site", "ghent")
    ]  # fmt: skip
    assert "of 4 groups by who, site the worst" in serves_every_group(slices, cost=COSTS.mean(), most=None).reason
    worst = max(slices[:2] + slices[3:], key=lambda one: one.cost)
    assert Scrutiny(slices=slices[::-1]).figures() == {"worst-group": worst.cost, "groups": 4.0}


def test_rows_of_no_group_or_of_one_make_no_slices():
    assert by_group(COSTS, np.full(len(COSTS), -1), ()) == ()
    assert by_group(COSTS, np.zeros(len(COSTS), np.int64), ("all",)) == ()
    assert serves_every_group((), cost=0.1, most=0.0).passed


def test_a_model_that_serves_one_person_much_worse_fails_without_naming_them():
    slices = by_group(COSTS, GROUPS, NAMES)
    ruling = serves_every_group(slices, cost=COSTS.mean(), most=0.05)
    assert not ruling.passed
    assert "of 2 groups the worst, which the run names, costs 0.5 in 100 rows" in ruling.reason
    assert "1 of fewer than 20 rows are not judged" in ruling.reason
    assert not any(name in ruling.reason for name in NAMES)
    assert ruling.limits == {"group-loss": 0.05}


def test_a_group_is_only_told_of_where_nobody_set_a_limit_or_all_are_too_small():
    slices = by_group(COSTS, GROUPS, NAMES)
    assert serves_every_group(slices, cost=COSTS.mean(), most=None).passed
    small = serves_every_group([slices[-1]], cost=0.0, most=0.0)
    assert small.passed
    assert "no group of the evaluation set has 20 rows" in small.reason


def test_a_model_that_hangs_on_one_column_fails_and_the_column_is_named():
    columns = (
        LostColumn(column="flow", missing=0.30, stuck=0.45),
        LostColumn(column="heat", missing=None, stuck=0.01),
    )
    ruling = bears_a_lost_column(columns, most=0.2)
    assert not ruling.passed
    assert "the most fragile of 2 columns is flow: it loses 0.3 to rows without it, and loses 0.45" in ruling.reason
    assert bears_a_lost_column(columns, most=None).passed
    assert bears_a_lost_column(columns[1:], most=0.2).passed
    assert "refuses rows without it" in bears_a_lost_column(columns[1:], most=0.2).reason
    assert bears_a_lost_column((), most=0.0).passed


def test_of_numbers_a_loss_is_a_share_of_what_the_median_errs_by():
    columns = (LostColumn(column="flow", missing=None, stuck=30.0),)
    assert bears_a_lost_column(columns, scale=200.0, most=0.2).passed
    assert not bears_a_lost_column(columns, scale=100.0, most=0.2).passed
