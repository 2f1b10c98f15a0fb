"""What is wrong with one field of what somebody asks for; all of them are told at once, not only the first."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum


class Fault(StrEnum):
    """Which sort of wrong it is."""

    #: The value cannot be used.
    VALUE = "value"
    #: It names something that does not exist.
    UNKNOWN = "unknown"
    #: It names something whose present state does not allow it.
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Objection:
    """A field that cannot be used."""

    #: JSON pointer (RFC 6901) into what was asked for, as in `#/waves/1`.
    pointer: str
    #: What is wrong, with the value, and what to do.
    detail: str
    fault: Fault = Fault.VALUE


def guess(name: str, known: Sequence[str]) -> str:
    """What an unknown name may have been meant to be, in words that follow it; empty = nothing is near."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f", did you mean {near[0]}?" if near else ""


def segment(name: str) -> str:
    """A name as one part of a JSON pointer (RFC 6901, 3)."""
    return name.replace("~", "~0").replace("/", "~1")
