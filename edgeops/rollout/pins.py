"""Pins: a person keeps a device, or one deployment of it, on the model it has; no rollout changes that.

It decides whether a pin is in the way. Where pins are kept, and what becomes of an offer that is under way, is the
server's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What one person decided about one device."""

    device_id: str
    #: None = every deployment of the device.
    deployment: str | None
    #: The only model it may be offered; None = it keeps what it runs and is offered nothing.
    digest: str | None
    reason: str
    pinned_by: str
    pinned_at: datetime
    #: It ends by itself; None = a person ends it.
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        """Whether it has not ended yet."""
        return self.until is None or now < self.until

    def concerns(self, deployment: str, now: datetime) -> bool:
        """Whether it keeps this deployment on anything."""
        return self.deployment in {None, deployment} and self.holds(now)

    def forbids(self, deployment: str, digest: str, now: datetime) -> bool:
        """Whether this model may not be offered to this deployment."""
        return self.concerns(deployment, now) and self.digest != digest

    def keeps(self, deployment: str, digest: str, now: datetime) -> bool:
        """Whether this model, which the deployment runs, may not be taken back from it by a rollout."""
        return self.concerns(deployment, now) and self.digest in {None, digest}

    def leaves(self, active: str | None) -> str:
        """In words, what it does not do: a pin to a model that does not run brings it nowhere. Empty = nothing."""
        if self.digest in {None, active}:
            return ""
        runs = "no model" if active is None else active[:19]
        return f"it runs {runs}, and a pin brings no model: begin a rollout of it"

    def __str__(self) -> str:
        """As people read it: to what, by whom, why, until when."""
        to = "what it runs" if self.digest is None else self.digest[:19]
        until = "" if self.until is None else f" until {self.until:%Y-%m-%d %H:%M} UTC"
        reason = f": {self.reason}" if self.reason else ""
        return f"pinned to {to} by {self.pinned_by}{until}{reason}"


def changed(pins: Iterable[Pin], changes: Mapping[str | None, Pin | None]) -> tuple[Pin, ...]:
    """The pins of a device once those of some deployments are others, or (None) no more."""
    after = {**{pin.deployment: pin for pin in pins}, **changes}
    return tuple(pin for _, pin in sorted(after.items(), key=lambda one: one[0] or "") if pin is not None)


def forbidding(pins: Iterable[Pin], deployment: str, digest: str, now: datetime) -> Pin | None:
    """The first pin of a device that forbids a model on a deployment; None = none does."""
    return next((pin for pin in pins if pin.forbids(deployment, digest, now)), None)
