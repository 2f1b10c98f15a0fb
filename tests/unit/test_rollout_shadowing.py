"""What devices are told to show of themselves, how long and how often."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops.rollout.policy import Policy
from edgeops.rollout.shadowing import is_to_be_renewed, of_asked, of_control, owed_since
from edgeops.rollout.waves import control_positions

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = Policy(bake=timedelta(minutes=10), evidence_timeout=timedelta(minutes=30), shadow_share=0.3, shadow_cpu=0.2)


def test_a_device_that_is_asked_shadows_for_the_bake_and_as_long_as_evidence_is_waited_for():
    told = of_asked(POLICY)
    assert (told.share, told.cpu, told.for_ms, told.window_ms) == (0.3, 0.2, 40 * 60_000, 30_000)


def test_a_control_device_has_no_shadow_and_windows_as_short():
    told = of_control(POLICY)
    assert (told.share, told.cpu, told.for_ms, told.window_ms) == (0.0, 0.0, 40 * 60_000, 30_000)


@pytest.mark.parametrize(
    ("bake", "window_ms"),
    [
        (timedelta(0), 1_000),
        (timedelta(seconds=20), 1_000),
        (timedelta(seconds=22), 1_100),
        (timedelta(minutes=20), 60_000),
        (timedelta(days=1), 60_000),
    ],
)
def test_a_bake_has_twenty_windows_of_a_second_to_a_minute(bake, window_ms):
    assert of_asked(Policy(bake=bake)).window_ms == window_ms
    assert of_control(Policy(bake=bake)).window_ms == window_ms


@pytest.mark.parametrize(
    ("bake", "before"),
    [
        (timedelta(seconds=4), timedelta(seconds=2)),
        (timedelta(seconds=12), timedelta(seconds=3)),
        (timedelta(minutes=8), timedelta(minutes=2)),
        (timedelta(days=1), timedelta(hours=6)),
    ],
)
def test_a_device_shows_itself_in_the_last_quarter_of_a_bake_or_in_two_windows(bake, before):
    assert owed_since(Policy(bake=bake), NOW) == NOW - before


def test_where_nothing_is_waited_for_devices_are_not_told_again_and_again():
    policy = Policy(bake=timedelta(0), evidence_timeout=timedelta(0))
    for told in (of_asked(policy), of_control(policy)):
        assert told.for_ms == 10 * 60_000
        assert not is_to_be_renewed(told, NOW, NOW + timedelta(minutes=7))


def test_it_is_told_again_when_three_quarters_of_its_time_are_over():
    told = of_asked(POLICY)
    assert not is_to_be_renewed(told, NOW, NOW + timedelta(minutes=30) - timedelta(milliseconds=1))
    assert is_to_be_renewed(told, NOW, NOW + timedelta(minutes=30))


@pytest.mark.parametrize(
    ("controls", "present", "held_back"),
    [
        ((False, False, True), 0, (2,)),
        ((False, False, True), 1, (2,)),
        ((False, False, True), 2, ()),
        ((False, False, False), 0, (1, 2)),
        ((False, False, False), 1, (2,)),
        ((False,), 0, ()),
    ],
)
def test_the_control_share_is_held_back_else_whoever_was_not_asked(controls, present, held_back):
    assert control_positions(controls, present) == held_back
