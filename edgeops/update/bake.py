"""A model that was just committed bakes: decides whether the model before it still answers beside it.

What counts is the time in which the agent ran, written down now and then. A clock that steps and a night without power
neither end a bake nor make it endless; only a newer desired state that still asks for it begins its time anew. It does
not measure that time; see `device_agent.baking`.
"""

from datetime import timedelta

import msgspec

from edgeops import limits
from edgeops.protocol.messages import Count, Shadowing, UpdateState
from edgeops.update.update import Update

_NOTED_MS = limits.BAKE_NOTED_AFTER // timedelta(milliseconds=1)


class Bake(msgspec.Struct, frozen=True, kw_only=True):
    """How far one bake has come; one JSON file per deployment."""

    #: The commit it belongs to: `wanted` of the update, and how often it was lost.
    epoch: Count
    revision: Count
    losses: Count
    #: The newest (epoch, revision) that asked for it.
    told: tuple[Count, Count]
    #: Milliseconds since then, or since the commit, in which the agent ran.
    passed_ms: Count = 0
    #: Starts of the agent in it that have not lasted yet.
    starts: Count = 0


def bake_of(update: Update, known: Bake | None) -> Bake | None:
    """The bake that a deployment is in: the one that is known, another one that begins, or None."""
    wanted = update.wanted
    if update.state is not UpdateState.COMMITTED or wanted is None or wanted.shadowing is None:
        return None
    fresh = Bake(epoch=wanted.epoch, revision=wanted.revision, losses=update.losses, told=update.mark)
    if known is None or _commit(known) != _commit(fresh):
        return fresh
    return known if known.told == fresh.told else msgspec.structs.replace(fresh, starts=known.starts)


def started(bake: Bake) -> Bake:
    """The agent started in the middle of it."""
    return msgspec.structs.replace(bake, starts=bake.starts + 1)


def passed(bake: Bake, milliseconds: int) -> Bake:
    """The agent ran for so long; a start that lasts was no crash, unless it lasted because there was no shadow."""
    starts = 0 if milliseconds >= _NOTED_MS and not _crashes(bake) else bake.starts
    return msgspec.structs.replace(bake, passed_ms=bake.passed_ms + milliseconds, starts=starts)


def shadowing_of(update: Update, bake: Bake | None) -> Shadowing | None:
    """How the model in charge is watched now; None = it is not.

    In TRIAL as long as that lasts, after the commit for `for_ms` since it was asked for last. A shadow that may be what
    takes the agent down again and again answers no more; windows still close early.
    """
    wanted = update.wanted
    if wanted is None or wanted.shadowing is None:
        return None
    if update.state is UpdateState.TRIAL:
        return wanted.shadowing
    if bake is None or bake.passed_ms >= wanted.shadowing.for_ms:
        return None
    return msgspec.structs.replace(wanted.shadowing, share=0.0) if _crashes(bake) else wanted.shadowing


def _crashes(bake: Bake) -> bool:
    return bake.starts > limits.SHADOW_STARTS


def _commit(bake: Bake) -> tuple[int, int, int]:
    return bake.epoch, bake.revision, bake.losses
