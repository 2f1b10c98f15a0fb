"""What the promotion gates of all tasks have in common: rulings, and the rule that a file keeps its budgets.

A gate says whether one variant of a new version may be signed without a person, and why. It is a table of rules, each a
pure function of a candidate, which is all that is known about that variant; `classification_promotion`,
`regression_promotion` and `anomaly_promotion` have one each. All judgements are answers of a file through
`Model.predict`, the way a device answers, to rows that the file never learnt from; where that is not so, a rule says
it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edgeops import limits
from edgeops.artifact.manifest import Budgets, Promotion, Rule

CandidateT = TypeVar("CandidateT")
#: A task's answers, held against truths.
AnswersT = TypeVar("AnswersT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the file costs where it was built."""

    size_bytes: int
    memory_bytes: int
    p95_latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion(Generic[AnswersT]):
    """The version that shall be replaced, on rows of the evaluation set that judge both."""

    #: Its answers, and the candidate's to the same rows.
    answers: AnswersT
    challenger: AnswersT
    #: Of these rows, how many it may have learnt from; such rows speak for it.
    seen: int = 0


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule says."""

    passed: bool
    #: Figures, what they are compared with, and where it failed what to do.
    reason: str
    #: The same figures and limits by name.
    measured: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)


def judge(rules: Mapping[str, Callable[[CandidateT], Ruling]], candidate: CandidateT, *, unseen_rows: int) -> Promotion:
    """Put a candidate before every rule, in the order in which they are told; it passes if it passes all."""
    rulings = {name: rule(candidate) for name, rule in rules.items()}
    return Promotion(
        passed=all(ruling.passed for ruling in rulings.values()),
        rules=tuple(
            Rule(
                name=name,
                passed=ruling.passed,
                reason=ruling.reason,
                measured=_rounded(ruling.measured),
                limits=_rounded(ruling.limits),
            )
            for name, ruling in rulings.items()
        ),
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
        measured={
            "p95-latency-ms": measured.p95_latency_ms,
            "memory-bytes": measured.memory_bytes,
            "size-bytes": measured.size_bytes,
        },
        limits={
            "p95-latency-ms": budgets.p95_latency_ms,
            "memory-bytes": budgets.memory_bytes,
            "size-bytes": limits.MAX_ARTIFACT_BYTES,
        },
    )


def seen_words(champion: Champion[AnswersT]) -> str:
    """What to know of the rows that judge; empty = the champion never saw them either."""
    return f"; the champion may have learnt from {champion.seen} of them" if champion.seen else ""


def unseen_words(*, is_brought: bool) -> str:
    """What is known of whether a candidate saw the rows that judge it."""
    return "of which nobody here knows whether it saw them" if is_brought else "which it never saw"


def points(share: float) -> str:
    """A share as points of a hundred, in words."""
    number = 100 * share
    return f"{number:g} point{'' if number == 1 else 's'}"


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in values.items()}


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.2f} MiB"
