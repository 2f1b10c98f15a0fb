"""What a pin forbids."""

from datetime import timedelta

import pytest

from edgeops.rollout.pins import forbidding
from tests.unit.target_values import DIGEST, NOW, OTHER, pin

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("changes", "forbids"),
    [
        ({}, True),
        ({"deployment": "gas"}, True),
        ({"deployment": "vibration"}, False),
        ({"digest": OTHER}, True),
        ({"digest": DIGEST}, False),
        ({"until": NOW + SECOND}, True),
        ({"until": NOW}, False),
        ({"until": NOW - SECOND}, False),
        ({"deployment": "gas", "digest": DIGEST}, False),
        ({"deployment": "gas", "digest": OTHER, "until": NOW + SECOND}, True),
    ],
)
def test_what_a_pin_forbids(changes, forbids):
    assert pin(**changes).forbids("gas", DIGEST, NOW) is forbids


def test_of_several_pins_the_first_that_forbids_is_told():
    ended, other, mine = pin(until=NOW), pin(deployment="vibration"), pin(deployment="gas")
    assert forbidding([ended, other, mine], "gas", DIGEST, NOW) == mine
    assert forbidding([ended, other], "gas", DIGEST, NOW) is None
    assert forbidding([], "gas", DIGEST, NOW) is None


def test_a_pin_says_to_what_by_whom_why_and_until_when():
    assert str(pin()) == "pinned to what it runs by ada: it measures for the audit"
    text = str(pin(digest=DIGEST, until=NOW, reason=""))
    assert text == "pinned to sha256:111111111111 by ada until 2026-11-27 12:00 UTC"
