"""A device as far as choosing it for a rollout needs it: what it is, what it said of itself, what stands in the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeops.protocol.messages import DeviceFacts
from edgeops.rollout.pins import Pin


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An enrolled device, and one deployment of it that a rollout is about."""

    id: str
    name: str
    online: bool
    #: What people of the server say of it and, where they say nothing, what its owner says.
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Deployments that the device reports, with the digest that each runs; None = no model.
    deployments: Mapping[str, str | None] = field(default_factory=dict)
    #: None = it has not reported yet.
    facts: DeviceFacts | None = None
    agent_version: str = ""
    #: Two spoke in its name; nothing is believed of it.
    quarantined: bool = False
    pins: tuple[Pin, ...] = ()
    #: The rollout that has not finished with the deployment.
    taken_by: str | None = None
    #: What the deployment shall run, where somebody said so.
    desired: str | None = None

    @property
    def sensors(self) -> frozenset[str]:
        """What it senses with: the columns that its sources offer."""
        found = {} if self.facts is None else self.facts.sensors
        return frozenset(name for names in found.values() for name in names)
