"""Whether an update may go on now: maintenance windows and the owner's hold, which the device alone judges.

A window is about the moment in which a device turns to another model, so fetching and staging do not wait for it;
probing (which takes the processor) and the trial do. A hold is about everything, the line included. A trial that has
begun goes on when its window closes or a hold comes: the candidate answers already, and to take it back for the time of
day would turn the model twice where the window was to have it turned once; its errors and its deadline end it as ever.
Never held up are what takes a model away: the end of a trial, the fall back to the model before, running nothing; and
getting back what this device had committed and lost.

It reads no clock and no file; see `edgeops.rollout.maintenance` for what a window is.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from edgeops import limits
from edgeops.protocol.messages import Maintenance, Reason, UpdateState
from edgeops.rollout.maintenance import is_open, opens_next, unknown_zone
from edgeops.update.events import Deferred
from edgeops.update.update import Update, committed

_BEGINS_LATER = frozenset({UpdateState.STAGED, UpdateState.PROBING})
_UNDER_LEAVE = _BEGINS_LATER | {UpdateState.FETCHING, UpdateState.VERIFYING}


class Hold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner of a device lets no update begin."""

    #: For people, from the owner; empty = none was given.
    reason: str = ""

    @property
    def words(self) -> str:
        """For the reported state; never empty."""
        given = self.reason[: limits.MAX_HOLD_REASON_LENGTH]
        return f"held by its owner: {given}" if given else "held by its owner"


def obstacle(update: Update, *, hold: Hold | None, now: datetime | None) -> Deferred | None:
    """Why an update may not go on now; None = it may.

    Args:
        update: as it stands.
        hold: the owner's; None = there is none.
        now: what time it is for certain; None = this device does not know.
    """
    wanted = update.wanted
    if wanted is None or wanted.digest is None or update.state not in _UNDER_LEAVE:
        return None
    if wanted.digest == committed(update):
        return None
    if hold is not None:
        return Deferred(Reason.HELD, f"{hold.words}; edgeops-agent release lets it go on")
    return _outside(wanted.maintenance, now) if update.state in _BEGINS_LATER else None


def _outside(windows: Sequence[Maintenance], now: datetime | None) -> Deferred | None:
    """What no window is open for; None = one is, or none was named."""
    if not windows:
        return None
    unknown = unknown_zone(windows)
    if unknown is not None:
        return Deferred(Reason.WINDOW, unknown)
    if now is None:
        return Deferred(
            Reason.WINDOW,
            "it waits for its maintenance window, and this device does not know what time it is: its clock is behind "
            "the last word of the server, which has not said the time since the agent started",
        )
    if is_open(windows, now):
        return None
    opens = opens_next(windows, now)
    return Deferred(Reason.WINDOW, f"its maintenance window opens {opens:%a %Y-%m-%d %H:%M} {opens.tzinfo}")
