"""When somebody must be told that what a role signed is about to end.

Snapshot and timestamp, and targets where its key lies on the server, are signed again at half of their lives; what is
told of those is that this does not happen. What is signed offline needs a person, who is told in time.
"""

from datetime import datetime, timedelta

from edgeops import limits


def alert_stage(expires: datetime, *, life: timedelta, now: datetime) -> timedelta | None:
    """The shortest of EXPIRY_ALERTS that has begun, 0 once it has ended; None = nothing is to be told yet.

    Spans of half of the `life` or more say nothing: then it would have to be told always.
    """
    left = expires - now
    if left <= timedelta(0):
        return timedelta(0)
    return min((span for span in limits.EXPIRY_ALERTS if span < life / 2 and left <= span), default=None)


def advice(role: str, model: str | None) -> str:
    """What to do about it."""
    if model is not None:
        return f"the server signs no more versions of {model} then; prolong it: edgeops key delegate {model}"
    match role:
        case "root":
            return "devices must know a newer root by then; where root keys are kept: edgeops key renew root --keys DIR"
        case "targets":
            return "devices install nothing new then; where targets keys are kept: edgeops key renew targets --keys DIR"
        case "ca":
            return "devices believe no server then; make the next CA in time: edgeops key ca renew"
        case _:
            return "the server signs this again by itself; that it did not says that its jobs process has trouble"
