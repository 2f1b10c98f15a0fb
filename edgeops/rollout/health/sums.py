"""Adds and subtracts values whose fields all add up: whole numbers, counts by position, spreads, and such values.

Counts by position that are all 0 are the empty ones, so that a sum without its parts is what it was.
"""

from typing import TypeVar

import msgspec

from edgeops.rollout.health.spread import Spread
from edgeops.rollout.health.spread import combined as combined_spread

_T = TypeVar("_T", bound=msgspec.Struct)


def plus(first: _T, second: _T) -> _T:
    """The sum, field by field; exact, in any order."""
    return _combined(first, second, 1)


def minus(first: _T, second: _T) -> _T:
    """What is left of a sum when a part that is in it is taken out."""
    return _combined(first, second, -1)


def _combined(first: _T, second: _T, sign: int) -> _T:
    names = first.__struct_fields__
    return type(first)(**{name: _field(getattr(first, name), getattr(second, name), sign) for name in names})


def _field(first: object, second: object, sign: int) -> object:
    if isinstance(first, int) and isinstance(second, int):
        return first + sign * second
    if isinstance(first, tuple) and isinstance(second, tuple):
        width = max(len(first), len(second))
        padded = zip(first + (0,) * (width - len(first)), second + (0,) * (width - len(second)), strict=True)
        counts = tuple(one + sign * other for one, other in padded)
        return counts if any(counts) else ()
    if isinstance(first, Spread) and isinstance(second, Spread):
        return combined_spread(first, second, sign=sign)
    assert isinstance(first, msgspec.Struct), f"{type(first).__name__} does not add up"
    assert isinstance(second, msgspec.Struct), f"{type(second).__name__} does not add up"
    return _combined(first, second, sign)
