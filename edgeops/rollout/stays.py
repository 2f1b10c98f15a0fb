"""Which model ran on a deployment of a device, from when to when, of what installations have proven.

What a device runs that no rollout brought is an incident, and not here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from edgeops.rollout.installation import HOLDING, InstallationState

#: The device came to run the model, and may run something else since.
STAYED = HOLDING | {InstallationState.REGRESSED, InstallationState.ROLLED_BACK}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An installation that ended, as far as it tells what ran."""

    id: str
    digest: str
    state: InstallationState
    #: When the device was done with it, and when it changed last.
    finished_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A model ran somewhere."""

    installation: str
    digest: str
    since: datetime
    #: None = it runs, as far as is known.
    until: datetime | None


def find_stays(held: Iterable[Held]) -> tuple[Stay, ...]:
    """The stays on one deployment of one device, oldest first; `held` in any order."""
    came = sorted((one for one in held if _ran(one)), key=lambda one: (one.finished_at, one.id))
    following = [*(one.finished_at for one in came[1:]), None]
    return tuple(
        Stay(installation=one.id, digest=one.digest, since=one.finished_at, until=_until(one, after))
        for one, after in zip(came, following, strict=False)
    )


def _ran(one: Held) -> bool:
    # Taken back in trial, it was done with at that moment; taken back later, it was done with when it committed.
    return one.state in STAYED and (one.state is not InstallationState.ROLLED_BACK or one.finished_at < one.updated_at)


def _until(one: Held, after: datetime | None) -> datetime | None:
    ends = [after] if one.state in HOLDING else [after, one.updated_at]
    return min((end for end in ends if end is not None), default=None)
