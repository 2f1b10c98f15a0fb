"""How sure a mean is, however often and whenever somebody looks: tests by betting.

A gambler with capital 1 bets at each observation that the mean is above (or below) a border, and gains or loses
accordingly. If it is not, the capital exceeds 1 / alpha at any time with a chance of at most alpha (Ville 1939), so a
test that looks after every window raises no more false alarms than one that looks once. The bet is mixed over a grid of
stakes (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"); because no stake
depends on what came before, the capital depends on how often each value came alone, not on the order, and sums are all
that need be kept.

Needs observations within known bounds, each of which has, given those before it, the same mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from math import exp, inf, log, log1p

from edgeops.rollout.health.zone import Zone

#: Shares of the largest stake that no single observation can ruin.
_STAKES = tuple(0.95 * 0.5**power for power in range(9))
#: Halvings of the range in which a bound is looked for.
_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Observed:
    """How often each value came; all lie between `lowest` and `highest`."""

    counts: tuple[tuple[float, float], ...]
    lowest: float
    highest: float

    @property
    def total(self) -> float:
        """Observations."""
        return sum(count for _, count in self.counts)

    @property
    def mean(self) -> float:
        """Of the values; 0 of none."""
        total = self.total
        return sum(value * count for value, count in self.counts) / total if total else 0.0


class Side(Enum):
    """On which side of an indifferent zone a mean is."""

    BELOW = auto()
    ABOVE = auto()
    UNKNOWN = auto()


def share_of(part: float, whole: float) -> Observed:
    """`part` of `whole` observations were 1, the others 0."""
    return Observed(((1.0, part), (0.0, whole - part)), 0.0, 1.0)


def difference_of(more: float, less: float, whole: float) -> Observed:
    """`more` of `whole` observations were 1, `less` were -1, the others 0."""
    return Observed(((1.0, more), (-1.0, less), (0.0, whole - more - less)), -1.0, 1.0)


def evidence_above(observed: Observed, mean: float) -> float:
    """Logarithm of the capital of who bet that the mean is above this one."""
    return _capital([(value - mean, count) for value, count in observed.counts], mean - observed.lowest)


def evidence_below(observed: Observed, mean: float) -> float:
    """Logarithm of the capital of who bet that the mean is below this one."""
    return _capital([(mean - value, count) for value, count in observed.counts], observed.highest - mean)


def side_of(observed: Observed, zone: Zone, *, alpha: float, alpha_below: float | None = None) -> Side:
    """Whether the mean is above or below a zone.

    If it is at most `zone.low`, ABOVE is ever said with a chance of at most `alpha`; if it is at least `zone.high`,
    BELOW with one of at most `alpha_below` (None = the same). Within the zone either may be said, by the side of the
    limit that the mean of what was observed is on.
    """
    if observed.mean > zone.limit:
        return Side.ABOVE if is_certain(evidence_above(observed, zone.low), alpha) else Side.UNKNOWN
    certain = is_certain(evidence_below(observed, zone.high), alpha if alpha_below is None else alpha_below)
    return Side.BELOW if certain else Side.UNKNOWN


def is_certain(evidence: float, alpha: float) -> bool:
    """Whether so much was won that chance explains it less often than alpha."""
    return evidence >= -log(alpha)


def lower_bound(observed: Observed, alpha: float) -> float:
    """What the mean is at least; wrong at any time with a chance of at most alpha."""
    return _border(observed, observed.lowest, alpha, above=True)


def upper_bound(observed: Observed, alpha: float) -> float:
    """What the mean is at most; wrong at any time with a chance of at most alpha."""
    return _border(observed, observed.highest, alpha, above=False)


def _border(observed: Observed, far: float, alpha: float, *, above: bool) -> float:
    """Between the far end, which is always believed, and the mean, the last border that is not refuted."""
    evidence = evidence_above if above else evidence_below
    refuted, believed = far, observed.mean
    if not is_certain(evidence(observed, far), alpha):
        return far
    for _ in range(_HALVINGS):
        middle = (refuted + believed) / 2
        if is_certain(evidence(observed, middle), alpha):
            refuted = middle
        else:
            believed = middle
    return refuted


def _capital(gains: Sequence[tuple[float, float]], risk: float) -> float:
    """Logarithm of the mean capital over all stakes; `risk` is the most that one observation loses per stake."""
    if risk <= 0:
        return inf if any(gain > 0 and count > 0 for gain, count in gains) else 0.0
    capitals = [sum(count * log1p(stake / risk * gain) for gain, count in gains if count) for stake in _STAKES]
    highest = max(capitals)
    return highest + log(sum(exp(capital - highest) for capital in capitals) / len(capitals))
