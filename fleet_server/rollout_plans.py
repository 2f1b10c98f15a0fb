"""Puts an order before the fleet as it is now: what creating a rollout and previewing it have in common.

It reads, inside the caller's transaction, and changes nothing. What an order becomes is decided in
`edgeops.rollout.order`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NoReturn

from edgeops.errors import ConflictError, InputError, NotFoundError
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.objection import Fault, Objection
from edgeops.rollout.order import Plan, Wanted, plan
from edgeops.rollout.pins import Pin, changed
from edgeops.rollout.policy import Policy
from edgeops.rollout.selector import Selector
from edgeops.rollout.targeting import Offer
from fleet_server.db import candidates, groups, models
from fleet_server.db.database import Connection
from fleet_server.db.models import Artifact, Standing

#: Of the candidates; a selector.
_EVERYBODY = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A rollout as somebody asks for it."""

    model: str
    version: int
    variant: str
    deployment: str
    selector: str
    waves: Sequence[str]
    intent: str
    created_by: str
    #: Plain values, or one that is decided already.
    policy: Mapping[str, object] | Policy = field(default_factory=dict)
    #: Goes on with devices that join later.
    continuous: bool = False
    #: Not begun before somebody submits it, or approves it, or its time has come.
    draft: bool = False
    needs_approval: bool = False
    starts_at: datetime | None = None
    #: These devices and no others, whoever the selector means by now: it is kept as text. None = those that it means.
    only: frozenset[str] | None = None
    #: The rollout that this one undoes.
    undoes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToBe:
    """What will be another by the time an order is given."""

    groups: Mapping[str, Selector] = field(default_factory=dict)
    #: By device and deployment; None = there is none any more.
    pins: Mapping[str, Mapping[str | None, Pin | None]] = field(default_factory=dict)


_AS_IT_IS = ToBe()


@dataclass(frozen=True, slots=True)
class Planned:
    """What an order becomes now, and of what; without the artifact nothing is started."""

    artifact: Artifact | None
    plan: Plan
    objections: tuple[Objection, ...]

    def refuse(self) -> NoReturn:
        """Tell all that is wrong.

        Raises:
            InputError, NotFoundError, ConflictError: with every field that is to blame.
        """
        _refuse(self.objections)


def plan_rollout(connection: Connection, order: Order, now: datetime, *, to_be: ToBe = _AS_IT_IS) -> Planned:
    """What the order becomes as the fleet is now but for what is `to_be`, with everything that is wrong with it."""
    artifact, wrong = _artifact(connection, order.model, order.version, order.variant)
    offer = None if artifact is None else Offer(order.deployment, artifact.digest, artifact.describe())
    wanted = Wanted(
        deployment=order.deployment,
        selector=order.selector if order.only is None else _EVERYBODY,
        waves=order.waves,
        intent=order.intent,
        policy=order.policy,
    )
    found = plan(
        wanted,
        offer,
        _candidates(connection, order, to_be),
        groups={**groups.selectors(connection), **to_be.groups},
        now=now,
    )
    return Planned(artifact, found, (*wrong, *found.objections))


def _candidates(connection: Connection, order: Order, to_be: ToBe) -> list[Candidate]:
    return [
        replace(one, pins=changed(one.pins, to_be.pins[one.id])) if one.id in to_be.pins else one
        for one in candidates.of_fleet(connection, order.deployment)
        if order.only is None or one.id in order.only
    ]


def listed_artifact(connection: Connection, model: str, version: int, variant: str) -> Artifact:
    """A published artifact.

    Raises:
        NotFoundError, ConflictError: there is none, or devices may not run it; with the field that is to blame.
    """
    artifact, wrong = _artifact(connection, model, version, variant)
    if artifact is None or wrong:
        _refuse(wrong)
    return artifact


def _refuse(objections: Sequence[Objection]) -> NoReturn:
    told = [(one.pointer, one.detail) for one in objections]
    text = "; ".join(one.detail for one in objections)
    faults = {one.fault for one in objections}
    if Fault.VALUE in faults:
        raise InputError(text, fields=told)
    if Fault.UNKNOWN in faults:
        raise NotFoundError(text, fields=told)
    raise ConflictError(text, fields=told)


def _artifact(
    connection: Connection, model: str, version: int, variant: str
) -> tuple[Artifact | None, tuple[Objection, ...]]:
    """The artifact that devices shall run or try, and why they cannot."""
    if models.get(connection, model) is None:
        known = ", ".join(one.name for one in models.page(connection, None, 20)) or "none yet"
        words = f"no model {model[:80]!r}; known models: {known}"
        return None, (Objection("#/model", words, Fault.UNKNOWN),)
    variants = models.list_artifacts(connection, model, version)
    if not variants:
        known = ", ".join(str(one.version) for one in models.list_versions(connection, model)) or "none yet"
        words = f"model {model!r} has no version {version}; known versions: {known}"
        return None, (Objection("#/version", words, Fault.UNKNOWN),)
    artifact = next((one for one in variants if one.variant == variant), None)
    reference = f"{model}@{version}"
    if artifact is None:
        known = ", ".join(one.variant for one in variants)
        words = f"{reference} has no variant {variant[:40]!r}; there are: {known}"
        return None, (Objection("#/variant", words, Fault.UNKNOWN),)
    return artifact, _unpublished(artifact, reference, variants)


def _unpublished(artifact: Artifact, reference: str, variants: Sequence[Artifact]) -> tuple[Objection, ...]:
    if artifact.is_published:
        return ()
    if artifact.standing is Standing.AWAITING_SIGNATURE:
        words = f"{reference} {artifact.variant} awaits its signature: edgeops model sign {reference} --keys DIR"
    else:
        what = "was withdrawn" if artifact.withdrawn_at else "is not published"
        words = (
            f"{reference} {artifact.variant} {what}, so no device would run it; publish it with:"
            f" edgeops publish {reference}"
        )
        if published := [one.variant for one in variants if one.is_published]:
            words += f"; or roll out what is: --variant {' or '.join(published)}"
    return (Objection("#/version", words, Fault.STATE),)
