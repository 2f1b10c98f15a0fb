"""What devices of a rollout are told to show of themselves: a shadow beside the new model, windows that close early.

It ends by itself, so that a server that went away leaves nothing running for ever; the server renews it while it needs
more.
"""

from datetime import datetime, timedelta

from edgeops import limits
from edgeops.protocol.messages import Shadowing
from edgeops.rollout.policy import Policy

_MS = timedelta(milliseconds=1)
#: Of a bake, the part at its end in which each device must be heard.
_LAST_PART = 1 / 4


def of_asked(policy: Policy) -> Shadowing:
    """Of a device that is offered the model: the trial, the bake, and as long as evidence is waited for."""
    return Shadowing(
        share=policy.shadow_share,
        cpu=policy.shadow_cpu,
        for_ms=_lasts(policy) // _MS,
        window_ms=_window(policy) // _MS,
    )


def of_control(policy: Policy) -> Shadowing:
    """Of a device that is held back: no second model, and windows as short as those that it is compared with."""
    return Shadowing(share=0.0, cpu=0.0, for_ms=_lasts(policy) // _MS, window_ms=_window(policy) // _MS)


def is_to_be_renewed(shadowing: Shadowing, told_at: datetime, now: datetime) -> bool:
    """Whether it is told again although nothing changed: most of its time is over, and it is needed still."""
    return now - told_at >= shadowing.for_ms * _MS * 3 / 4


def owed_since(policy: Policy, baked_at: datetime) -> datetime:
    """After what moment each device must have closed a window that shows how it was at the end of a bake.

    Windows close early while it bakes, so whoever sends at all has one.
    """
    return baked_at - max(policy.bake * _LAST_PART, 2 * _window(policy))


def _lasts(policy: Policy) -> timedelta:
    """A rollout that pauses goes on needing it: what ends at once would be told again each time somebody looks."""
    return max(policy.bake + policy.evidence_timeout, limits.SHORTEST_SHADOWING)


def _window(policy: Policy) -> timedelta:
    return min(max(policy.bake / limits.BAKE_WINDOWS, limits.SHORT_WINDOW), limits.LONGEST_BAKE_WINDOW)
