"""What the promotion gates of all tasks have in common: rulings, and the rule that a file keeps its budgets.

A gate says whether one variant of a new version may be signed without a person, and why. It is a list of rules, each a
pure function of a candidate, which is all that is known about that variant; `classification_promotion` and
`regression_promotion` have one each. All judgements are answers of a file through `Model.predict`, the way a device
answers, to rows that the file never learnt from; where that is not so, a rule says it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgeops import limits
from edgeops.artifact.manifest import Budgets, Promotion

#: What may be lost against the champion on the frozen evaluation set although it is certain that it is: what a world
#: that is gone may cost, and the margin of non-inferiority. Points of accuracy, or of skill. More is a failure if it is
#: significant ...
TOLERATED_LOSS = 0.01
#: ... and this much in any case: a small set proves nothing, but two rows of thirty are no accident to ship on.
HARD_LOSS = 0.05
#: What quantizing may cost: the loss itself, or what it is at most with 95 % certainty.
QUANTIZATION_LOSS = 0.01
QUANTIZATION_BOUND = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the file costs where it was built."""

    size_bytes: int
    memory_bytes: int
    p95_latency_ms: float


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule says."""

    passed: bool
    #: Figures, what they are compared with, and where it failed what to do.
    reason: str

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'failed'}: {self.reason}"


def sum_up(rulings: Sequence[Ruling], *, unseen_rows: int) -> Promotion:
    """A candidate passes if it passes every rule."""
    return Promotion(
        passed=all(ruling.passed for ruling in rulings),
        reasons=tuple(str(ruling) for ruling in rulings),
        unseen_rows=unseen_rows,
    )


def within_budgets(measured: Measured, budgets: Budgets) -> Ruling:
    """Latency, memory and size are within what the manifest promises."""
    return Ruling(
        measured.p95_latency_ms <= budgets.p95_latency_ms
        and measured.memory_bytes <= budgets.memory_bytes
        and measured.size_bytes <= limits.MAX_ARTIFACT_BYTES,
        f"p95 {measured.p95_latency_ms:.3f} of {budgets.p95_latency_ms:g} ms, memory {_mib(measured.memory_bytes)} of "
        f"{_mib(budgets.memory_bytes)}, file {_mib(measured.size_bytes)} of {_mib(limits.MAX_ARTIFACT_BYTES)}",
    )


def points(share: float) -> str:
    """A share as points of a hundred, in words."""
    number = 100 * share
    return f"{number:g} point{'' if number == 1 else 's'}"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.2f} MiB"
