"""Which devices are meant: groups, pins, labels, and what a rollout would do with each device."""

from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from edgeops import limits
from edgeops.api.shapes.rollouts import RolloutRequest
from edgeops.api.shapes.shape import Answer, Digest, FieldProblem, Id, Moment, Remark, Request, Text

_Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,63}$")]
_LabelValue = Annotated[Text, StringConstraints(max_length=limits.MAX_LABEL_LENGTH)]
SelectorText = Annotated[Text, StringConstraints(min_length=1, max_length=limits.MAX_SELECTOR_LENGTH)]


class GroupRequest(Request):
    """Who is in a group: those that a selector means, or a list."""

    selector: SelectorText | None = None
    device_ids: Annotated[tuple[Id, ...] | None, Field(max_length=limits.MAX_GROUP_DEVICES)] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "GroupRequest":
        if (self.selector is None) == (self.device_ids is None):
            raise ValueError("give a selector or device_ids, not both")
        return self


class Group(Answer):
    """Devices under a name."""

    name: str
    #: Null = the devices that are listed.
    selector: str | None = None
    device_ids: tuple[str, ...] = ()
    #: Who is in it now; left out in lists.
    members: tuple[str, ...] | None = None
    revision: int
    updated_by: str
    updated_at: AwareDatetime


class PinRequest(Request):
    """Keep a device, or one deployment of it, on one model."""

    #: Null = every deployment of the device.
    deployment: Id | None = None
    #: The only artifact that it may be offered, by digest; null = it keeps what it runs.
    digest: Digest | None = None
    reason: Remark = ""
    #: The pin ends by itself then.
    until: Moment | None = None


class Pin(Answer):
    """Who keeps which device on what."""

    device_id: str
    deployment: str | None = None
    digest: str | None = None
    reason: str = ""
    pinned_by: str
    pinned_at: AwareDatetime
    until: AwareDatetime | None = None
    #: What `If-Match` demands of who changes only what they saw.
    edition: str = ""
    #: What it leaves undone, in words, when it is set; empty = nothing, or it was set before.
    warning: str = ""


class DeviceLabelsRequest(Request):
    """Labels that a device shall have, and those that it shall not."""

    set: Annotated[dict[_Label, _LabelValue], Field(max_length=limits.MAX_LABELS)] = {}
    remove: Annotated[tuple[_Label, ...], Field(max_length=limits.MAX_LABELS)] = ()


class Placement(Answer):
    """One device that a selector means, and how it stands to the rollout."""

    device_id: str
    name: str
    online: bool
    #: ready, offline, taken (all in); current, pinned, incompatible, quarantined, no-deployment (left out).
    standing: str
    reason: str = ""
    #: Position of its wave; null = left out, or the waves do not add up.
    wave: int | None = None
    #: Held back as control until the last bake ends.
    control: bool = False


class Hindrance(Answer):
    """One cause that holds a deployment."""

    #: A `Cause` of `edgeops.rollout.hindrance`; `none` = it runs what it should.
    cause: str
    words: str
    #: When it ends by itself; null = that is not known.
    until: AwareDatetime | None = None


class DeploymentWhy(Answer):
    """Why one deployment does not turn to another model now."""

    deployment: str
    active: str | None = None
    desired: str | None = None
    #: The rollout that its newest part belongs to.
    rollout_id: str | None = None
    #: Never empty; the one that decides first.
    hindrances: tuple[Hindrance, ...]


class Why(Answer):
    """What holds a device, deployment by deployment."""

    device_id: str
    deployments: tuple[DeploymentWhy, ...]


class PlannedWave(Answer):
    """One wave as it would be."""

    position: int
    size: int
    selector: str = ""
    control: bool = False


class PinToBe(PinRequest):
    """A pin that is to be there, or to be gone, by the time a rollout begins."""

    device_id: Id
    removed: bool = False


class RolloutPreviewRequest(RolloutRequest):
    """The same as to create it, and groups and pins as they are to be by then; others are as they are."""

    groups: Annotated[
        dict[Annotated[Text, StringConstraints(max_length=limits.MAX_SELECTOR_LENGTH)], GroupRequest],
        Field(max_length=limits.MAX_GROUPS),
    ] = {}
    pins: Annotated[tuple[PinToBe, ...], Field(max_length=limits.MAX_PREVIEWED_PINS)] = ()


class RolloutPreview(Answer):
    """What a rollout would do now; with a problem none could begin."""

    #: Devices that the selector means, and those of them that would be asked.
    matched: int
    asked: int
    #: Devices by standing.
    totals: dict[str, int]
    waves: tuple[PlannedWave, ...]
    problems: tuple[FieldProblem, ...] = ()
    #: A part of the devices: those in it first, in the order in which they would be asked.
    items: tuple[Placement, ...]
    next: str | None = None
