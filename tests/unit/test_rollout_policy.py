"""What a policy is where nobody says otherwise, and that it takes no word that it does not know."""

import msgspec
import pytest

from edgeops.rollout.policy import HealthPolicy, Policy


def test_a_policy_that_says_nothing_asks_once_more_and_takes_back_what_failed():
    policy = Policy()
    assert (policy.retries, policy.roll_back_on_failure) == (1, True)


@pytest.mark.parametrize("kind", [Policy, HealthPolicy])
def test_a_word_that_no_policy_has_is_refused(kind):
    with pytest.raises(msgspec.ValidationError, match="bake_tiem"):
        msgspec.json.decode(b'{"bake_tiem": 1}', type=kind)
