"""Rollouts, their waves and installations."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from edgeops import limits
from edgeops.api.shapes.shape import Answer, Id, Moment, Plain, Remark, Request, Text
from edgeops.artifact.manifest import Variant

#: Cumulative sizes, numbers of devices or percentages; or selectors.
Waves = Annotated[
    tuple[Annotated[Text, StringConstraints(max_length=limits.MAX_SELECTOR_LENGTH)], ...],
    Field(min_length=1, max_length=50),
]


class RolloutRequest(Request):
    """Bring one artifact to the devices a selector names, wave by wave."""

    model: Id
    version: Annotated[int, Field(ge=1, le=999_999_999)]
    variant: Variant = Variant.INT8
    deployment: Id
    #: A selector, as in `label.site=plant-1 and memory>=512MiB`.
    to: Annotated[Text, StringConstraints(min_length=1, max_length=limits.MAX_SELECTOR_LENGTH)] = "all"
    waves: Waves = ("1", "100%")
    intent: Literal["improve", "heal"] = "improve"
    #: What it demands, as `edgeops.rollout.policy` names it; durations in ISO 8601 or seconds; the rest is default.
    policy: Plain = {}
    #: Goes on after its last wave with devices that join later.
    continuous: bool = False
    #: Only written down; it begins when somebody submits it.
    draft: bool = False
    #: Begins when somebody approved it.
    needs_approval: bool = False
    #: Not before this.
    starts_at: Moment | None = None


class RolloutDecision(Request):
    """What a person says with an order to a rollout."""

    remark: Remark = ""


class RolloutAbort(RolloutDecision):
    """End it; `roll_back` = the model is taken back from every device that has it."""

    roll_back: bool = False


class RolloutUndo(RolloutDecision):
    """Bring what an earlier rollout brought to the devices that have the model."""

    #: The earlier one; null = the last that finished before, if all of them ran its model.
    to: Id | None = None
    waves: Waves = ("100%",)


class Freeze(Answer):
    """No device is asked for anything new."""

    by: str
    at: AwareDatetime
    remark: str = ""


class Freezing(Answer):
    """Whether devices are asked; null = they are."""

    freeze: Freeze | None = None


class EyesDemand(Answer):
    """Nobody approves a rollout that they began, or overrides a gate of it."""

    by: str
    at: AwareDatetime
    remark: str = ""


class FourEyes(Answer):
    """Whether four eyes are demanded; null = one person may begin and approve."""

    demand: EyesDemand | None = None


class Wave(Answer):
    """One step of a rollout, with counters by outcome."""

    position: int
    size: int
    offered: int = 0
    committed: int = 0
    failed: int = 0
    inconclusive: int = 0
    #: Had committed, and run something else.
    regressed: int = 0
    #: Who is in it, where a selector says so; empty = by number.
    selector: str = ""
    #: Held back as control until the bake before it is over.
    control: bool = False
    #: Since when it bakes, on the service clock.
    bakes_since: AwareDatetime | None = None
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    #: pass, fail, wait or override; the reason in words; the evidence.
    verdict: dict[str, Any] | None = None
    #: Who let it pass without proof, when and why.
    override: dict[str, Any] | None = None


class Rollout(Answer):
    """One artifact on its way to many devices."""

    id: str
    model: str
    version: int
    variant: str
    digest: str
    target: str
    deployment: str
    selector: str
    intent: str
    policy: dict[str, Any]
    #: The waves as somebody wrote them; what became of them is in `waves`.
    wanted_waves: tuple[str, ...] = ()
    #: draft, awaiting-approval, denied, scheduled, running, paused, aborted, rolling-back, rolled-back, finished,
    #: finished-with-regressions, failed, live.
    state: str
    reason: str = ""
    #: Position of the wave that runs.
    wave: int
    revision: int
    continuous: bool = False
    needs_approval: bool = False
    approved_by: str | None = None
    starts_at: AwareDatetime | None = None
    #: When it asked for the first time; of two rollouts of a deployment the one that began last is the newer one.
    began_at: AwareDatetime | None = None
    #: Until when it may stay in its state, on the service clock; null = a person decides, or it has ended.
    deadline_at: AwareDatetime | None = None
    #: The rollout that this one undoes.
    undoes: str | None = None
    #: What leads it out of its state, in words; empty = it has ended.
    waits_for: str = ""
    created_by: str
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    waves: tuple[Wave, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself or by a person."""
        return self.finished_at is not None


class Installation(Answer):
    """One deployment's part in a rollout."""

    id: str
    rollout_id: str
    wave: int
    device_id: str
    deployment: str
    digest: str
    state: str
    reason: str = ""
    detail: str = ""
    evidence: dict[str, Any] | None = None
    #: 1 = asked for the first time, or anew after a pin or quarantine.
    attempt: int = 1
    #: Not asked before this, on the service clock.
    not_before: AwareDatetime | None = None
    #: When something is due of it, on the service clock.
    deadline_at: AwareDatetime | None = None
    offered_at: AwareDatetime | None = None
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None = None
