"""Which windows count for a device of a rollout."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops.protocol.messages import Phase
from edgeops.rollout.health.belonging import Belonging, Seen, of_asked, of_control

ASKED = datetime(2026, 11, 27, 12, tzinfo=UTC)
OLD, NEW, OTHER = "old", "new", "other"


def seen(digest, phase, *, opened, closed):
    """Opened and closed so many seconds after the device was asked."""
    return Seen(digest, phase, ASKED + timedelta(seconds=opened), ASKED + timedelta(seconds=closed))


@pytest.mark.parametrize(
    ("digest", "phase", "span", "asked", "control"),
    [
        (NEW, Phase.TRIAL, (0, 5), Belonging.SINCE, None),
        (NEW, Phase.LIVE, (1, 5), Belonging.SINCE, None),
        (NEW, Phase.TRIAL, (-1, 5), None, None),
        (NEW, Phase.LIVE, (-9, -5), None, None),
        (OLD, Phase.LIVE, (-9, 0), Belonging.PAST, Belonging.PAST),
        (OLD, Phase.LIVE, (-9, 1), None, None),
        (OLD, Phase.TRIAL, (-9, -5), None, None),
        (OLD, Phase.LIVE, (0, 5), None, Belonging.SINCE),
        (OLD, Phase.TRIAL, (0, 5), None, None),
        (OTHER, Phase.LIVE, (-9, -5), None, None),
        (OTHER, Phase.LIVE, (0, 5), None, None),
    ],
)
def test_a_window_counts_by_when_it_was_open_and_by_whose_it_is(digest, phase, span, asked, control):
    window = seen(digest, phase, opened=span[0], closed=span[1])
    assert of_asked(window, digest=NEW, incumbent=OLD, asked_at=ASKED) is asked
    assert of_control(window, incumbent=OLD, began_at=ASKED) is control
