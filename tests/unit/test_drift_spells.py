"""When a judgement of drift is news."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.drift.finding import ChannelFinding, Finding, Kind, Verdict
from edgeops.drift.movement import Movement, movement
from edgeops.drift.spells import Spell, Step, next_step

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
SOON = START + timedelta(seconds=1)
LATER = START + limits.FINDING_REFRESH_AFTER
MUCH_LATER = START + limits.FINDING_SETTLES_AFTER


def finding(verdict=Verdict.STABLE, *kinds, drifted=(), class_mix_only=False):
    channels = tuple(
        ChannelFinding(
            name=name, kind=Kind.DATA, distance=0.3, p_value=0.0, effective_rows=100.0, floor=0.08,
            drifted=name in drifted, reference_histogram=(), window_histogram=(),
        )
        for name in ("x1", "x2")
    )  # fmt: skip
    return Finding(
        verdict=verdict, kinds=kinds, reason="", channels=channels, class_mix_only=class_mix_only, rows=1, windows=1,
        rows_needed=None, estimated_accuracy=None, estimated_error=None, quality=(),
    )  # fmt: skip


def step(before, present, *, now=SOON, is_local=False):
    running = None if before is None else Spell.of(before, first_at=START, last_at=START)
    return next_step(running, present, is_local=is_local, now=now)


DRIFT = finding(Verdict.DRIFT, Kind.DATA, drifted=("x1",))


def test_the_first_judgement_of_a_fleet_is_news():
    assert step(None, finding()) is Step.BEGIN


@pytest.mark.parametrize(
    "present",
    [
        DRIFT,
        finding(Verdict.NOT_ENOUGH_EVIDENCE),
        finding(Verdict.STABLE, Kind.PERFORMANCE),
        finding(class_mix_only=True),
    ],
)
def test_another_verdict_or_kind_is_news(present):
    assert step(finding(), present) is Step.BEGIN


def test_the_same_again_is_refreshed_now_and_then():
    assert step(DRIFT, DRIFT) is Step.LEAVE
    assert step(DRIFT, DRIFT, now=LATER) is Step.REFRESH


def test_when_a_fleet_was_last_stable_is_always_written_down():
    assert step(finding(), finding()) is Step.REFRESH


def test_a_spell_names_the_channels_that_drifted():
    assert Spell.of(DRIFT, first_at=START, last_at=SOON).drifted == {"x1"}


def test_more_channels_are_the_same_story_at_first_and_another_one_later():
    more = finding(Verdict.DRIFT, Kind.DATA, drifted=("x1", "x2"))
    assert step(DRIFT, more) is Step.REFRESH
    assert step(DRIFT, more, now=MUCH_LATER) is Step.BEGIN


def test_of_one_device_only_what_differs_is_told_and_that_it_no_longer_does():
    assert step(None, finding(), is_local=True) is Step.LEAVE
    assert step(None, DRIFT, is_local=True) is Step.BEGIN
    assert step(None, finding(Verdict.STABLE, Kind.PERFORMANCE), is_local=True) is Step.BEGIN
    assert step(DRIFT, finding(), is_local=True) is Step.BEGIN
    assert step(finding(), finding(), is_local=True, now=MUCH_LATER) is Step.LEAVE


FLAT = (10,) * 32


@pytest.mark.parametrize(
    ("window", "word"),
    [
        ((0,) * 16 + (20,) * 16, Movement.HIGHER),
        ((20,) * 16 + (0,) * 16, Movement.LOWER),
        ((20,) * 8 + (0,) * 16 + (20,) * 8, Movement.WIDER),
        ((0,) * 8 + (20,) * 16 + (0,) * 8, Movement.NARROWER),
        (FLAT, Movement.NONE),
        ((0,) * 32, Movement.NONE),
    ],
)
def test_how_a_channel_moved_is_a_word(window, word):
    assert movement(FLAT, window) is word


def test_classes_come_in_another_mix_and_are_neither_higher_nor_lower():
    assert movement((10, 10, *[0] * 30), (20, 0, *[0] * 30), discrete=True) is Movement.MIX
