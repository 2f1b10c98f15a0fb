"""Whether a deployment really runs what it shall: judged at every contact, long after its rollout has ended.

What an update under way does meanwhile is the installation's matter, not judged here. It remembers nothing: who is
told, and how often, is the caller's.
"""

from dataclasses import dataclass
from enum import StrEnum

from edgeops.protocol.messages import DeploymentState, DesiredDeployment, Reason
from edgeops.update.update import RESTING


class Cause(StrEnum):
    """What is wrong."""

    #: Nothing answers, and something shall.
    NO_MODEL = "no-model"
    #: What was committed is damaged or gone on the device; the model before it answers.
    FELL_BACK = "fell-back"
    #: The agent died at each of its starts with what was committed; the model before it answers.
    CRASHED = "crashed"
    #: Another model answers than the one that was committed last, and the device does not say why.
    OTHER_MODEL = "other-model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A deployment that does not run what it shall."""

    cause: Cause
    #: Digests; None = nothing.
    should: str | None
    runs: str | None
    #: Whether saying once more what it shall run can heal it: it rests, and believes to be done.
    heals_by_asking: bool
    #: The device gave up what it should run.
    fallen: bool = False


def deviation(
    told: DeploymentState | None, wanted: DesiredDeployment | None, *, proven: bool, behind: bool
) -> Deviation | None:
    """What is wrong with one deployment; None = nothing, or that cannot be told yet.

    Args:
        told: as the device reports it; None = it does not.
        wanted: what it shall run; None = nobody says.
        proven: it has run what is wanted, so that anything else is a change for the worse. What never was
            installed is an installation's failure.
        behind: the device has not taken in the newest desired state.
    """
    if told is not None and told.instead_of is not None:
        rests = told.state in RESTING and not behind
        fell = Cause.CRASHED if told.fallen else Cause.FELL_BACK
        return Deviation(
            cause=Cause.NO_MODEL if told.active is None else fell,
            should=told.instead_of,
            runs=told.active,
            heals_by_asking=rests and not told.fallen and wanted is not None and wanted.digest == told.instead_of,
            fallen=told.fallen,
        )
    if wanted is None or behind or not proven or not _is_at_rest(told):
        return None
    runs = None if told is None else told.active
    if runs == wanted.digest:
        return None
    cause = Cause.NO_MODEL if runs is None else Cause.OTHER_MODEL
    return Deviation(cause=cause, should=wanted.digest, runs=runs, heals_by_asking=True)


def agrees(told: DeploymentState | None, wanted: DesiredDeployment | None) -> bool:
    """Whether a deployment runs what it shall, or nobody says what: what was wrong with it is over."""
    if told is not None and told.instead_of is not None:
        return False
    runs = None if told is None else told.active
    return wanted is None or runs == wanted.digest


def words(found: Deviation) -> str:
    """For people."""
    should = "nothing" if found.should is None else found.should
    fell = f"{should} fell: the agent died again and again within moments of its start"
    match found.cause:
        case Cause.NO_MODEL:
            return f"no model answers; {fell}" if found.fallen else f"no model answers; {should} should"
        case Cause.CRASHED:
            return f"{found.runs} answers; {fell}"
        case Cause.FELL_BACK:
            return f"{found.runs} answers; {should} was committed, and is damaged or gone from the device's disk"
        case Cause.OTHER_MODEL:
            return f"{found.runs} answers; {should} should"


def _is_at_rest(told: DeploymentState | None) -> bool:
    """Nothing is under way, and nothing waits for the disk; a deployment that is not reported does nothing."""
    return told is None or (told.state in RESTING and told.reason is not Reason.DISK)
