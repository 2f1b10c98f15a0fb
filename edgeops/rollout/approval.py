"""Who may say yes to a rollout, or go past its health gate.

A rule over names: what a token may do at all is in `edgeops.api.roles`. Two tokens of one name are one person.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotYours:
    """Four eyes are demanded, and these are the two that began it."""

    reason: str


def awaits_approval(created_by: str, approved_by: str | None, *, demanded: bool, four_eyes: bool) -> bool:
    """Whether somebody has to say yes before a rollout begins; `demanded` = by its own order.

    Four eyes make void what somebody said yes to that they began.
    """
    if approved_by is None:
        return demanded or four_eyes
    return judge_approval(created_by, approved_by, four_eyes=four_eyes) is not None


def judge_approval(created_by: str, approved_by: str, *, four_eyes: bool) -> NotYours | None:
    """Whether `approved_by` may approve what `created_by` began, or override a gate of it; None = yes.

    To deny, pause or abort is open to whoever began it: that makes nothing spread.
    """
    if four_eyes and created_by == approved_by:
        return NotYours(f"four eyes: {created_by} began it, so somebody else has to approve it or override its gate")
    return None
