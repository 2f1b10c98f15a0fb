"""What one kind of evidence says, in figures and in words; and how figures are written."""

from enum import StrEnum

import msgspec

from edgeops.rollout.health.betting import Side


class Kind(StrEnum):
    """A kind of evidence, the strongest first."""

    #: What devices owe and did not send.
    TELEMETRY = "telemetry"
    #: How often new and old answer differently, and who is right.
    ANSWERS = "answers"
    #: Inputs without an answer.
    ERRORS = "errors"
    #: Starts of the agent that nobody asked for.
    CRASHES = "crashes"
    #: The time an answer takes.
    LATENCY = "latency"
    #: What the model takes while it runs.
    MEMORY = "memory"
    #: Readings that are missing.
    QUALITY = "quality"
    #: Classes that are answered more or less often.
    MIX = "mix"
    #: Accuracy estimated from confidences.
    ESTIMATE = "estimate"


class Sign(StrEnum):
    """What a finding says."""

    #: Proof that this much is well.
    GOOD = "good"
    #: Proof that it is not.
    BAD = "bad"
    #: Not enough to tell; the words say what is missing.
    OPEN = "open"
    #: Told, and decides nothing.
    TOLD = "told"


class HealthFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of evidence; stored with the verdict."""

    kind: Kind
    sign: Sign
    #: With figures, what they are compared with, and the limit.
    words: str
    #: The figure that was judged, what it was compared with, and what it may be; None = there is none.
    value: float | None = None
    against: float | None = None
    limit: float | None = None


def sign_of(side: Side) -> Sign:
    """Of a figure that shall not be high."""
    return {Side.ABOVE: Sign.BAD, Side.BELOW: Sign.GOOD, Side.UNKNOWN: Sign.OPEN}[side]


def percent(share: float) -> str:
    """A share, with as many digits as say something."""
    return f"{_plain(100 * share)} %"


def points(share: float) -> str:
    """A difference of two shares."""
    number = _plain(100 * share)
    return f"{number} point{'' if number == '1' else 's'}"


def ms(microseconds: float) -> str:
    """A time."""
    return f"{_plain(microseconds / 1000)} ms"


def counted(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _plain(number: float) -> str:
    """Two digits that count, three from 100 on."""
    return f"{number:.0f}" if abs(number) >= 10 else f"{number:.2g}"
