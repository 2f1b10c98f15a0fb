"""Which telemetry windows count for a device of a rollout: those since it was asked, those of its past, or neither.

Windows come late and out of order, and a backlog from before an offer may arrive long after it. So the moment a window
was open decides, not the moment it came; one that was open when the device was asked belongs to neither side.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from edgeops.protocol.messages import Phase


class Belonging(StrEnum):
    """To which of a device's sums a window belongs."""

    #: Of the new model, after the device was asked; of a control device, of what it runs, since the wave began.
    SINCE = "since"
    #: Of what it ran before, before that moment.
    PAST = "past"


@dataclass(frozen=True, slots=True)
class Seen:
    """A window as far as belonging goes."""

    digest: str
    phase: Phase
    opened_at: datetime
    closed_at: datetime


def of_asked(window: Seen, *, digest: str, incumbent: str | None, asked_at: datetime) -> Belonging | None:
    """Of a device that was asked to run `digest` and ran `incumbent`; None = the window does not count."""
    if window.digest == digest and window.opened_at >= asked_at:
        return Belonging.SINCE
    return _past(window, incumbent, asked_at)


def of_control(window: Seen, *, incumbent: str | None, began_at: datetime) -> Belonging | None:
    """Of a device that is held back while a wave shows itself that began then."""
    if window.digest == incumbent and window.phase is Phase.LIVE and window.opened_at >= began_at:
        return Belonging.SINCE
    return _past(window, incumbent, began_at)


def _past(window: Seen, incumbent: str | None, moment: datetime) -> Belonging | None:
    """What a model answered in trial is not what the fleet relied on."""
    was_running = window.digest == incumbent and window.phase is Phase.LIVE
    return Belonging.PAST if was_running and window.closed_at <= moment else None
