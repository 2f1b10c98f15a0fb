"""What an exit code of `edgeops` and `edgeops-agent` means, and which error ends with which; nowhere else."""

from enum import IntEnum

from edgeops.errors import (
    AccessError,
    ConfigError,
    ConflictError,
    EdgeOpsError,
    NotFoundError,
    UnreachableError,
    WaitTimeoutError,
)


class Exit(IntEnum):
    """Exit codes, stable for scripts."""

    #: Done.
    OK = 0
    #: The thing was tried and failed.
    FAILED = 1
    #: The command line or a setting cannot be used.
    USAGE = 2
    #: The server does not know the thing.
    NOT_FOUND = 3
    #: No token, a wrong one, or one whose role may not do this.
    ACCESS = 4
    #: No server, or none that answers.
    UNREACHABLE = 5
    #: The thing is in a state that does not allow it.
    CONFLICT = 6
    #: A rollout failed, was aborted, or paused for a person.
    ROLLOUT = 7
    #: A promotion gate refused, a device does not bless, or drift was found.
    GATE = 8
    #: What was waited for did not end in time.
    TIMEOUT = 9
    #: Drift was looked for, and too little was seen to say; never to be taken for stable.
    EVIDENCE = 10


class RolloutEndedBadlyError(EdgeOpsError):
    """A watched rollout failed, was aborted, or paused for a person."""


class GateRefusedError(EdgeOpsError):
    """A promotion gate refused what was trained, or a device does not bless it."""


# The first class that fits decides.
_CODES: tuple[tuple[type[EdgeOpsError], Exit], ...] = (
    (WaitTimeoutError, Exit.TIMEOUT),
    (RolloutEndedBadlyError, Exit.ROLLOUT),
    (GateRefusedError, Exit.GATE),
    (UnreachableError, Exit.UNREACHABLE),
    (AccessError, Exit.ACCESS),
    (NotFoundError, Exit.NOT_FOUND),
    (ConflictError, Exit.CONFLICT),
    (ConfigError, Exit.USAGE),
)


def exit_code(error: EdgeOpsError) -> Exit:
    """How a command ends that met this error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FAILED)
