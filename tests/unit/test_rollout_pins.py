"""What a pin forbids."""

from datetime import timedelta

import pytest

from edgeops.rollout.pins import changed, forbidding
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


@pytest.mark.parametrize(
    ("changes", "keeps"),
    [
        ({}, True),
        ({"digest": DIGEST}, True),
        ({"digest": OTHER}, False),
        ({"deployment": "gas"}, True),
        ({"deployment": "vibration"}, False),
        ({"until": NOW + SECOND}, True),
        ({"until": NOW}, False),
    ],
)
def test_what_a_pin_keeps_where_it_is(changes, keeps):
    assert pin(**changes).keeps("gas", DIGEST, NOW) is keeps


def test_a_pin_says_that_it_brings_no_model():
    assert pin().leaves(OTHER) == pin(digest=DIGEST).leaves(DIGEST) == ""
    words = "it runs sha256:222222222222, and a pin brings no model: begin a rollout of it"
    assert pin(digest=DIGEST).leaves(OTHER) == words
    assert pin(digest=DIGEST).leaves(None).startswith("it runs no model, and")


def test_of_several_pins_the_first_that_forbids_is_told():
    ended, other, mine = pin(until=NOW), pin(deployment="vibration"), pin(deployment="gas")
    assert forbidding([ended, other, mine], "gas", DIGEST, NOW) == mine
    assert forbidding([ended, other], "gas", DIGEST, NOW) is None
    assert forbidding([], "gas", DIGEST, NOW) is None


def test_a_pin_says_to_what_by_whom_why_and_until_when():
    assert str(pin()) == "pinned to what it runs by ada: it measures for the audit"
    text = str(pin(digest=DIGEST, until=NOW, reason=""))
    assert text == "pinned to sha256:111111111111 by ada until 2026-11-27 12:00 UTC"


def test_pins_of_a_device_that_are_to_be_others_are_others_and_the_rest_stays():
    whole, gas, water = pin(), pin(deployment="gas"), pin(deployment="water")
    assert changed([whole, gas], {}) == (whole, gas)
    assert changed([gas], {"gas": None, "oil": None}) == ()
    other = pin(deployment="gas", digest=OTHER)
    assert changed([gas, water], {"gas": other}) == (other, water)
    assert changed([water], {"gas": gas, None: whole}) == (whole, gas, water)
    assert changed([whole, gas], {None: None}) == (gas,)
    second = pin(deployment="2nd")
    assert changed([second, whole], {}) == (whole, second), "digits come before letters"
