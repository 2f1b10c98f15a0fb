"""What the promotion gate of a model tolerates: limits that people set, each with a default.

How much may be lost is a policy; what counts as luck is not, and stands beside the rules. Shares are of 1: a point is
0.01. Of a regression a share is one of skill: of what always answering the median of the training rows errs by.
"""

import math
import re
from typing import Annotated

import msgspec

from edgeops.errors import InputError

_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class PromotionPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one model's rules; None = the figure is told, and nothing fails because of it."""

    #: Accuracy that a classifier must have, and the mean error that a regression may make, in its units.
    least_accuracy: _Share | None = None
    most_error: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    #: What may be lost against the champion on the same rows although it is certain that it is: what a world that is
    #: gone may cost, and the margin of non-inferiority. More is a failure if it is significant ...
    tolerated_loss: _Share = 0.01
    #: ... and this much in any case: a small set proves nothing, but two rows of thirty are no accident to ship on.
    hard_loss: _Share = 0.05
    #: What a class, or a fifth of the numbers, may lose against the champion although it is certain that it does.
    slice_loss: _Share = 0.10
    #: What quantizing may cost: the loss itself, or what it is at most with 95 % certainty.
    quantization_loss: _Share = 0.01
    quantization_bound: _Share = 0.02
    #: Of a detector: rows that are an alarm of this file or of its unquantized sibling, but not of both.
    quantization_changes: _Share = 0.02
    #: Of a detector: normal rows that may be alarms. Beyond it nobody listens any more.
    false_alarms: _Share = 0.30
    #: How far confidence may certainly be from the share of right answers, in the mean.
    calibration_error: _Share = 0.15
    #: What one group of rows (a device, a person, a site) may certainly lose against all rows together.
    group_loss: _Share | None = None
    #: What may be lost when one input column is missing or stuck.
    channel_loss: _Share | None = None


#: Where msgspec says that a value is wrong.
_FIELD = re.compile(r"`\$\.([a-z_]+)`")


def read_promotion_policy(values: object) -> PromotionPolicy:
    """A policy from plain values; what is not named is the default.

    Raises:
        InputError: a value is none, out of its bounds, or contradicts another.
    """
    try:
        policy = msgspec.convert(values, PromotionPolicy)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        raise _refusal("" if found is None else found[1], f"not a promotion policy: {error}") from error
    for name in PromotionPolicy.__struct_fields__:
        value = getattr(policy, name)
        if value is not None and not math.isfinite(value):
            raise _refusal(name, f"{name} is {value}; give a number")
    if policy.hard_loss < policy.tolerated_loss:
        raise _refusal(
            "hard_loss", f"hard_loss {policy.hard_loss:g} is below tolerated_loss {policy.tolerated_loss:g}; raise it"
        )
    return policy


def _refusal(field: str, detail: str) -> InputError:
    return InputError(detail, fields=[(f"#/{field}", detail)])
