"""What befalls an update in which state, and how it must end: the table, made from the machine's own.

Nothing here runs anything; `tests.faults.stage` does. docs/faults.md is made from this module.
"""

from collections.abc import Iterator
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
    #: A model that reads a column which the source turns out not to have.
    UNSERVED = "unserved"
    #: A good model, and another one before it is here.
    OVERTAKEN = "overtaken"
    #: A good model, on a device that its owner holds.
    HELD = "held"
    #: A good model, before its maintenance window; then the server says that it may be turned to at any time.
    EARLY = "early"
    #: A good model; the agent is killed while it probes, and held by its owner before it starts again.
    CAUGHT = "caught"
    #: Nothing.
    NOTHING = "nothing"


class Model(StrEnum):
    """Who answers in the end."""

    INCUMBENT = "incumbent"
    CANDIDATE = "candidate"
    NEXT = "next"
    NONE = "none"


@dataclass(frozen=True)
class Border:
    """Where a process is struck: at a fail point, and the how-manyth time that it comes by there."""

    point: FailPoint
    time: int = 1

    def __str__(self) -> str:
        return self.point + {1: "", 2: ", 2nd time", 3: ", 3rd time"}[self.time]


@dataclass(frozen=True)
class Wait:
    """How an update in some state comes to wait."""

    story: Story
    reason: Reason
    #: What is on disk says that it waits; it was not at work on anything else.
    saved: Border
    #: Right before that; None = there is nothing before it but a start.
    before: Border | None = None
    #: What it waited for has come, and that is on disk; None = nothing is to be noted.
    ended: Border | None = None

    @property
    def borders(self) -> tuple[Border, ...]:
        return tuple(border for border in (self.before, self.saved, self.ended) if border is not None)


#: Where an update waits by itself. Its first time at `saved-<state>` is before it waits; of one that was restarted the
#: wait is all that it saves.
WAITS = {
    _S.FETCHING: Wait(
        Story.HELD,
        Reason.HELD,
        before=Border(FailPoint.SAVED_FETCHING),
        saved=Border(FailPoint.SAVED_FETCHING, 2),
    ),
    _S.STAGED: Wait(
        Story.EARLY,
        Reason.WINDOW,
        before=Border(FailPoint.DID_STAGE),
        saved=Border(FailPoint.SAVED_STAGED, 2),
        ended=Border(FailPoint.SAVED_STAGED, 3),
    ),
    # The first time is that of the start in mid probe, which counts itself.
    _S.PROBING: Wait(Story.CAUGHT, Reason.HELD, saved=Border(FailPoint.SAVED_PROBING, 2)),
}


@dataclass(frozen=True)
class End:
    """How a cell ends."""

    state: UpdateState
    reason: Reason
    active: Model
    #: The final report of each installation, in order.
    reports: tuple[UpdateState, ...]


_ENDS = {
    **dict.fromkeys(
        (Story.UPDATE, Story.HELD, Story.EARLY, Story.CAUGHT),
        End(_S.COMMITTED, Reason.NONE, Model.CANDIDATE, (_S.COMMITTED,)),
    ),
    Story.UNSIGNED: End(_S.REJECTED, Reason.NOT_LISTED, Model.INCUMBENT, (_S.REJECTED,)),
    Story.WRONG: End(_S.FAILED, Reason.GOLDEN, Model.INCUMBENT, (_S.FAILED,)),
    Story.UNSERVED: End(_S.ROLLED_BACK, Reason.INFERENCE, Model.INCUMBENT, (_S.ROLLED_BACK,)),
    Story.OVERTAKEN: End(_S.COMMITTED, Reason.NONE, Model.NEXT, (_S.SUPERSEDED, _S.COMMITTED)),
    Story.NOTHING: End(_S.IDLE, Reason.NONE, Model.NONE, ()),
}
STORIES = {
    **dict.fromkeys((_S.FETCHING, _S.VERIFYING, _S.STAGED, _S.PROBING, _S.TRIAL, _S.COMMITTED), Story.UPDATE),
    _S.REJECTED: Story.UNSIGNED,
    _S.FAILED: Story.WRONG,
    _S.ROLLED_BACK: Story.UNSERVED,
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
    border: Border
    mishap: Mishap
    #: It waits in this state, or is about to; None = it goes on.
    wait: Wait | None = None

    def __str__(self) -> str:
        return f"{self.place}, {self.border}, {self.mishap}"

    @property
    def place(self) -> str:
        """The state, and why it waits there."""
        return self.state if self.wait is None else f"{self.state} ({self.wait.reason})"

    @property
    def story(self) -> Story:
        return STORIES[self.state] if self.wait is None else self.wait.story

    @property
    def fail_point(self) -> str:
        """For the environment of the agent."""
        return f"{self.border.point}:{self.border.time}:{ARMED[self.mishap]}"

    @property
    def end(self) -> End:
        """How it must end."""
        if self.mishap is Mishap.ERROR and self.border.point in _UNFORESEEN:
            return End(_S.FAILED, _UNFORESEEN[self.border.point], Model.INCUMBENT, (_S.FAILED,))
        if self.mishap in {Mishap.FULL, Mishap.READ_ONLY} and self.state in _STORES and self.wait is None:
            return End(_S.FAILED, Reason.DISK, Model.INCUMBENT, (_S.FAILED,))
        if self.mishap is Mishap.CLOCK_2038 and self.state in _BEFORE_TRIAL:
            return End(_S.REJECTED, Reason.EXPIRED, Model.INCUMBENT, (_S.REJECTED,))
        if self.mishap is Mishap.CLOCK_2038 and self.state is _S.SUPERSEDED:
            return End(_S.REJECTED, Reason.EXPIRED, Model.INCUMBENT, (_S.SUPERSEDED, _S.REJECTED))
        return _ENDS[self.story]


def borders(state: UpdateState) -> tuple[Border, ...]:
    """Where a process may be struck in a state: after it was persisted, and after each command of it."""
    commands = {RESUME[state], *(command for after, command in TABLE.values() if after is state)}
    if STORIES[state] is not Story.OVERTAKEN:
        # It does nothing where nothing else was desired meanwhile.
        commands.discard(Command.TAKE_NEXT)
    points = sorted(point for point in map(did, commands) if point is not None)
    blocks = [FailPoint.BLOCK_WRITTEN] if state is _S.FETCHING else []
    return tuple(map(Border, (saved(state), *blocks, *points)))


def _waiting(state: UpdateState, wait: Wait) -> Iterator[Cell]:
    """What befalls an update that waits."""
    for mishap in Mishap:
        for border in wait.borders if mishap in _AT_EVERY_BORDER else (wait.saved,):
            # An error in a slow step ends the update before it waits, and what waits reports nothing.
            ends = mishap is Mishap.ERROR and border.point in _UNFORESEEN
            if not ends and mishap is not Mishap.LOST_ACK:
                yield Cell(state, border, mishap, wait)


CELLS = (
    *(
        Cell(state, border, mishap)
        for state in UpdateState
        for mishap in Mishap
        for border in (borders(state) if mishap in _AT_EVERY_BORDER else borders(state)[:1])
    ),
    *(cell for state, wait in WAITS.items() for cell in _waiting(state, wait)),
)

#: For every run of the tests: each state, each mishap and each wait at least once.
SLICE = (
    Cell(_S.IDLE, Border(FailPoint.DID_CLEAR), Mishap.KILL),
    Cell(_S.VERIFYING, Border(FailPoint.SAVED_VERIFYING), Mishap.HANG),
    Cell(_S.PROBING, Border(FailPoint.DID_PROBE), Mishap.ERROR),
    Cell(_S.TRIAL, Border(FailPoint.SAVED_TRIAL), Mishap.READ_ONLY_START),
    Cell(_S.COMMITTED, Border(FailPoint.SAVED_COMMITTED), Mishap.READ_ONLY),
    Cell(_S.REJECTED, Border(FailPoint.SAVED_REJECTED), Mishap.LOST_ACK),
    Cell(_S.FAILED, Border(FailPoint.SAVED_FAILED), Mishap.FULL_START),
    Cell(_S.ROLLED_BACK, Border(FailPoint.SAVED_ROLLED_BACK), Mishap.CLOCK_1970),
    Cell(_S.SUPERSEDED, Border(FailPoint.DID_TAKE_NEXT), Mishap.KILL),
    Cell(_S.FETCHING, Border(FailPoint.SAVED_FETCHING, 2), Mishap.FULL, WAITS[_S.FETCHING]),
    Cell(_S.STAGED, Border(FailPoint.SAVED_STAGED, 2), Mishap.CLOCK_2038, WAITS[_S.STAGED]),
)
