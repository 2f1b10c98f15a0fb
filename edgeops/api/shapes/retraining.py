"""Retrainings and the policy of each model."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from edgeops import limits
from edgeops.api.shapes.rollouts import Waves
from edgeops.api.shapes.shape import Answer, Id, Plain, Remark, Request, Text


class RetrainingPolicy(Answer):
    """How one model is retrained."""

    #: propose (a person is asked), auto (it runs by itself), off.
    mode: str
    #: Labels asked for in one retraining; of them, the share drawn at random; the fewest that are learnt from.
    labels: int
    random_share: float
    min_labels: int
    #: Labels that are missing after this are not waited for.
    label_timeout: timedelta
    #: After a retraining ended, none fires for this long.
    cooldown: timedelta
    #: Retrainings in 7 days, and labels asked for in 30.
    retrainings_per_week: int
    labels_per_month: int
    #: So many labels that came by themselves fire; null = they never do.
    new_labels: int | None = None
    #: What a bought row weighs against one of the first training.
    label_weight: float
    #: Of the rollout; deployment null = the one where the drift was found.
    waves: tuple[str, ...]
    selector: str
    deployment: str | None = None
    #: What the rollout demands of its devices, as in a rollout.
    rollout_policy: dict[str, Any]
    seed: int
    #: Of If-Match: another one when any of the values above is; empty in a retraining, whose policy nobody changes.
    edition: str = ""


class RetrainingPolicyRequest(Request):
    """The policy that a model shall have; what is left out is the default. Durations are ISO 8601, as in `P1D`."""

    mode: Literal["propose", "auto", "off"] | None = None
    labels: int | None = None
    random_share: float | None = None
    min_labels: int | None = None
    label_timeout: timedelta | None = None
    cooldown: timedelta | None = None
    retrainings_per_week: int | None = None
    labels_per_month: int | None = None
    new_labels: int | None = None
    label_weight: float | None = None
    waves: Waves | None = None
    selector: Annotated[Text, StringConstraints(min_length=1, max_length=limits.MAX_SELECTOR_LENGTH)] | None = None
    deployment: Id | None = None
    rollout_policy: Plain | None = None
    seed: int | None = None


class RetrainingRequest(Request):
    """Retrain a model now, or approve what is proposed; null = as the policy says."""

    #: 0 = learn from the labels that are there.
    labels: Annotated[int, Field(ge=0, le=limits.MAX_NOMINEES)] | None = None
    random_share: Annotated[float, Field(ge=0, le=1)] | None = None
    #: Whose samples and labels are left out.
    without_devices: Annotated[tuple[Id, ...], Field(max_length=1000)] = ()
    #: Null: where drift was found, else where the champion runs.
    deployment: Id | None = None
    remark: Remark = ""


class NominationAnswer(Answer):
    """How far one device is with its nomination of samples."""

    id: str
    device_id: str
    #: How many it was asked for, and how many came.
    count: int
    samples: int
    asked_at: AwareDatetime
    answered_at: AwareDatetime | None = None
    #: Why there are fewer, in the device's words.
    detail: str = ""


class Retraining(Answer):
    """One firing of a trigger, and how far it came."""

    id: str
    model: str
    deployment: str
    #: The artifact that is to be healed.
    digest: str
    #: drift, labels or person.
    trigger: str
    evidence: dict[str, Any]
    #: run, propose or suppressed; of a suppressed one the rule; why, in words.
    decision: str
    cause: str = ""
    reason: str = ""
    #: As it was when the trigger fired, or a person approved.
    policy: RetrainingPolicy
    without_devices: tuple[str, ...] = ()
    state: str
    entered_at: AwareDatetime
    #: How it stands, or how it ended, in words.
    detail: str = ""
    labels_wanted: int = 0
    #: Samples in the label queue by state.
    queue: dict[str, int] = {}
    nominations: Annotated[
        tuple[NominationAnswer, ...] | None, Field(description="Null in lists, which leave them out.")
    ] = None
    job_id: str | None = None
    snapshot: str | None = None
    #: The version that came of it.
    version: int | None = None
    rollout_id: str | None = None
    created_by: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself or by a person."""
        return self.finished_at is not None
