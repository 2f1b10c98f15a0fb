"""What the environment may ask to befall the agent, and what it cannot."""

import pytest

from edgeops.update.faults import Arming, FailPoint, Fault, parse


@pytest.mark.parametrize(
    ("text", "arming"),
    [
        ("saved-trial", Arming(FailPoint.SAVED_TRIAL, 1, Fault.KILL)),
        ("saved-trial:3", Arming(FailPoint.SAVED_TRIAL, 3, Fault.KILL)),
        ("did-probe:stop", Arming(FailPoint.DID_PROBE, 1, Fault.STOP)),
        ("did-probe:2:error", Arming(FailPoint.DID_PROBE, 2, Fault.ERROR)),
    ],
)
def test_a_point_a_time_and_a_fault(text, arming):
    assert parse(text) == arming


@pytest.mark.parametrize("text", ["", "nowhere", "saved-trial:x", "saved-trial:1:explode", "saved-trial:stop:1", ":1"])
def test_what_names_nothing_arms_nothing(text):
    assert parse(text) is None
