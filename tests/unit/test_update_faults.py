"""What the environment may ask to befall the agent, and what it cannot."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops.update.faults import CLOCKS, VARIABLE, Arming, FailPoint, Fault, did, parse
from edgeops.update.machine import Command


@pytest.mark.parametrize(
    ("text", "arming"),
    [
        ("saved-trial", Arming(FailPoint.SAVED_TRIAL, 1, Fault.KILL)),
        ("saved-trial:3", Arming(FailPoint.SAVED_TRIAL, 3, Fault.KILL)),
        ("did-probe:stop", Arming(FailPoint.DID_PROBE, 1, Fault.STOP)),
        ("did-probe:2:error", Arming(FailPoint.DID_PROBE, 2, Fault.ERROR)),
        ("did-probe:hang", Arming(FailPoint.DID_PROBE, 1, Fault.HANG)),
        ("saved-trial:1970", Arming(FailPoint.SAVED_TRIAL, 1, Fault.CLOCK_1970)),
        ("saved-trial:7:2038", Arming(FailPoint.SAVED_TRIAL, 7, Fault.CLOCK_2038)),
        ("block-written:kill", Arming(FailPoint.BLOCK_WRITTEN, 1, Fault.KILL)),
        ("window-spooled", Arming(FailPoint.WINDOW_SPOOLED, 1, Fault.KILL)),
        ("records-taken:0", Arming(FailPoint.RECORDS_TAKEN, 1, Fault.KILL)),
    ],
)
def test_a_point_a_time_and_a_fault(text, arming):
    assert parse(text) == arming


@pytest.mark.parametrize("text", ["", "nowhere", "saved-trial:x", "saved-trial:1:explode", "saved-trial:stop:1", ":1"])
def test_what_names_nothing_arms_nothing(text):
    assert parse(text) is None


def test_a_command_that_does_nothing_has_no_border_behind_it():
    assert did(Command.COMMIT) is FailPoint.DID_COMMIT
    assert did(Command.NONE) is did(Command.WAIT) is None


def test_clocks_jump_to_where_a_lost_one_begins_and_to_where_32_bits_end():
    assert set(CLOCKS) == {Fault.CLOCK_1970, Fault.CLOCK_2038}
    assert timedelta(0) < CLOCKS[Fault.CLOCK_1970] - datetime(1970, 1, 1, tzinfo=UTC) < timedelta(minutes=2)
    assert timedelta(0) < CLOCKS[Fault.CLOCK_2038] - datetime.fromtimestamp(2**31, UTC) < timedelta(days=1)


def test_the_variable_is_the_one_that_the_docs_name():
    assert VARIABLE == "EDGEOPS_FAIL_POINT"
