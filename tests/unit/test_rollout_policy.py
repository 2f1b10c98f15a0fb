"""What a policy is where nobody says otherwise, and that it takes no word that it does not know."""

import msgspec
import pytest

from edgeops.rollout.maintenance import parse_window
from edgeops.rollout.policy import HealthPolicy, Policy, of_undo


def test_a_policy_that_says_nothing_asks_once_more_and_takes_back_what_failed():
    policy = Policy()
    assert (policy.retries, policy.roll_back_on_failure) == (1, True)


def test_an_undo_demands_as_much_proof_and_none_by_what_it_replaces():
    before = Policy(min_success=0.9, retries=3, shadow_share=0.5, health=HealthPolicy(min_rows=500, labels=60))
    health = {
        "min_rows": 500,
        "labels": 0,
        "max_error_rise": 0.5,
        "max_latency_ratio": 1_000,
        "max_memory_ratio": 1_000,
    }
    assert of_undo(before) == Policy(
        min_success=0.9,
        retries=3,
        shadow_share=0,
        control_share=0,
        roll_back_on_failure=False,
        health=HealthPolicy(**health),
    )


def test_an_undo_waits_for_no_window_and_keeps_the_pace():
    window = parse_window("sat 02:00-04:00 UTC")
    after = of_undo(Policy(maintenance=(window,), max_in_flight=3, rate_per_minute=2))
    assert (after.maintenance, after.max_in_flight, after.rate_per_minute) == ((), 3, 2)


@pytest.mark.parametrize("kind", [Policy, HealthPolicy])
def test_a_word_that_no_policy_has_is_refused(kind):
    with pytest.raises(msgspec.ValidationError, match="bake_tiem"):
        msgspec.json.decode(b'{"bake_tiem": 1}', type=kind)
