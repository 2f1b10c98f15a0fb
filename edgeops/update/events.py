"""What can happen to an update; `edgeops.update.machine` says where it is legal."""

from dataclasses import dataclass

from edgeops.protocol.messages import Evidence, Reason
from edgeops.update.update import Wanted


@dataclass(frozen=True, slots=True)
class Started:
    """A model is desired that is not active."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class AlreadyActive:
    """The desired model is the active one."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Emptied:
    """Nothing is desired."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Superseded:
    """Something else is desired, in the middle of an update."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Postponed:
    """Something else is desired, and the last final report is not in the spool yet."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Renewed:
    """A newer revision asks for the same."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Fetched:
    """All blocks are here, and TUF listed the descriptor."""


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The blocks did not come in time; another attempt is left."""

    detail: str


@dataclass(frozen=True, slots=True)
class NoContact:
    """The server could not be asked."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """It may not go on for now: no maintenance window is open, or the owner holds it."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It may not run here: trust, digest, compatibility."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be brought to run: fetch, disk, probe."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """Length, digest and structure of the whole file hold."""


@dataclass(frozen=True, slots=True)
class Staged:
    """The file is in its slot."""


@dataclass(frozen=True, slots=True)
class ProbePassed:
    """It loads, answers its golden vectors and keeps its limits."""


@dataclass(frozen=True, slots=True)
class Listed:
    """TUF lists it now."""


@dataclass(frozen=True, slots=True)
class Booted:
    """The agent started in the middle of a probe or a TRIAL, not too often yet."""


@dataclass(frozen=True, slots=True)
class BootedAwaitingAck:
    """The same, with the trial's evidence complete."""


@dataclass(frozen=True, slots=True)
class TrialPassed:
    """N real inferences without error."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class EvidenceSpooled:
    """The trial's evidence is record `seq` of the spool."""

    seq: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The server's signed ack covers the trial's evidence."""


@dataclass(frozen=True, slots=True)
class TrialFailed:
    """Errors, too many boots, or no conclusion."""

    reason: Reason
    detail: str
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class Settled:
    """The pointer was flipped, or the candidate dropped."""


@dataclass(frozen=True, slots=True)
class Reported:
    """The final report is in the spool of this id."""

    spool: str


@dataclass(frozen=True, slots=True)
class ReportLost:
    """The spool that the final report was in is gone, and nobody knows whether the server heard it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The committed model is no longer on disk as it was; get it again."""


@dataclass(frozen=True, slots=True)
class Fallen:
    """The agent died at each of its starts with this model active: it shall answer no more."""

    digest: str


Event = (
    Started
    | AlreadyActive
    | Emptied
    | Superseded
    | Postponed
    | Renewed
    | Fetched
    | FetchFailed
    | NoContact
    | Deferred
    | Refused
    | Failed
    | Verified
    | Staged
    | ProbePassed
    | Listed
    | Booted
    | BootedAwaitingAck
    | TrialPassed
    | EvidenceSpooled
    | Acknowledged
    | TrialFailed
    | Settled
    | Reported
    | ReportLost
    | Lost
    | Fallen
)
