"""Where a device may be made to die or to stand still, by name: every border between persisting and acting.

Data only. `device_agent.faultpoint` does it, when the environment asks for it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from edgeops.protocol.messages import UpdateState
from edgeops.update.machine import Command

#: `<fail point>[:<n>][:<fault>]`: what happens at the n-th time (1 = the first) that the point is reached.
VARIABLE = "EDGEOPS_FAIL_POINT"
_TIME = re.compile("[0-9]{1,9}")


class Fault(StrEnum):
    """What happens there."""

    #: The process is gone, as in a power cut (SIGKILL).
    KILL = "kill"
    #: It stands still until somebody lets it go on (SIGSTOP): time for a change of the world, or for a kill.
    STOP = "stop"
    #: The code that passes raises an error that nobody foresaw.
    ERROR = "error"
    #: The thread that passes stands still for HANG, as behind a card that takes its time; the others go on.
    HANG = "hang"
    #: From here on the process's clock shows another time.
    CLOCK_1970 = "1970"
    CLOCK_2038 = "2038"


#: How long a thread hangs.
HANG = timedelta(seconds=2)
#: What the clock jumps to.
CLOCKS = {
    Fault.CLOCK_1970: datetime(1970, 1, 1, 0, 1, tzinfo=UTC),
    Fault.CLOCK_2038: datetime(2038, 1, 20, tzinfo=UTC),
}


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


@dataclass(frozen=True, slots=True)
class Arming:
    """What the variable asks for."""

    point: FailPoint
    time: int
    fault: Fault


def parse(text: str) -> Arming | None:
    """Read the variable; None = it names none of ours."""
    name, *rest = text.split(":")
    time = rest.pop(0) if rest and rest[0] not in set(Fault) else "1"
    fault = rest.pop(0) if rest else Fault.KILL
    if name not in set(FailPoint) or _TIME.fullmatch(time) is None or fault not in set(Fault) or rest:
        return None
    return Arming(FailPoint(name), max(1, int(time)), Fault(fault))
