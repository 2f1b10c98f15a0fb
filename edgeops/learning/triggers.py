"""When a model is retrained: what fired, what the policy of the model allows, and why not.

Every firing is written down, also one that comes to nothing; one that stands and fails for the same reason
again is not news. It decides and keeps nothing: the rows are the server's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Annotated

import msgspec

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.errors import InputError
from edgeops.learning.retraining import OPEN, RetrainingState
from edgeops.protocol.messages import Id
from edgeops.rollout.policy import Policy
from edgeops.rollout.selector import parse_selector
from edgeops.rollout.terms import read_terms
from edgeops.rollout.waves import DEFAULT_WAVES, WaveSpec, parse_waves

#: Over which budgets count.
RETRAININGS_PERIOD = timedelta(days=7)
LABELS_PERIOD = timedelta(days=30)

_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Labels = Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_NOMINEES)]


class Mode(StrEnum):
    """What happens when a trigger fires."""

    #: A person is asked.
    PROPOSE = "propose"
    #: It runs; with a delegated key the model is signed and rolled out without a person.
    AUTO = "auto"
    #: Nothing; the firing is written down.
    OFF = "off"


class RetrainPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one model is retrained."""

    mode: Mode = Mode.PROPOSE
    #: Labels asked for in one retraining; of them, the share drawn at random; the fewest that are learnt from.
    labels: _Labels = 30
    random_share: _Share = 0.2
    min_labels: _Labels = 10
    #: Labels that are missing after this are not waited for.
    label_timeout: timedelta = timedelta(days=7)
    #: After a retraining ended, none fires for this long.
    cooldown: timedelta = timedelta(days=1)
    #: Retrainings in 7 days, and labels asked for in 30.
    retrainings_per_week: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 7
    labels_per_month: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 1_000
    #: So many labels that came by themselves fire; None = they never do.
    new_labels: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    #: What a bought row weighs against one of the first training.
    label_weight: Annotated[float, msgspec.Meta(gt=0.0, le=1_000.0)] = 5.0
    #: Of the rollout; deployment None = the one where the drift was found.
    waves: tuple[str, ...] = DEFAULT_WAVES
    selector: str = "all"
    deployment: Id | None = None
    #: What the rollout demands of its devices.
    rollout_policy: Policy = Policy()
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0


#: Where msgspec says that a value is wrong: a field, or an item of one.
_FIELD = re.compile(r"`\$\.([a-z_]+)(?:\[(\d+)\])?")


def read_policy(values: object) -> RetrainPolicy:
    """A policy from plain values (durations in ISO 8601 or seconds); what is not named is the default.

    Raises:
        InputError: a value is out of its bounds, or contradicts another.
    """
    of_rollout: object = {}
    if isinstance(values, Mapping):
        of_rollout = values.get("rollout_policy", {})
        values = {name: value for name, value in values.items() if name != "rollout_policy"}
    try:
        policy = msgspec.convert(values, RetrainPolicy, strict=False)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        field = "" if found is None else "/".join(filter(None, found.groups()))
        raise _refusal(field, f"not a retraining policy: {error}") from error
    policy = msgspec.structs.replace(policy, rollout_policy=_terms(of_rollout))
    for number, wave in enumerate(policy.waves):
        _require_readable(f"waves/{number}", partial(parse_waves, [wave]))
    _require_readable("waves", lambda: _require_all_devices(policy.waves))
    _require_readable("selector", lambda: parse_selector(policy.selector))
    if policy.label_timeout <= timedelta(0):
        raise _refusal("label_timeout", "label_timeout must be longer than nothing")
    if policy.cooldown < timedelta(0):
        raise _refusal("cooldown", "cooldown must not be negative")
    return policy


def _require_readable(field: str, read: Callable[[], object]) -> None:
    try:
        read()
    except InputError as error:
        raise _refusal(field, str(error)) from error


def _refusal(field: str, words: str) -> InputError:
    """The error for one field of a policy; empty = for all of it."""
    return InputError(words, fields=[(f"#/{field}".removesuffix("/"), words)])


def _terms(values: object) -> Policy:
    if not isinstance(values, Mapping):
        words = f"not a retraining policy: rollout_policy is a table of values, not {values!r:.60}"
        raise _refusal("rollout_policy", words)
    terms, objections = read_terms(values)
    if objections:
        wrong = [(one.pointer.replace("#/policy", "rollout_policy"), one.detail) for one in objections]
        raise InputError(
            f"not a retraining policy: {'; '.join(f'{place}: {detail}' for place, detail in wrong)}",
            fields=[(f"#/{place}", detail) for place, detail in wrong],
        )
    return terms


def _require_all_devices(waves: Sequence[str]) -> None:
    """How many devices there will be is not known yet, and no healing is to fail when its labels were bought."""
    specs = parse_waves(waves)
    if str(specs[-1]) != "100%":
        raise InputError(f"the waves end at {specs[-1]}, not at 100%: every device is to be healed; add 100%")
    for same in (True, False):
        amounts = [spec.amount for spec in specs if isinstance(spec, WaveSpec) and spec.percent is same]
        if amounts != sorted(amounts):
            raise InputError(f"waves are cumulative and must grow, not {', '.join(map(str, specs))}")


# -- what fires ---------------------------------------------------------------------------


class TriggerKind(StrEnum):
    """What fired."""

    #: A verdict of drift.
    DRIFT = "drift"
    #: Enough labels came by themselves.
    LABELS = "labels"
    #: Somebody wants it.
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One firing."""

    kind: TriggerKind
    #: The model that answers now, and where.
    digest: str
    deployment: str
    #: In words: what the firing stands on.
    why: str
    #: Of drift: the finding, and the one device that differs from its siblings; empty = the fleet.
    finding: str | None = None
    device_id: str = ""
    #: Of drift: data quality is part of what was found; another mix of answers is all that was.
    bad_quality: bool = False
    class_mix_only: bool = False
    #: Of the model.
    task: Task = Task.CLASSIFICATION


class Answer(StrEnum):
    """What is decided on a firing."""

    #: Retrain.
    RUN = "run"
    #: Ask a person.
    PROPOSE = "propose"
    #: Do nothing, for a cause.
    SUPPRESSED = "suppressed"


class Cause(StrEnum):
    """Which rule suppressed a firing; machine-readable, the reason is for people."""

    #: None did.
    NONE = ""
    #: The model is no classifier, and only those learn from bought labels.
    TASK = "task"
    #: The policy says off.
    OFF = "off"
    #: One device differs from its siblings: that is no reason to change the fleet.
    LOCAL = "local"
    #: Readings are missing, stuck or out of range: a person looks at sensors first.
    DATA_QUALITY = "data-quality"
    #: Answers come in another mix and nothing else has changed: the model is as right as before.
    CLASS_MIX = "class-mix"
    #: A retraining of the model has not ended.
    IN_PROGRESS = "in-progress"
    #: The last one ended a short while ago.
    COOLDOWN = "cooldown"
    #: Enough retrainings, or enough labels, for now.
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about a firing, and why, in words."""

    answer: Answer
    reason: str
    cause: Cause = Cause.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An earlier firing of a trigger of the same model."""

    id: str
    kind: TriggerKind
    digest: str
    deployment: str
    finding: str | None
    device_id: str
    answer: Answer
    cause: Cause
    state: RetrainingState
    labels: int
    created_at: datetime
    finished_at: datetime | None


def decide(trigger: Trigger, policy: RetrainPolicy, history: Sequence[Past], now: datetime) -> Decision:
    """What is done about a firing; `history` holds the model's earlier ones of 30 days, and all that are open."""
    cause, reason = _objection(trigger, policy, history, now)
    if cause is not Cause.NONE:
        return Decision(Answer.SUPPRESSED, reason, cause)
    if trigger.kind is TriggerKind.PERSON or policy.mode is Mode.AUTO:
        return Decision(Answer.RUN, trigger.why)
    return Decision(Answer.PROPOSE, f"{trigger.why}; the policy asks a person first")


def is_news(trigger: Trigger, decision: Decision, history: Sequence[Past]) -> bool:
    """Whether a decision is written down.

    Not news is a finding whose retraining goes on, and the same suppression of what has stood since the last firing
    that was not suppressed.
    """
    if trigger.finding is not None and any(one.finding == trigger.finding and one.state in OPEN for one in history):
        return False
    if decision.answer is not Answer.SUPPRESSED:
        return True
    since = max((one.id for one in history if one.answer is not Answer.SUPPRESSED), default="")
    same = (trigger.kind, trigger.digest, trigger.deployment, trigger.device_id, decision.cause)
    return not any(
        (one.kind, one.digest, one.deployment, one.device_id, one.cause) == same and one.id > since for one in history
    )


def _objection(trigger: Trigger, policy: RetrainPolicy, history: Sequence[Past], now: datetime) -> tuple[Cause, str]:
    """The first rule that forbids it, in the order in which a person would want to hear of them."""
    going = next((one for one in history if one.state in OPEN), None)
    if trigger.kind is TriggerKind.PERSON:
        # Whoever asks has looked; only two at once are impossible.
        return (Cause.NONE, "") if going is None else (Cause.IN_PROGRESS, f"{going.id} is {going.state}")
    fired = [one for one in history if one.answer is not Answer.SUPPRESSED]
    ended = max((one.finished_at for one in fired if one.finished_at is not None), default=None)
    rules = (
        (trigger.bad_quality, Cause.DATA_QUALITY, "readings are missing, stuck or out of range; look at the sensors"),
        (bool(trigger.device_id), Cause.LOCAL, f"{trigger.device_id} alone differs from its siblings; look at it"),
        (
            trigger.task is not Task.CLASSIFICATION,
            Cause.TASK,
            f"a {trigger.task} learns from newer rows: edgeops train",
        ),
        (trigger.class_mix_only, Cause.CLASS_MIX, "answers come in another mix, which needs no other model"),
        (policy.mode is Mode.OFF, Cause.OFF, "the policy is off"),
        (going is not None, Cause.IN_PROGRESS, f"{going.id if going else ''} has not ended"),
        (
            ended is not None and now - ended < policy.cooldown,
            Cause.COOLDOWN,
            f"the last retraining ended {ended:%Y-%m-%d %H:%M} UTC, too short ago" if ended else "",
        ),
        (True, *_over_budget(trigger, policy, fired, now)),
    )
    return next((cause, f"{trigger.why}: {words}") for holds, cause, words in rules if holds)


def _over_budget(trigger: Trigger, policy: RetrainPolicy, fired: Sequence[Past], now: datetime) -> tuple[Cause, str]:
    runs = [one for one in fired if one.answer is Answer.RUN]
    lately = sum(one.created_at > now - RETRAININGS_PERIOD for one in runs)
    if lately >= policy.retrainings_per_week:
        return Cause.BUDGET, f"{lately} retrainings in 7 days are all that the policy allows"
    asked = sum(one.labels for one in runs if one.created_at > now - LABELS_PERIOD)
    wanted = policy.labels if trigger.kind is TriggerKind.DRIFT else 0
    if asked + wanted > policy.labels_per_month:
        return Cause.BUDGET, f"{asked} labels were asked for in 30 days, {policy.labels_per_month} are allowed"
    return Cause.NONE, ""
