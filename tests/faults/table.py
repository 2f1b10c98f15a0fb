"""What befalls an update in which state, and how it must end: the table, made from the machine's own.

Nothing here runs anything; `tests.faults.stage` does. docs/faults.md is made from this module.
"""

from dataclasses import dataclass
from enum import StrEnum

from edgeops.protocol.messages import Reason, UpdateState
from edgeops.update.faults import FailPoint, Fault, did, saved
from edgeops.update.machine import RESUME, TABLE, Command

_S = UpdateState


class Mishap(StrEnum):
    """What happens."""

    ERROR = "error"
    HANG = "hang"
    KILL = "kill"
    FULL = "full"
    READ_ONLY = "read-only"
    FULL_START = "full start"
    READ_ONLY_START = "read-only start"
    LOST_ACK = "lost ack"
    CLOCK_1970 = "clock 1970"
    CLOCK_2038 = "clock 2038"


#: What the fail point does for it; what has STOP is done to the world while the agent stands still there.
ARMED = {
    Mishap.ERROR: Fault.ERROR,
    Mishap.HANG: Fault.HANG,
    Mishap.KILL: Fault.KILL,
    Mishap.FULL: Fault.STOP,
    Mishap.READ_ONLY: Fault.STOP,
    Mishap.FULL_START: Fault.KILL,
    Mishap.READ_ONLY_START: Fault.KILL,
    Mishap.LOST_ACK: Fault.STOP,
    Mishap.CLOCK_1970: Fault.CLOCK_1970,
    Mishap.CLOCK_2038: Fault.CLOCK_2038,
}
#: These strike at every border; the others once in a state, right after it was persisted.
_AT_EVERY_BORDER = (Mishap.ERROR, Mishap.HANG, Mishap.KILL)
#: The next start finds a card that takes nothing.
STARTS = frozenset({Mishap.FULL_START, Mishap.READ_ONLY_START})
#: The process that was struck is gone.
DEADLY = STARTS | {Mishap.KILL}


class Story(StrEnum):
    """How a state comes to be; each begins with an incumbent that answers."""

    #: A good model.
    UPDATE = "update"
    #: A digest that nobody signed.
    UNSIGNED = "unsigned"
    #: A model that answers its golden vectors wrongly.
    WRONG = "wrong"
    #: A model that refuses rows with missing values, of which the source has many.
    REFUSING = "refusing"
    #: A good model, and another one before it is here.
    OVERTAKEN = "overtaken"
    #: Nothing.
    NOTHING = "nothing"


class Model(StrEnum):
    """Who answers in the end."""

    INCUMBENT = "incumbent"
    CANDIDATE = "candidate"
    NEXT = "next"
    NONE = "none"


@dataclass(frozen=True)
class End:
    """How a cell ends."""

    state: UpdateState
    reason: Reason
    active: Model
    #: The final report of each installation, in order.
    reports: tuple[UpdateState, ...]


_ENDS = {
    Story.UPDATE: End(_S.COMMITTED, Reason.NONE, Model.CANDIDATE, (_S.COMMITTED,)),
    Story.UNSIGNED: End(_S.REJECTED, Reason.NOT_LISTED, Model.INCUMBENT, (_S.REJECTED,)),
    Story.WRONG: End(_S.FAILED, Reason.GOLDEN, Model.INCUMBENT, (_S.FAILED,)),
    Story.REFUSING: End(_S.ROLLED_BACK, Reason.INFERENCE, Model.INCUMBENT, (_S.ROLLED_BACK,)),
    Story.OVERTAKEN: End(_S.COMMITTED, Reason.NONE, Model.NEXT, (_S.SUPERSEDED, _S.COMMITTED)),
    Story.NOTHING: End(_S.IDLE, Reason.NONE, Model.NONE, ()),
}
STORIES = {
    **dict.fromkeys((_S.FETCHING, _S.VERIFYING, _S.STAGED, _S.PROBING, _S.TRIAL, _S.COMMITTED), Story.UPDATE),
    _S.REJECTED: Story.UNSIGNED,
    _S.FAILED: Story.WRONG,
    _S.ROLLED_BACK: Story.REFUSING,
    _S.SUPERSEDED: Story.OVERTAKEN,
    _S.IDLE: Story.NOTHING,
}
#: What an error that comes out of a slow step is reported as.
_UNFORESEEN = {
    FailPoint.BLOCK_WRITTEN: Reason.FETCH,
    FailPoint.DID_FETCH: Reason.FETCH,
    FailPoint.DID_VERIFY: Reason.DIGEST,
    FailPoint.DID_STAGE: Reason.DISK,
    FailPoint.DID_PROBE: Reason.PROBE,
    FailPoint.DID_CHECK_LISTED: Reason.TRUST,
}
#: What must store something fails when the disk takes nothing; what is only to be noted waits.
_STORES = (_S.FETCHING, _S.STAGED)
_BEFORE_TRIAL = (_S.FETCHING, _S.VERIFYING, _S.STAGED, _S.PROBING)


@dataclass(frozen=True)
class Cell:
    """One entry of the table."""

    state: UpdateState
    point: FailPoint
    mishap: Mishap

    def __str__(self) -> str:
        return f"{self.state}, {self.point}, {self.mishap}"

    @property
    def story(self) -> Story:
        return STORIES[self.state]

    @property
    def fail_point(self) -> str:
        """For the environment of the agent."""
        return f"{self.point}:{ARMED[self.mishap]}"

    @property
    def end(self) -> End:
        """How it must end."""
        if self.mishap is Mishap.ERROR and self.point in _UNFORESEEN:
            return End(_S.FAILED, _UNFORESEEN[self.point], Model.INCUMBENT, (_S.FAILED,))
        if self.mishap in {Mishap.FULL, Mishap.READ_ONLY} and self.state in _STORES:
            return End(_S.FAILED, Reason.DISK, Model.INCUMBENT, (_S.FAILED,))
        if self.mishap is Mishap.CLOCK_2038 and self.state in _BEFORE_TRIAL:
            return End(_S.REJECTED, Reason.EXPIRED, Model.INCUMBENT, (_S.REJECTED,))
        if self.mishap is Mishap.CLOCK_2038 and self.state is _S.SUPERSEDED:
            return End(_S.REJECTED, Reason.EXPIRED, Model.INCUMBENT, (_S.SUPERSEDED, _S.REJECTED))
        return _ENDS[self.story]


def borders(state: UpdateState) -> tuple[FailPoint, ...]:
    """Where a process may be struck in a state: after it was persisted, and after each command of it."""
    commands = {RESUME[state], *(command for after, command in TABLE.values() if after is state)}
    if STORIES[state] is not Story.OVERTAKEN:
        # It does nothing where nothing else was desired meanwhile.
        commands.discard(Command.TAKE_NEXT)
    points = sorted(point for point in map(did, commands) if point is not None)
    blocks = [FailPoint.BLOCK_WRITTEN] if state is _S.FETCHING else []
    return (saved(state), *blocks, *points)


CELLS = tuple(
    Cell(state, point, mishap)
    for state in UpdateState
    for mishap in Mishap
    for point in (borders(state) if mishap in _AT_EVERY_BORDER else (saved(state),))
)

#: For every run of the tests: each state and each mishap at least once.
SLICE = (
    Cell(_S.IDLE, FailPoint.DID_CLEAR, Mishap.KILL),
    Cell(_S.FETCHING, FailPoint.SAVED_FETCHING, Mishap.FULL),
    Cell(_S.VERIFYING, FailPoint.SAVED_VERIFYING, Mishap.HANG),
    Cell(_S.STAGED, FailPoint.SAVED_STAGED, Mishap.CLOCK_2038),
    Cell(_S.PROBING, FailPoint.DID_PROBE, Mishap.ERROR),
    Cell(_S.TRIAL, FailPoint.SAVED_TRIAL, Mishap.READ_ONLY_START),
    Cell(_S.COMMITTED, FailPoint.SAVED_COMMITTED, Mishap.READ_ONLY),
    Cell(_S.REJECTED, FailPoint.SAVED_REJECTED, Mishap.LOST_ACK),
    Cell(_S.FAILED, FailPoint.SAVED_FAILED, Mishap.FULL_START),
    Cell(_S.ROLLED_BACK, FailPoint.SAVED_ROLLED_BACK, Mishap.CLOCK_1970),
    Cell(_S.SUPERSEDED, FailPoint.DID_TAKE_NEXT, Mishap.KILL),
)
