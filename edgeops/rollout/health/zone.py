"""Around each limit of a policy a zone: a model below it is healthy, one above it is not, and within it either is said.

Without a zone a model that is exactly as bad as the limit could never be judged, however long one looks.
"""

from dataclasses import dataclass

from edgeops.rollout.policy import HealthPolicy


@dataclass(frozen=True, slots=True)
class Zone:
    """What is well within a limit, the limit, and what is well beyond."""

    low: float
    limit: float
    high: float


def loss_zone(policy: HealthPolicy) -> Zone:
    """Of the accuracy: two models trained alike differ by chance, so nobody is stopped for two fifths of the limit."""
    return Zone(0.4 * policy.max_loss, policy.max_loss, 2 * policy.max_loss)


def error_zone(policy: HealthPolicy) -> Zone:
    """Of the share of inputs that end in an error."""
    return Zone(0.0, policy.max_error_rise, 2 * policy.max_error_rise)


#: Of the windows that take longer than the limit allows: most, or fewer than half.
MOST = Zone(0.5, 0.5, 0.5)
