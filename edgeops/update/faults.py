"""Where a device may be made to die, by name: every border between persisting and acting.

Data only. `device_agent.faultpoint` does the dying, when the environment asks for it.
"""

from enum import StrEnum

from edgeops.protocol.messages import UpdateState
from edgeops.update.machine import Command

#: `<fail point>[:<n>]`: die at the n-th time (1 = the first) that the point is reached.
VARIABLE = "EDGEOPS_FAIL_POINT"


class FailPoint(StrEnum):
    """One place; the string is what the environment names."""

    #: A state is on disk, its command not begun.
    SAVED_IDLE = "saved-idle"
    SAVED_FETCHING = "saved-fetching"
    SAVED_VERIFYING = "saved-verifying"
    SAVED_STAGED = "saved-staged"
    SAVED_PROBING = "saved-probing"
    SAVED_TRIAL = "saved-trial"
    SAVED_COMMITTED = "saved-committed"
    SAVED_REJECTED = "saved-rejected"
    SAVED_FAILED = "saved-failed"
    SAVED_ROLLED_BACK = "saved-rolled-back"
    SAVED_SUPERSEDED = "saved-superseded"
    #: A command is carried out, what came of it not on disk.
    DID_FETCH = "did-fetch"
    DID_VERIFY = "did-verify"
    DID_STAGE = "did-stage"
    DID_PROBE = "did-probe"
    DID_CHECK_LISTED = "did-check-listed"
    DID_START_TRIAL = "did-start-trial"
    DID_SEND_EVIDENCE = "did-send-evidence"
    DID_COMMIT = "did-commit"
    DID_ROLL_BACK = "did-roll-back"
    DID_CLEAR = "did-clear"
    DID_REPORT = "did-report"
    DID_TAKE_NEXT = "did-take-next"
    #: A block is on disk, the map does not say so yet.
    BLOCK_WRITTEN = "block-written"
    #: A closing window and its source position are in the spool, committed.
    WINDOW_SPOOLED = "window-spooled"
    #: Records are marked as sent, none has left.
    RECORDS_TAKEN = "records-taken"


def saved(state: UpdateState) -> FailPoint:
    """The border right after `state` was persisted."""
    return FailPoint(f"saved-{state}")


def did(command: Command) -> FailPoint | None:
    """The border right after `command` was carried out; None for those that do nothing."""
    return None if command in (Command.NONE, Command.WAIT) else FailPoint(f"did-{command}")


def parse(text: str) -> tuple[FailPoint, int] | None:
    """Read the variable: the point and at which time to die there; None = it names none of ours."""
    name, _, count = text.partition(":")
    if name not in set(FailPoint) or not (count or "1").isdecimal():
        return None
    return FailPoint(name), max(1, int(count or "1"))
