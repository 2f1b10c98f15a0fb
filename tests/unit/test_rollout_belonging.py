"""Which windows count for a device of a rollout, on which side, to the millisecond."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops.protocol.messages import Phase
from edgeops.rollout.health.belonging import Belonging, Seen, of_asked, of_control

ASKED = datetime(2026, 11, 23, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def seen(opens, closes, *, digest="new", phase=Phase.LIVE):
    return Seen(digest=digest, phase=phase, opened_at=ASKED + opens * MS, closed_at=ASKED + closes * MS)


def asked(window, incumbent="old"):
    return of_asked(window, digest="new", incumbent=incumbent, asked_at=ASKED)


def control(window, incumbent="old"):
    return of_control(window, incumbent=incumbent, began_at=ASKED)


@pytest.mark.parametrize(("opens", "belongs"), [(-1, None), (0, Belonging.SINCE), (1, Belonging.SINCE)])
def test_the_new_model_counts_from_the_offer_on(opens, belongs):
    assert asked(seen(opens, 500)) is belongs


@pytest.mark.parametrize("phase", Phase)
def test_the_new_model_counts_in_trial_as_after_it(phase):
    assert asked(seen(5, 10, phase=phase)) is Belonging.SINCE


@pytest.mark.parametrize(("closes", "belongs"), [(-1, Belonging.PAST), (0, Belonging.PAST), (1, None)])
def test_the_incumbent_counts_up_to_the_offer(closes, belongs):
    assert asked(seen(-500, closes, digest="old")) is belongs


def test_another_model_and_an_incumbent_in_trial_count_for_nothing():
    assert asked(seen(-500, -5, digest="other")) is None
    assert asked(seen(-500, -5, digest="old", phase=Phase.TRIAL)) is None
    assert asked(seen(5, 10, digest="old")) is None


def test_a_device_without_a_model_has_no_past():
    assert asked(seen(-500, -5, digest="old"), incumbent=None) is None


def test_a_device_that_runs_the_new_model_already_has_it_as_past_and_since():
    assert asked(seen(-500, -5), incumbent="new") is Belonging.PAST
    assert asked(seen(5, 10), incumbent="new") is Belonging.SINCE


@pytest.mark.parametrize(
    ("opens", "closes", "belongs"),
    [(-9, -1, Belonging.PAST), (-9, 0, Belonging.PAST), (-9, 1, None), (-1, 9, None), (0, 9, Belonging.SINCE)],
)
def test_a_control_device_counts_with_its_incumbent_on_either_side_of_the_waves_begin(opens, closes, belongs):
    assert control(seen(opens, closes, digest="old")) is belongs


def test_a_control_device_counts_with_nothing_but_its_incumbent_at_work():
    assert control(seen(1, 9)) is None
    assert control(seen(1, 9, digest="old", phase=Phase.TRIAL)) is None
    assert control(seen(1, 9, digest="old"), incumbent=None) is None
