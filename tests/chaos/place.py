"""Where an update can stand: in a state, and in some of them waiting for its window or for its owner."""

from dataclasses import dataclass

from edgeops.protocol.messages import Reason, UpdateState
from edgeops.update.update import RESTING, WAITS, Update

#: Where chaos has the owner of a device hold it.
HELD = (UpdateState.FETCHING, UpdateState.STAGED, UpdateState.PROBING)


@dataclass(frozen=True, order=True)
class Place:
    """What is persisted there."""

    state: UpdateState
    #: Why it does not go on; NONE = it does.
    waits: Reason = Reason.NONE

    def __str__(self) -> str:
        return self.state if self.waits is Reason.NONE else f"{self.state} ({self.waits})"

    @classmethod
    def of(cls, update: Update) -> "Place":
        """Where this one stands."""
        waits = update.state not in RESTING and update.reason in WAITS
        return cls(update.state, update.reason if waits else Reason.NONE)


#: Each of them is hit. A window can also close while a model is probed: the fault table has that.
PLACES = (
    *map(Place, UpdateState),
    *(Place(state, Reason.HELD) for state in HELD),
    Place(UpdateState.STAGED, Reason.WINDOW),
)
