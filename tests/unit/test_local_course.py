"""What a demo has shown, and when that is not enough."""

import pytest

from edgeops.errors import ServerError
from edgeops.local.circle import Control, StageFigures
from edgeops.local.course import Course


def stage(**values):
    """A change that was seen and healed."""
    figures = {
        "stage": 3, "rows": 100, "static": 0.6, "before": 0.7, "after": 0.98, "drift": True, "reason": "x1 has moved",
        "channels": ("x1",), "drift_at": None, "first_label_at": None, "labels": 10, "retraining": "healed",
        "version": 2, "verdict_after": "stable", "windows": 3, "telemetry_bytes": 900,
        "telemetry_bytes_per_device": 300.0, "update_bytes_per_device": 1.0, "seconds": 1.0,
    }  # fmt: skip
    return StageFigures(**{**figures, **values})


def course(*stages, alarms=0):
    return Course(control=Control(windows=6, alarms=alarms), stages=stages)


def test_changes_that_were_seen_and_healed_are_all_that_is_asked_for():
    course(stage(), stage(stage=4, verdict_after="not-enough-evidence")).require_shown()


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (course(stage(), alarms=1), "1 false alarms"),
        (course(stage(), stage(stage=4, drift=False, after=None)), "4: the change was not seen"),
        (course(stage(after=None, retraining="failed")), "3: the fleet was not healed"),
        (course(stage(verdict_after="drift")), "3: the healed fleet was found drifted on the rows held out"),
    ],
)
def test_what_is_missing_is_said(shown, words):
    with pytest.raises(ServerError, match=words):
        shown.require_shown()
