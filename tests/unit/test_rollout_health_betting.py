"""Tests that may be looked at at any time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.rollout.health.betting import (
    Observed,
    Side,
    difference_of,
    evidence_above,
    evidence_below,
    is_certain,
    lower_bound,
    share_of,
    side_of,
    upper_bound,
)
from edgeops.rollout.health.zone import MOST, Zone, error_zone, loss_zone
from edgeops.rollout.policy import HealthPolicy

ZONE = Zone(0.01, 0.025, 0.05)
LOOKS = 100


def looked_at(more, less, zone, *, streams, seed, alpha=0.05):
    """How often ABOVE and BELOW are said at any of 100 looks, each 50 observations after the last."""
    random = np.random.default_rng(seed)
    said = {Side.ABOVE: 0, Side.BELOW: 0}
    for _ in range(streams):
        counts = random.multinomial(50, [more, less, 1 - more - less], size=LOOKS).cumsum(axis=0)
        sides = {
            side_of(difference_of(int(up), int(down), int(up + down + none)), zone, alpha=alpha)
            for up, down, none in counts
        }
        for side in said:
            said[side] += side in sides
    return said


def test_a_hundred_looks_at_a_healthy_stream_raise_no_more_false_alarms_than_one():
    assert looked_at(0.07, 0.06, ZONE, streams=200, seed=1)[Side.ABOVE] <= 10


def test_a_hundred_looks_at_a_bad_stream_pass_no_more_of_them_than_one():
    assert looked_at(0.10, 0.05, ZONE, streams=200, seed=2)[Side.BELOW] <= 10


def test_what_is_well_beyond_is_found_and_what_is_well_within_passes():
    assert looked_at(0.13, 0.05, ZONE, streams=50, seed=3)[Side.ABOVE] == 50
    assert looked_at(0.06, 0.06, ZONE, streams=50, seed=4)[Side.BELOW] == 50


def test_a_rare_kind_of_error_is_found_by_one_look_at_enough_of_them():
    assert side_of(difference_of(60, 20, 2_000), Zone(0.0, 0.01, 0.02), alpha=0.02) is Side.ABOVE
    assert side_of(difference_of(10, 10, 1_000), Zone(0.0, 0.01, 0.02), alpha=0.05) is Side.BELOW


def test_one_bet_pays_as_it_was_placed():
    stakes = [0.95 * 0.5**power for power in range(9)]
    won = np.mean([1 + stake * 0.75 / 0.25 for stake in stakes])
    lost = np.mean([1 - stake for stake in stakes])
    assert evidence_above(share_of(1, 1), 0.25) == pytest.approx(math.log(won))
    assert evidence_above(share_of(0, 1), 0.25) == pytest.approx(math.log(lost))
    assert evidence_below(share_of(0, 1), 0.75) == pytest.approx(math.log(won))
    assert evidence_below(share_of(1, 1), 0.75) == pytest.approx(math.log(lost))


def test_bets_multiply_whatever_their_order():
    stakes = [0.95 * 0.5**power for power in range(9)]
    capital = np.mean([(1 + stake * 1.5 / 0.5) ** 2 * (1 - stake) * (1 + stake * 0.5 / 0.5) for stake in stakes])
    outcomes = Observed(((1.0, 2), (-1.0, 1), (0.0, 1)), -1.0, 1.0)
    assert evidence_above(outcomes, -0.5) == pytest.approx(math.log(capital))


def test_nothing_is_no_evidence():
    nothing = share_of(0, 0)
    assert nothing.mean == 0.0
    assert (evidence_above(nothing, 0.3), evidence_below(nothing, 0.3)) == (0.0, 0.0)
    assert side_of(nothing, ZONE, alpha=0.05) is Side.UNKNOWN
    assert (lower_bound(nothing, 0.05), upper_bound(nothing, 0.05)) == (0.0, 1.0)


def test_a_border_at_the_end_of_the_range_is_refuted_by_one_observation_beyond_it():
    assert evidence_above(share_of(1, 100), 0.0) == math.inf
    assert evidence_above(share_of(0, 100), 0.0) == 0.0
    assert evidence_below(share_of(99, 100), 1.0) == math.inf


def test_observations_have_a_mean():
    assert share_of(3, 12).mean == 0.25
    assert share_of(3, 12).total == 12
    assert difference_of(3, 1, 10).mean == pytest.approx(0.2)
    assert difference_of(3, 1, 10).total == 10


def test_certainty_is_a_capital_of_one_by_alpha():
    assert is_certain(math.log(20), 0.05)
    assert not is_certain(math.log(19.99), 0.05)


def test_the_side_of_the_limit_decides_what_is_tested():
    wide = Zone(0.4, 0.5, 0.6)
    assert side_of(share_of(600, 1_000), wide, alpha=0.05) is Side.ABOVE
    assert side_of(share_of(400, 1_000), wide, alpha=0.05) is Side.BELOW
    assert side_of(share_of(500, 1_000), wide, alpha=0.05) is Side.BELOW
    assert side_of(share_of(501, 1_000), wide, alpha=0.05) is Side.ABOVE


def test_each_side_has_its_own_alpha():
    few, none = share_of(8, 8), share_of(0, 8)
    assert side_of(few, MOST, alpha=0.05) is Side.ABOVE
    assert side_of(none, MOST, alpha=0.05) is Side.BELOW
    assert side_of(few, MOST, alpha=1e-6, alpha_below=0.05) is Side.UNKNOWN
    assert side_of(none, MOST, alpha=1e-6, alpha_below=0.05) is Side.BELOW
    assert side_of(none, MOST, alpha=0.05, alpha_below=1e-6) is Side.UNKNOWN
    assert side_of(none, MOST, alpha=1e-6) is Side.UNKNOWN


def test_bounds_hold_what_was_observed_between_them():
    low, high = lower_bound(share_of(130, 1_000), 0.05), upper_bound(share_of(130, 1_000), 0.05)
    assert low == pytest.approx(0.0992, abs=0.002)
    assert high == pytest.approx(0.1654, abs=0.002)
    assert evidence_above(share_of(130, 1_000), low) == pytest.approx(math.log(20), abs=0.01)
    assert evidence_below(share_of(130, 1_000), high) == pytest.approx(math.log(20), abs=0.01)


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([0.01, 0.05, 0.2]))
def test_bounds_are_never_on_the_wrong_side(part, rest, alpha):
    observed = share_of(part, part + rest)
    assert 0.0 <= lower_bound(observed, alpha) <= observed.mean + 1e-9
    assert observed.mean - 1e-9 <= upper_bound(observed, alpha) <= 1.0


def test_more_of_the_same_narrows_the_bounds():
    assert lower_bound(share_of(20, 100), 0.05) < lower_bound(share_of(200, 1_000), 0.05)
    assert upper_bound(share_of(200, 1_000), 0.05) < upper_bound(share_of(20, 100), 0.05)
    assert lower_bound(share_of(200, 1_000), 0.01) < lower_bound(share_of(200, 1_000), 0.1)


def test_a_rare_share_is_bounded_from_above():
    assert upper_bound(share_of(0, 200), 0.05) == pytest.approx(0.0262, abs=0.001)


def test_a_policys_limits_lie_within_their_zones():
    policy = HealthPolicy(max_loss=0.025, max_error_rise=0.01)
    assert loss_zone(policy) == Zone(pytest.approx(0.01), 0.025, 0.05)
    assert error_zone(policy) == Zone(0.0, 0.01, 0.02)
    assert Zone(0.5, 0.5, 0.5) == MOST
