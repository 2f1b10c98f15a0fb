"""The promotion gate of anomaly detectors: whether one variant may be signed without a person, and why.

Where nobody labelled anomalies, nothing can say that any is found; that is told, and the detector is judged by how
often it raises an alarm.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgeops.artifact.manifest import Budgets, Promotion
from edgeops.learning.anomaly import Alarms
from edgeops.learning.classification import ALPHA, Paired
from edgeops.learning.fragility import LostColumn, bears_a_lost_column
from edgeops.learning.promotion import Champion, Measured, Ruling, judge, points, seen_words, within_budgets
from edgeops.learning.promotion_policy import PromotionPolicy
from edgeops.learning.slices import Slice, serves_every_group

#: What detectors that tell nothing apart score.
_CHANCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """All that is known about one variant that wants to be promoted."""

    #: The frozen evaluation set, scored by this file and by its unquantized sibling.
    evaluation: Alarms
    float32: Alarms
    #: None = there is none, or it reads other columns or windows.
    champion: Champion[Alarms] | None
    #: What groups of rows cost, and the loss of each input column; empty = there are none.
    slices: tuple[Slice, ...]
    columns: tuple[LostColumn, ...]
    measured: Measured
    budgets: Budgets
    policy: PromotionPolicy


def promote(candidate: Candidate) -> Promotion:
    """Put a candidate before every rule; it passes if it passes all."""
    return judge(RULES, candidate, unseen_rows=len(candidate.evaluation))


# -- the rules --------------------------------------------------------------------------


def beats_chance(candidate: Candidate) -> Ruling:
    """Anomalies score higher than normal rows, with 95 % certainty."""
    evaluation = candidate.evaluation
    if not evaluation.has_labels:
        return Ruling(
            passed=True, reason="no row that judges is known to be anomalous, so whether any is found is unknown"
        )
    return Ruling(
        evaluation.auc_low > _CHANCE,
        f"AUC {evaluation.auc:.3f}, with 95 % certainty at least {evaluation.auc_low:.3f} (chance 0.5); alarms in "
        f"{evaluation.recall:.1%} of {evaluation.anomalies} anomalous rows, F1 {evaluation.f1:.3f}",
        measured={"auc": evaluation.auc, "auc-low": evaluation.auc_low},
        limits={"auc-low": _CHANCE},
    )


def is_quiet(candidate: Candidate) -> Ruling:
    """Normal rows are seldom alarms."""
    evaluation, most = candidate.evaluation, candidate.policy.false_alarms
    return Ruling(
        evaluation.false_alarm_rate <= most,
        f"alarms in {evaluation.false_alarm_rate:.1%} of {int(evaluation.normal.sum())} normal rows "
        f"({most:.0%} may be; a higher margin raises fewer: --option margin=8)",
        measured={"false-alarms": evaluation.false_alarm_rate},
        limits={"false-alarms": most},
    )


def is_not_inferior(candidate: Candidate) -> Ruling:
    """Alarms are as often right as the champion's, on the same rows, within a margin."""
    champion, policy = candidate.champion, candidate.policy
    if champion is None:
        return Ruling(passed=True, reason="no champion reads windows of the same columns, so none to be beaten")
    known = champion.answers.is_known
    old, new = champion.answers.costs[known], champion.challenger.costs[known]
    pair = Paired(rows=len(old), lost=int((new > old).sum()), won=int((old > new).sum()))
    return Ruling(
        not pair.loses_for_certain(policy.tolerated_loss) and pair.loss <= policy.hard_loss,
        f"of the same {pair.rows} rows{seen_words(champion)} the champion raises a false alarm or misses an anomaly in "
        f"{int(old.sum())}, it in {int(new.sum())} (lost {pair.lost}, won {pair.won}, p {pair.p_worse:.3f}; "
        f"{points(policy.tolerated_loss)} may be lost, {points(policy.hard_loss)} if that may be luck)",
        measured={"loss": pair.loss, "p": pair.p_worse},
        limits={"tolerated-loss": policy.tolerated_loss, "hard-loss": policy.hard_loss, "p": ALPHA},
    )


def serves_each_group(candidate: Candidate) -> Ruling:
    """No device, person or site is served much worse than all."""
    cost, most = float(candidate.evaluation.costs.mean()), candidate.policy.group_loss
    return serves_every_group(candidate.slices, cost=cost, most=most)


def bears_each_loss(candidate: Candidate) -> Ruling:
    """The loss of no input column costs more than was asked for."""
    return bears_a_lost_column(candidate.columns, most=candidate.policy.channel_loss)


def survives_quantizing(candidate: Candidate) -> Ruling:
    """The file raises the alarms that its float sibling raises."""
    changed = float((candidate.evaluation.alarms != candidate.float32.alarms).mean())
    most = candidate.policy.quantization_changes
    return Ruling(
        changed <= most,
        f"{changed:.2%} of rows are an alarm of this file or of float32, but not of both ({points(most)} may be)",
        measured={"changes": changed},
        limits={"quantization-changes": most},
    )


def keeps_its_budgets(candidate: Candidate) -> Ruling:
    """Latency, memory and size within what the manifest promises."""
    return within_budgets(candidate.measured, candidate.budgets)


#: In the order in which they are told.
RULES: Mapping[str, Callable[[Candidate], Ruling]] = MappingProxyType(
    {
        "beats-chance": beats_chance,
        "is-quiet": is_quiet,
        "is-not-inferior": is_not_inferior,
        "serves-every-group": serves_each_group,
        "bears-a-lost-column": bears_each_loss,
        "survives-quantizing": survives_quantizing,
        "keeps-its-budgets": keeps_its_budgets,
    }
)
