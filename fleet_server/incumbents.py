"""Which model a device ran before a rollout came, by what it reported last."""

from collections.abc import Iterable

from edgeops.protocol.messages import DeploymentState


def active_of(reported: Iterable[DeploymentState], deployment: str) -> str | None:
    """What a deployment runs; None = nothing, or the device does not have it."""
    return next((one.active for one in reported if one.deployment == deployment), None)


def incumbent_of(reported: Iterable[DeploymentState], deployment: str, digest: str) -> str | None:
    """What a deployment ran before it was asked to run `digest`, which it may run already."""
    for one in reported:
        if one.deployment == deployment:
            return one.previous if one.active == digest else one.active
    return None
