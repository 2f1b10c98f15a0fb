"""The promotion gate of anomaly detectors: whether one variant may be signed without a person, and why.

Where nobody labelled anomalies, nothing can say that any is found; that is told, and the detector is judged by how
often it raises an alarm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeops.artifact.manifest import Budgets, Promotion
from edgeops.learning.anomaly import Alarms
from edgeops.learning.promotion import Measured, Ruling, points, sum_up, within_budgets

#: Share of normal rows that may be alarms: beyond it nobody listens any more.
MOST_FALSE_ALARMS = 0.30
#: Share of rows on which the file and its unquantized sibling may disagree.
QUANTIZATION_CHANGES = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """All that is known about one variant that wants to be promoted."""

    #: The frozen evaluation set, scored by this file and by its unquantized sibling.
    evaluation: Alarms
    float32: Alarms
    measured: Measured
    budgets: Budgets


def promote(candidate: Candidate) -> Promotion:
    """Put a candidate before every rule; it passes if it passes all."""
    return sum_up([rule(candidate) for rule in RULES], unseen_rows=len(candidate.evaluation))


# -- the rules --------------------------------------------------------------------------


def beats_chance(candidate: Candidate) -> Ruling:
    """Anomalies score higher than normal rows, with 95 % certainty."""
    evaluation = candidate.evaluation
    if not evaluation.has_labels:
        return Ruling(
            passed=True, reason="no row that judges is known to be anomalous, so whether any is found is unknown"
        )
    return Ruling(
        evaluation.auc_low > 0.5,
        f"AUC {evaluation.auc:.3f}, with 95 % certainty at least {evaluation.auc_low:.3f} (chance 0.5); alarms in "
        f"{evaluation.recall:.1%} of {evaluation.anomalies} anomalous rows, F1 {evaluation.f1:.3f}",
    )


def is_quiet(candidate: Candidate) -> Ruling:
    """Normal rows are seldom alarms."""
    evaluation = candidate.evaluation
    return Ruling(
        evaluation.false_alarm_rate <= MOST_FALSE_ALARMS,
        f"alarms in {evaluation.false_alarm_rate:.1%} of {int(evaluation.normal.sum())} normal rows "
        f"({MOST_FALSE_ALARMS:.0%} may be; a higher margin raises fewer: --option margin=8)",
    )


def survives_quantizing(candidate: Candidate) -> Ruling:
    """The file raises the alarms that its float sibling raises."""
    changed = float((candidate.evaluation.alarms != candidate.float32.alarms).mean())
    return Ruling(
        changed <= QUANTIZATION_CHANGES,
        f"{changed:.2%} of rows are an alarm of this file or of float32, but not of both "
        f"({points(QUANTIZATION_CHANGES)} may be)",
    )


def keeps_its_budgets(candidate: Candidate) -> Ruling:
    """Latency, memory and size within what the manifest promises."""
    return within_budgets(candidate.measured, candidate.budgets)


Rule = Callable[[Candidate], Ruling]
#: In the order in which they are told.
RULES: Sequence[Rule] = (beats_chance, is_quiet, survives_quantizing, keeps_its_budgets)
