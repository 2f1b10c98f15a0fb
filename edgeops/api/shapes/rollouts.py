"""Rollouts, their waves and installations."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from edgeops import limits
from edgeops.api.shapes.shape import Answer, Id, Request


class RolloutRequest(Request):
    """Bring one artifact to the devices a selector names, wave by wave."""

    model: Id
    version: Annotated[int, Field(ge=1, le=999_999_999)]
    variant: Literal["float32", "int8"] = "int8"
    deployment: Id
    #: A selector, as in `label.site=plant-1 and memory>=512MiB`.
    to: Annotated[str, StringConstraints(min_length=1, max_length=limits.MAX_SELECTOR_LENGTH)] = "all"
    #: Cumulative sizes, numbers of devices or percentages; or selectors.
    waves: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=limits.MAX_SELECTOR_LENGTH)], ...],
        Field(min_length=1, max_length=50),
    ] = (
        "1",
        "100%",
    )
    intent: Literal["improve", "heal"] = "improve"
    #: What it demands, as `edgeops.rollout.policy` names it; durations in ISO 8601 or seconds; the rest is default.
    policy: Annotated[dict[str, Any], Field(max_length=100)] = {}
    #: Goes on after its last wave with devices that join later.
    continuous: bool = False


class Wave(Answer):
    """One step of a rollout, with counters by outcome."""

    position: int
    size: int
    offered: int = 0
    committed: int = 0
    failed: int = 0
    inconclusive: int = 0
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    verdict: dict[str, Any] | None = None


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
    #: running, paused, finished, failed, aborted.
    state: str
    reason: str = ""
    #: Position of the wave that runs.
    wave: int
    revision: int
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
    offered_at: AwareDatetime | None = None
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None = None
