"""Starts of an agent in a row that ended within moments: decides when a model that may be the cause answers no more.

What takes the agent down at each start (a segfault, memory, a loop that hangs) leaves nobody to be told. A start counts
until it has lasted, or ended in order. It counts for little where the server was heard in it, for what the server asks
for then may come: it is no proof, because an update by an agent that lives for seconds comes to no end. For as little
counts one that another power-on of the machine followed: mostly the power failed. It kills, reads and writes nothing;
see `device_agent.starts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from edgeops import limits
from edgeops.protocol.messages import Count, Digest
from edgeops.update.update import Update, is_tried


class Streak(msgspec.Struct, frozen=True, kw_only=True):
    """Starts in a row with the same models; one JSON file per device."""

    #: What was active, by deployment.
    active: dict[str, Digest]
    #: The power-on of the machine in which the last of them was.
    power_on: str
    #: All of them.
    starts: Count = 1
    #: Those in which nothing was heard of the server, and that no power cut ended, since it was heard last.
    deaf: Count = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """One deployment before a start."""

    #: The digest that answers; None = nothing does.
    active: str | None
    #: A candidate is probed or answers real inputs, and that bounds the starts.
    tries: bool
    #: The (epoch, revision) that asked for the active model; (0, 0) = it is not known, and long ago.
    asked: tuple[int, int]


def standing(update: Update, *, active: str | None) -> Standing:
    """How a deployment stands whose pointer names `active`."""
    is_shown = update.shown is not None and update.shown.digest == active
    asked = update.shown.asked if update.shown is not None and is_shown else (0, 0)
    return Standing(active=active, tries=is_tried(update), asked=asked)


def is_counted(standings: Mapping[str, Standing]) -> bool:
    """Whether a start says anything of the active models: there is one, and no candidate may be what ends it."""
    return any(one.active is not None for one in standings.values()) and not any(
        one.tries for one in standings.values()
    )


def started(known: Streak | None, standings: Mapping[str, Standing], *, power_on: str) -> Streak:
    """The streak with one more start; `known` is what the start before left behind, None where that was proven good."""
    active = {name: one.active for name, one in standings.items() if one.active is not None}
    if known is None or known.active != active:
        return Streak(active=active, power_on=power_on)
    # Another power-on: this start takes the place of the last one, which ended with the power.
    deaf = known.deaf + 1 if known.power_on == power_on else max(1, known.deaf)
    return Streak(active=active, power_on=power_on, starts=known.starts + 1, deaf=deaf)


def heard(streak: Streak) -> Streak:
    """The server was heard in its last start."""
    return msgspec.structs.replace(streak, deaf=0)


def is_too_long(streak: Streak) -> bool:
    """Whether an active model is taken for the cause."""
    return streak.deaf > limits.ACTIVE_STARTS or streak.starts > limits.ACTIVE_STARTS_HEARD


def falls_first(standings: Mapping[str, Standing]) -> str:
    """The deployment whose active model was asked for last: the newest change is the likeliest cause.

    Raises:
        ValueError: nothing is active.
    """
    return max((one.asked, name) for name, one in standings.items() if one.active is not None)[1]
