"""How many disagreements are asked for, and of whom."""

import numpy as np
import pytest

from edgeops import limits
from edgeops.rollout.health.asking import asked_of, wanted_labels


@pytest.mark.parametrize(
    ("policy", "seen", "sent", "wanted"), [(40, 100, 0, 40), (40, 10, 0, 10), (40, 100, 39, 1), (40, 10, 30, 0)]
)
def test_as_many_are_wanted_as_were_seen_and_the_policy_pays_for(policy, seen, sent, wanted):
    assert wanted_labels(policy=policy, seen=seen, sent=sent) == wanted


def test_each_disagreement_has_the_same_chance_whichever_device_it_happened_on():
    random = np.random.default_rng(1)
    drawn = [asked_of({"a": 90, "b": 10, "c": 0}, 50, random) for _ in range(400)]
    assert all(sum(one.values()) == 50 and "c" not in one for one in drawn)
    assert np.mean([one.get("b", 0) for one in drawn]) == pytest.approx(5, abs=0.5)


def test_nobody_is_asked_where_nothing_is_wanted_or_nobody_disagreed():
    random = np.random.default_rng(1)
    assert asked_of({"a": 5}, 0, random) == {}
    assert asked_of({"a": 5}, -1, random) == {}
    assert asked_of({"a": 0}, 5, random) == {}
    assert asked_of({}, 5, random) == {}


def test_one_disagreement_is_asked_of_the_one_device_that_had_it():
    random = np.random.default_rng(1)
    assert asked_of({"a": 1, "b": 0}, 1, random) == {"a": 1}


def test_a_device_on_which_nothing_was_drawn_is_not_asked():
    random = np.random.default_rng(1)
    drawn = [asked_of({"a": 1, "b": 1}, 1, random) for _ in range(20)]
    assert {tuple(one.items()) for one in drawn} == {(("a", 1),), (("b", 1),)}


def test_no_device_is_asked_for_more_than_one_command_carries():
    random = np.random.default_rng(1)
    assert asked_of({"a": 9_000}, 2 * limits.MAX_NOMINEES, random) == {"a": limits.MAX_NOMINEES}
