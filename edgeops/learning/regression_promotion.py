"""The promotion gate of regressions: whether one variant may be signed without a person, and why.

What may be lost is counted in points of skill: one point is 1 % of what always answering the median of the training
rows errs by, so that a rule means the same for degrees and for ppm. A row that a model refuses counts as the worst
error. A first version is only compared with that baseline and with its own float sibling, a later one also with the
champion, on the same rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from edgeops.artifact.manifest import Budgets, Promotion
from edgeops.learning.fragility import LostColumn, bears_a_lost_column
from edgeops.learning.promotion import (
    Champion,
    Measured,
    Ruling,
    judge,
    points,
    seen_words,
    unseen_words,
    within_budgets,
)
from edgeops.learning.promotion_policy import PromotionPolicy
from edgeops.learning.regression import Estimates, Paired, against_baseline, compare, slices
from edgeops.learning.slices import Slice, serves_every_group

#: Fifths of the rows by what is to be estimated, of which the worst is looked at; one of fewer rows says nothing.
SLICES = 5
SLICE_ROWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """All that is known about one variant that wants to be promoted."""

    units: str
    #: The frozen evaluation set, answered by this file and by its unquantized sibling.
    evaluation: Estimates
    float32: Estimates
    #: None = there is none, or it estimates something else.
    champion: Champion[Estimates] | None
    #: It came as a file, and nobody here knows what it learnt from.
    is_brought: bool
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


def beats_the_median(candidate: Candidate) -> Ruling:
    """Better than always answering the median of the training rows, with 95 % certainty."""
    evaluation, units = candidate.evaluation, candidate.units
    pair = against_baseline(evaluation)
    return Ruling(
        pair.is_better,
        f"mean error {_amount(evaluation.mae, units)} against {_amount(evaluation.baseline, units)} of always "
        f"answering the median, on the {len(evaluation)} rows of the evaluation set, "
        f"{unseen_words(is_brought=candidate.is_brought)} "
        f"({_certain_gain(-pair.high, units)})",
        measured={"mean-error": evaluation.mae, "gain-at-least": -pair.high},
        limits={"median": evaluation.baseline},
    )


def is_good_enough(candidate: Candidate) -> Ruling:
    """As exact as somebody asked for."""
    most, evaluation, units = candidate.policy.most_error, candidate.evaluation, candidate.units
    measured = {"mean-error": evaluation.mae}
    if most is None:
        return Ruling(passed=True, reason="nobody set the mean error that may be made", measured=measured)
    return Ruling(
        evaluation.mae <= most,
        f"mean error {_amount(evaluation.mae, units)} in the {len(evaluation)} rows of the evaluation set, of "
        f"{_amount(most, units)} that may be made",
        measured=measured,
        limits={"most-error": most},
    )


def is_not_inferior(candidate: Candidate) -> Ruling:
    """No worse than the champion on the same rows, within a margin."""
    champion, evaluation, units = candidate.champion, candidate.evaluation, candidate.units
    if champion is None:
        return Ruling(passed=True, reason="no champion estimates the same from the same columns, so none to be beaten")
    pair, policy = compare(champion.answers, champion.challenger), candidate.policy
    loss = _share(pair.loss, evaluation)
    return Ruling(
        not (loss > policy.tolerated_loss and pair.is_worse) and loss <= policy.hard_loss,
        f"mean error {_amount(champion.challenger.mae, units)} against the champion's "
        f"{_amount(champion.answers.mae, units)} on the same {pair.rows} rows{seen_words(champion)} "
        f"({_between(pair, units)}; {points(policy.tolerated_loss)} of skill may be lost, {points(policy.hard_loss)} "
        f"if that may be luck: one is {_amount(0.01 * evaluation.baseline, units)})",
        measured={"loss": loss, "low": _share(pair.low, evaluation), "high": _share(pair.high, evaluation)},
        limits={"tolerated-loss": policy.tolerated_loss, "hard-loss": policy.hard_loss},
    )


def has_no_collapsed_slice(candidate: Candidate) -> Ruling:
    """Low and high values are estimated too, not only the usual ones.

    Near the median the baseline can hardly be beaten, so a fifth of the rows has collapsed only if it is answered
    worse, with certainty, than the median does there, and no better than the median does on the whole.
    """
    champion, units = candidate.champion, candidate.units
    judged = candidate.evaluation if champion is None else champion.challenger
    slice_of = slices(judged.truths, SLICES)
    collapsed, hardest = list[str](), ("no fifth of the rows is large enough to look at", 0.0)
    for number in np.unique(slice_of):
        rows = slice_of == number
        own = judged.only(rows)
        if len(own) < SLICE_ROWS:
            continue
        told = (
            f"{own.truths.min():.4g} to {_amount(own.truths.max(), units)}: mean error {_amount(own.mae, units)} "
            f"in {len(own)} rows"
        )
        hardest = max(hardest, (told, own.mae), key=lambda one: one[1])
        if own.mae > judged.baseline and against_baseline(own).is_worse:
            collapsed.append(f"{told}, always answering the median {_amount(own.baseline, units)}")
        elif champion is not None:
            old = champion.answers.only(rows)
            pair = compare(old, own)
            if _share(pair.loss, judged) > candidate.policy.slice_loss and pair.is_worse:
                collapsed.append(f"{told}, the champion {_amount(old.mae, units)}")
    return Ruling(
        not collapsed,
        f"values that collapsed: {'; '.join(collapsed)}"
        if collapsed
        else f"no fifth of the values collapsed; the hardest is {hardest[0]}",
        measured={"mean-error": hardest[1]},
        limits={"slice-loss": candidate.policy.slice_loss},
    )


def serves_each_group(candidate: Candidate) -> Ruling:
    """No device, person or site is served much worse than all."""
    cost, most = float(candidate.evaluation.costs.mean()), candidate.policy.group_loss
    return serves_every_group(candidate.slices, cost=cost, scale=candidate.evaluation.baseline, most=most)


def bears_each_loss(candidate: Candidate) -> Ruling:
    """The loss of no input column costs more than was asked for."""
    scale, most = candidate.evaluation.baseline, candidate.policy.channel_loss
    return bears_a_lost_column(candidate.columns, scale=scale, most=most)


def survives_quantizing(candidate: Candidate) -> Ruling:
    """The file answers as its float sibling does."""
    pair, policy = compare(candidate.float32, candidate.evaluation), candidate.policy
    loss, bound = (_share(one, candidate.evaluation) for one in (pair.loss, pair.high))
    return Ruling(
        loss <= policy.quantization_loss or bound <= policy.quantization_bound,
        f"mean error added to that of float32: {_amount(pair.loss, candidate.units)}, {100 * loss:.2f} points of "
        f"skill, with 95 % certainty at most {100 * bound:.2f} ({points(policy.quantization_loss)}, or certainly "
        f"{points(policy.quantization_bound)}, may be lost)",
        measured={"loss": loss, "bound": bound},
        limits={"quantization-loss": policy.quantization_loss, "quantization-bound": policy.quantization_bound},
    )


def keeps_its_budgets(candidate: Candidate) -> Ruling:
    """Latency, memory and size within what the manifest promises."""
    return within_budgets(candidate.measured, candidate.budgets)


#: In the order in which they are told.
RULES: Mapping[str, Callable[[Candidate], Ruling]] = MappingProxyType(
    {
        "beats-the-median": beats_the_median,
        "is-good-enough": is_good_enough,
        "is-not-inferior": is_not_inferior,
        "has-no-collapsed-slice": has_no_collapsed_slice,
        "serves-every-group": serves_each_group,
        "bears-a-lost-column": bears_each_loss,
        "survives-quantizing": survives_quantizing,
        "keeps-its-budgets": keeps_its_budgets,
    }
)


def _share(loss: float, evaluation: Estimates) -> float:
    """A loss in units as a share of what the baseline errs by."""
    if evaluation.baseline > 0:
        return loss / evaluation.baseline
    return float(np.sign(loss))


def _between(pair: Paired, units: str) -> str:
    return f"worse by {_amount(pair.loss, units)}, with 90 % certainty between {pair.low:.4g} and {pair.high:.4g}"


def _certain_gain(gain: float, units: str) -> str:
    return f"with 95 % certainty better by {_amount(gain, units)} at least" if gain > 0 else "which may be luck"


def _amount(value: float, units: str) -> str:
    return f"{value:.4g} {units}".rstrip()
