"""The order of desired states: which one counts when two arrive.

A desired state is ordered by (epoch, revision). The epoch grows with the fleet key, the revision with
every change; after a restore from a backup the server goes above what devices report. Whether its
signature holds and whether its digests are listed is decided elsewhere.
"""

from enum import StrEnum

import msgspec

from edgeops.protocol.messages import Desired, Reported


class DesiredMark(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The place of a desired state in its order; (0, 0) is before the first."""

    epoch: int = 0
    revision: int = 0


class Precedence(StrEnum):
    """What a device does with a desired state that arrives."""

    #: Above the last one: take it in.
    ACCEPT = "accept"
    #: The last one again, as retained messages are: nothing to do.
    REPEATED = "repeated"
    #: Below the last one, by delay or by replay: ignore and count.
    OLDER = "older"


def mark_of(desired: Desired) -> DesiredMark:
    """Where `desired` stands."""
    return DesiredMark(desired.epoch, desired.revision)


def reported_mark(reported: Reported) -> DesiredMark:
    """The last desired state that a device says it took in."""
    return DesiredMark(reported.desired_epoch, reported.desired_revision)


def newer(mark: DesiredMark, desired: Desired) -> bool:
    """Whether `desired` is above `mark`."""
    return mark_of(desired) > mark


def judge(mark: DesiredMark, desired: Desired) -> Precedence:
    """What a device that took in `mark` does with `desired`."""
    if newer(mark, desired):
        return Precedence.ACCEPT
    return Precedence.REPEATED if mark_of(desired) == mark else Precedence.OLDER


def next_mark(stored: DesiredMark, reported: DesiredMark, epoch: int) -> DesiredMark:
    """The mark of the server's next desired state in `epoch`.

    It is above both what the database holds and what the device reports, which is more after a restore
    from a backup. A device that reports a later epoch than the server's keeps that epoch.
    """
    last = max(stored, reported)
    if epoch > last.epoch:
        return DesiredMark(epoch, 1)
    return DesiredMark(last.epoch, last.revision + 1)
