"""The update of one deployment as a value: what must survive a restart, and the reports it gives.

Nothing is decided here; see `edgeops.update.machine`.
"""

from typing import Self

import msgspec

from edgeops import limits
from edgeops.digest import digest_raw
from edgeops.errors import MessageError
from edgeops.protocol.messages import (
    DesiredDeployment,
    Evidence,
    Maintenance,
    Reason,
    Report,
    Shadowing,
    UpdateState,
)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the desired state asks of this deployment, and in which (epoch, revision) it first did."""

    epoch: int
    revision: int
    #: The TUF target of the descriptor; None = run nothing.
    target: str | None
    digest: str | None
    installation: str | None
    trial_inferences: int = limits.TRIAL_INFERENCES
    #: What a newer revision may change without a new installation.
    shadowing: Shadowing | None = None
    #: When the device may turn to it, which a newer revision may change as well.
    maintenance: tuple[Maintenance, ...] = ()

    @classmethod
    def of(cls, desired: DesiredDeployment, *, epoch: int, revision: int) -> Self:
        """The part of a desired state that concerns one deployment.

        Raises:
            MessageError: it names a target without a digest, or a digest without a target.
        """
        if (desired.target is None) != (desired.digest is None):
            raise MessageError(
                f"the desired state of {desired.deployment!r} names target {desired.target!r} and digest "
                f"{desired.digest!r}; it must name both or neither"
            )
        return cls(
            epoch=epoch,
            revision=revision,
            target=desired.target,
            digest=desired.digest,
            installation=desired.installation,
            trial_inferences=desired.trial_inferences,
            shadowing=desired.shadowing,
            maintenance=desired.maintenance,
        )

    def asks_the_same(self, other: "Wanted") -> bool:
        """Whether no other model is meant: another deployment of the device changed, or how this one is watched."""
        return (self.target, self.digest, self.installation) == (other.target, other.digest, other.installation)

    def renewed(self, other: "Wanted") -> Self:
        """The same with what a newer revision says of how it is watched, and when; its revision stays."""
        return msgspec.structs.replace(self, shadowing=other.shadowing, maintenance=other.maintenance)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a model showed in the trial that it was committed after."""

    digest: str
    evidence: Evidence
    #: The (epoch, revision) that asked for it.
    asked: tuple[int, int] = (0, 0)


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that must survive a restart; one JSON file per deployment."""

    state: UpdateState = UpdateState.IDLE
    wanted: Wanted | None = None
    #: Came while `wanted` still owes its final report.
    next: Wanted | None = None
    #: The newest (epoch, revision) taken in.
    mark: tuple[int, int] = (0, 0)
    #: How often what was committed got lost and was installed again: what is reported then is news.
    losses: int = 0
    #: Fetches that failed while there was contact.
    attempts: int = 0
    #: The probe of this candidate passed.
    probed: bool = False
    #: Starts of the agent seen while it was probed, and then in TRIAL.
    boots: int = 0
    evidence: Evidence | None = None
    #: Where the trial evidence lies in the spool.
    evidence_seq: int | None = None
    #: Of the model committed last: told again with a report that it is active already, because a server that was
    #: restored from a backup may not have heard it.
    #: Nothing where nothing shall run.
    shown: Shown | None = None
    #: Digests that were active while the agent died at each of its starts: they answer no more, unless one is desired
    #: anew; forgotten with the next commit.
    fallen: tuple[str, ...] = ()
    #: The final report lies in the spool, and that is the one of this id; empty = none was owed.
    reported: bool = True
    reported_in: str = ""
    reason: Reason = Reason.NONE
    detail: str = ""


#: Where a deployment rests until something new is desired.
RESTING = frozenset(
    {
        UpdateState.IDLE,
        UpdateState.COMMITTED,
        UpdateState.REJECTED,
        UpdateState.FAILED,
        UpdateState.ROLLED_BACK,
        UpdateState.SUPERSEDED,
    }
)


#: Why an update under way does not go on for now: neither an end nor silence, so no deadline may run out meanwhile.
WAITS = frozenset({Reason.WINDOW, Reason.HELD})


def is_tried(update: Update) -> bool:
    """Whether a candidate runs, in a probe or beside the rest, and may be what ends the agent."""
    return update.state is UpdateState.TRIAL or (update.state is UpdateState.PROBING and not update.probed)


def committed(update: Update) -> str | None:
    """The digest that this device committed last, unless it shall run nothing since."""
    if update.state is UpdateState.COMMITTED:
        return _wanted(update).digest
    if update.shown is not None:
        return update.shown.digest
    return update.fallen[0] if update.fallen else None


def evidence_report(deployment: str, update: Update) -> Report:
    """What the trial saw; the server's ack of it is the proof of contact."""
    return _report(deployment, update, _wanted(update), detail="")


def final_report(deployment: str, update: Update) -> Report | None:
    """How the installation ended; None where nothing was desired."""
    if update.wanted is None or update.wanted.digest is None:
        return None
    return _report(deployment, update, update.wanted, detail=update.detail)


def report_key(deployment: str, update: Update) -> str:
    """Names a report so that carrying out the command twice spools it once."""
    wanted = _wanted(update)
    step = "evidence" if update.state is UpdateState.TRIAL else "final"
    return f"{deployment}/{wanted.epoch}.{wanted.revision}.{update.losses}/{step}"


def _report(deployment: str, update: Update, wanted: Wanted, *, detail: str) -> Report:
    assert wanted.digest is not None
    return Report(
        # A desired state made by hand may name no installation; the ack of the report is needed all the same.
        installation=wanted.installation or deployment,
        deployment=deployment,
        digest=digest_raw(wanted.digest),
        state=update.state,
        reason=update.reason,
        detail=detail[: limits.MAX_DETAIL_LENGTH],
        evidence=update.evidence,
    )


def _wanted(update: Update) -> Wanted:
    assert update.wanted is not None
    return update.wanted
