"""Which devices a rollout concerns, and how each of them stands: in, or left out, and why.

Every device that the selector means gets a standing. Left out is who cannot run the model, may not, or does already;
the others are asked in the order that comes out: those online first. It reads nothing: what it is told of each device
is in `Candidate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from edgeops.artifact.compatibility import incompatibilities
from edgeops.artifact.manifest import Descriptor
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.pins import forbidding
from edgeops.rollout.selector import Selector, matches


class Standing(StrEnum):
    """How a device that the selector means stands to a rollout."""

    #: In: asked when its wave comes.
    READY = "ready"
    #: In: asked when its wave comes and it is online again; no wave waits for it.
    OFFLINE = "offline"
    #: In: taken over from a rollout that has not finished with it.
    TAKEN = "taken"
    #: Out: it runs this model already.
    CURRENT = "current"
    #: Out: a person keeps it on another.
    PINNED = "pinned"
    #: Out: the model does not fit it.
    INCOMPATIBLE = "incompatible"
    #: Out: nothing is believed of it.
    QUARANTINED = "quarantined"
    #: Out: it does not report the deployment.
    NO_DEPLOYMENT = "no-deployment"


#: Standings of devices that the rollout asks.
IN = frozenset({Standing.READY, Standing.OFFLINE, Standing.TAKEN})


@dataclass(frozen=True, slots=True)
class Offer:
    """What is to be brought where."""

    deployment: str
    digest: str
    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class Placement:
    """One device that the selector means."""

    device: Candidate
    standing: Standing
    #: In words, why it is left out, or what is special; empty = nothing is.
    reason: str

    @property
    def is_in(self) -> bool:
        """Whether the rollout asks it."""
        return self.standing in IN


def survey(selector: Selector, offer: Offer, candidates: Sequence[Candidate], now: datetime) -> tuple[Placement, ...]:
    """How each device that the selector means stands: first those in it, in the order in which they are asked."""
    placed = [place(one, offer, now) for one in candidates if matches(selector, one)]
    return tuple(sorted(placed, key=lambda one: (not one.is_in, not one.device.online, one.device.id)))


def place(one: Candidate, offer: Offer, now: datetime) -> Placement:
    """How one device stands."""
    left_out = _left_out(one, offer, now)
    if left_out is not None:
        return left_out
    absent = "" if one.online else "offline: asked when it comes back"
    if one.taken_by is not None:
        taken = f"taken over from rollout {one.taken_by}"
        return Placement(one, Standing.TAKEN, f"{taken}; {absent}" if absent else taken)
    return Placement(one, Standing.READY if one.online else Standing.OFFLINE, absent)


def _left_out(one: Candidate, offer: Offer, now: datetime) -> Placement | None:
    """Of several reasons the first that a person would want to know."""
    if one.quarantined:
        return Placement(one, Standing.QUARANTINED, "two devices spoke in its name; edgeops devices release")
    if offer.deployment not in one.deployments or one.facts is None:
        return Placement(one, Standing.NO_DEPLOYMENT, _reports(one))
    if _runs_it(one, offer):
        return Placement(one, Standing.CURRENT, "it runs this model already")
    misfits = incompatibilities(offer.descriptor, one.facts, deployment=offer.deployment)
    if misfits:
        return Placement(one, Standing.INCOMPATIBLE, "; ".join(misfits))
    pin = forbidding(one.pins, offer.deployment, offer.digest, now)
    return None if pin is None else Placement(one, Standing.PINNED, str(pin))


def _runs_it(one: Candidate, offer: Offer) -> bool:
    """It does, and nobody wants anything else of it."""
    return (
        one.deployments[offer.deployment] == offer.digest
        and one.taken_by is None
        and one.desired in {None, offer.digest}
    )


def _reports(one: Candidate) -> str:
    if one.facts is None:
        return "it has not reported yet"
    names = ", ".join(sorted(one.deployments))
    return f"it reports {names}" if names else "it reports no deployment"
