"""The promotion gate of classifiers: whether one variant may be signed without a person, and why.

A row that a model refuses counts as a wrong answer.

A first version is only compared with guessing and with its own float sibling; a later one also with the champion, on
the same rows. A healed one must be no worse on the frozen evaluation set, where the world is as it was; better on the
labels bought since, where it has changed; and owe nothing to a device that teaches all others wrong.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Budgets, Promotion
from edgeops.learning.calibration import CalibrationError
from edgeops.learning.classification import ALPHA, Answers, Paired, compare, fisher_p, loss_bound
from edgeops.learning.fragility import LostColumn, bears_a_lost_column
from edgeops.learning.intervals import cost_bounds
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
from edgeops.learning.slices import Slice, serves_every_group

#: A class has collapsed when it significantly loses more than its policy tolerates, or more than half of what the
#: champion found, if that were at least so many rows.
SLICE_ROWS = 3
#: Fewer bought labels than this, each the only one of its kind, are missed by the folds that hold them out; who answers
#: as many as this rightly can hardly be beaten; and who errs on fewer than this cannot be beaten by more than luck,
#: even if all of them are mended (1/2^5 < ALPHA < 1/2^4). Then the new model must only not be proven worse.
FEW_LABELS = 20
GOOD_ENOUGH = 0.9
FEW_ERRORS = 5
#: A device is suspected when the others' labels are answered better without what it taught, by this much ...
SUSPECT_GAIN = 0.05
#: ... or when its own labels are answered so much worse than the others', although what it teaches was learnt for the
#: former and not for the latter; a device with a hard life is left alone.
SUSPECT_GAP = 0.30
SUSPECT_ALPHA = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """The labels bought since the champion was trained; the same rows answered three times."""

    champion: Answers
    #: By models each trained without the rows it answers.
    unseen: Answers
    #: By the very file, which learnt from these rows.
    file: Answers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Samples of devices that people labelled (n), none of which is in the snapshot that was learnt from."""

    answers: Answers
    #: Which device each is of.
    devices: NDArray[np.int64]
    #: None = there is none, or it has other classes or reads other columns.
    champion: Answers | None
    #: Which of them the champion never learnt from.
    unseen: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What one device's labels do to all others'; out of fold, so neither model learnt from the rows it answers."""

    device: str
    #: All that it ever gave.
    labels: int
    #: Its fresh labels.
    own: Answers
    #: The others' fresh labels, answered with and without what this device taught; None = whatever came of it could
    #: not speak against the device, so it was not tried (`may_be_suspect`).
    kept: Answers
    without: Answers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """All that is known about one variant that wants to be promoted."""

    classes: tuple[str, ...]
    #: The frozen evaluation set, answered by this file and by its unquantized sibling.
    evaluation: Answers
    float32: Answers
    #: None = it is the first, or the champion has other classes or reads other columns.
    champion: Champion[Answers] | None
    #: None = no label was bought since.
    recent: Recent | None
    #: None = people labelled no sample that it did not learn from.
    samples: Samples | None
    #: It came as a file, and nobody here knows what it learnt from.
    is_brought: bool
    #: Of devices that gave labels; empty = fewer than three did.
    left_out: tuple[LeftOut, ...]
    #: Of the file's confidence on the evaluation set; None = too few rows to say.
    calibration: CalibrationError | None
    #: What groups of rows cost, and the loss of each input column; empty = there are none.
    slices: tuple[Slice, ...]
    columns: tuple[LostColumn, ...]
    measured: Measured
    budgets: Budgets
    policy: PromotionPolicy


def may_be_suspect(own: Answers, kept: Answers) -> bool:
    """Whether leaving a device out could speak against it at all: else the trainings can be saved.

    Where the others' labels are answered nearly all rightly there is no harm to be found; where its own are, no
    contradiction.
    """
    return 1 - kept.accuracy >= SUSPECT_GAIN or 1 - own.accuracy >= SUSPECT_GAP


def promote(candidate: Candidate) -> Promotion:
    """Put a candidate before every rule; it passes if it passes all."""
    unseen = len(candidate.evaluation) + (len(candidate.recent.unseen) if candidate.recent else 0)
    unseen += len(candidate.samples.answers) if candidate.samples else 0
    return judge(RULES, candidate, unseen_rows=unseen)


# -- the rules --------------------------------------------------------------------------


def keeps_what_it_knew(candidate: Candidate) -> Ruling:
    """No worse than the champion on the frozen evaluation set; without one, better than guessing."""
    evaluation, champion, policy = candidate.evaluation, candidate.champion, candidate.policy
    unseen = unseen_words(is_brought=candidate.is_brought)
    if champion is None:
        return Ruling(
            evaluation.accuracy > evaluation.majority,
            f"accuracy {evaluation.accuracy:.4f} against {evaluation.majority:.4f} for the most frequent class, on the "
            f"{len(evaluation)} rows of the evaluation set, {unseen}",
            measured={"accuracy": evaluation.accuracy},
            limits={"majority": evaluation.majority},
        )
    pair = compare(champion.answers, champion.challenger)
    return Ruling(
        not pair.loses_for_certain(policy.tolerated_loss) and pair.loss <= policy.hard_loss,
        f"accuracy {champion.challenger.accuracy:.4f} against the champion's {champion.answers.accuracy:.4f} on the "
        f"same {pair.rows} rows of the evaluation set, {unseen}{seen_words(champion)} "
        f"(lost {pair.lost}, won {pair.won}, p {pair.p_worse:.3f}; {points(policy.tolerated_loss)} may be lost, "
        f"{points(policy.hard_loss)} if that may be luck)",
        measured={"loss": pair.loss, "p": pair.p_worse},
        limits={"tolerated-loss": policy.tolerated_loss, "hard-loss": policy.hard_loss, "p": ALPHA},
    )


def is_good_enough(candidate: Candidate) -> Ruling:
    """As accurate as somebody asked for."""
    least, accuracy = candidate.policy.least_accuracy, candidate.evaluation.accuracy
    if least is None:
        return Ruling(passed=True, reason="nobody set the least accuracy", measured={"accuracy": accuracy})
    return Ruling(
        accuracy >= least,
        f"accuracy {accuracy:.4f} on the {len(candidate.evaluation)} rows of the evaluation set, of {least:g} that is "
        "asked for",
        measured={"accuracy": accuracy},
        limits={"least-accuracy": least},
    )


def heals(candidate: Candidate) -> Ruling:
    """Better than the champion on the labels bought since, out of fold and in the file itself.

    The file learnt from these labels, so its own answers cannot prove that it heals; they can prove that it does not.
    """
    recent = candidate.recent
    if recent is None:
        return Ruling(passed=True, reason="no labels were bought since the champion, so none to be better at")
    rows, champion = len(recent.unseen), int(recent.champion.right.sum())
    can_be_better = rows - champion >= FEW_ERRORS and recent.champion.accuracy < GOOD_ENOUGH
    must_be_better = rows >= FEW_LABELS and can_be_better
    pairs = [compare(recent.champion, answers) for answers in (recent.unseen, recent.file)]
    return Ruling(
        all(pair.won > pair.lost if must_be_better else pair.p_worse >= ALPHA for pair in pairs),
        f"of {rows} labels bought since, {int(recent.unseen.right.sum())} are answered rightly by models that never "
        f"saw them, {int(recent.file.right.sum())} by the file, which did, {champion} by the champion "
        f"({'more is asked for' if must_be_better else 'clearly fewer would be too few'})",
        measured={"unseen": recent.unseen.accuracy, "file": recent.file.accuracy},
        limits={"champion": recent.champion.accuracy},
    )


def answers_recent_labels(candidate: Candidate) -> Ruling:
    """Not certainly worse than the champion on samples of devices that neither learnt from.

    Devices nominate what is new or doubtful, so the share of right answers is not that of all inputs: it is told, and
    only a comparison can refuse.
    """
    samples, most = candidate.samples, candidate.policy.tolerated_loss
    if samples is None:
        return Ruling(passed=True, reason="people labelled no sample of a device that it did not learn from")
    answers, devices = samples.answers, len(np.unique(samples.devices))
    low, high = cost_bounds(answers.costs, samples.devices if devices > 1 else None)
    told = (
        f"accuracy {answers.accuracy:.4f} (with 95 % certainty {1 - high:.4f} to {1 - low:.4f}) on {len(answers)} "
        f"samples of {devices} device{'' if devices == 1 else 's'} that people labelled, "
        f"{unseen_words(is_brought=candidate.is_brought)}"
    )
    measured = {"accuracy": answers.accuracy, "low": 1 - high, "high": 1 - low, "rows": len(answers)}
    if samples.champion is None:
        return Ruling(passed=True, reason=told, measured=measured)
    low, high = cost_bounds(samples.champion.costs, samples.devices if devices > 1 else None)
    pair = compare(samples.champion.only(samples.unseen), answers.only(samples.unseen))
    measured |= {"champion": samples.champion.accuracy, "champion-low": 1 - high, "champion-high": 1 - low}
    measured |= {"loss": pair.loss, "p": pair.p_worse}
    compared = (
        f"on the {pair.rows} of them that it never saw either, {pair.lost} are lost and {pair.won} won, p "
        f"{pair.p_worse:.3f} (more than {points(most)} must not be lost for certain)"
        if pair.rows
        else "which may have learnt from all of them"
    )
    return Ruling(
        not pair.loses_for_certain(most),
        f"{told}; the champion {samples.champion.accuracy:.4f} ({1 - high:.4f} to {1 - low:.4f}), {compared}",
        measured=measured,
        limits={"tolerated-loss": most, "p": ALPHA},
    )


def has_no_collapsed_class(candidate: Candidate) -> Ruling:
    """Every class of the evaluation set is still found."""
    evaluation = candidate.evaluation
    told = [_collapse(candidate, index, name) for index, name in enumerate(candidate.classes)]
    collapsed = [words for words in told if words]
    hardest = min(zip(evaluation.recall, candidate.classes, strict=True))
    return Ruling(
        not collapsed,
        f"classes that collapsed: {', '.join(collapsed)}"
        if collapsed
        else f"no class collapsed; the hardest is {hardest[1]}, recall {hardest[0]:.3f}",
        measured={"recall": float(hardest[0])},
        limits={"slice-loss": candidate.policy.slice_loss},
    )


def is_calibrated(candidate: Candidate) -> Ruling:
    """Its confidence is worth what it says: devices nominate by it, and accuracy is estimated from it."""
    calibration, most = candidate.calibration, candidate.policy.calibration_error
    if calibration is None:
        return Ruling(passed=True, reason="too few rows judge to say how far confidences are off")
    return Ruling(
        calibration.low <= most,
        f"confidences are off by {calibration.error:.3f} in {calibration.rows} answers, with 95 % certainty by "
        f"{calibration.low:.3f} at least ({most:g} may be)",
        measured={"calibration-error": calibration.error, "low": calibration.low, "high": calibration.high},
        limits={"calibration-error": most},
    )


def serves_each_group(candidate: Candidate) -> Ruling:
    """No device, person or site is served much worse than all."""
    cost, most = float(candidate.evaluation.costs.mean()), candidate.policy.group_loss
    return serves_every_group(candidate.slices, cost=cost, most=most)


def bears_each_loss(candidate: Candidate) -> Ruling:
    """The loss of no input column costs more than was asked for."""
    return bears_a_lost_column(candidate.columns, most=candidate.policy.channel_loss)


def survives_quantizing(candidate: Candidate) -> Ruling:
    """The file answers as its float sibling does, on the whole and class by class."""
    pair, policy = compare(candidate.float32, candidate.evaluation), candidate.policy
    bound = loss_bound(pair)
    by_class = {name: _of_class(candidate, place) for place, name in enumerate(candidate.classes)}
    lost = [name for name, one in by_class.items() if one.loses_for_certain(policy.slice_loss)]
    worst = max(by_class, key=lambda name: by_class[name].loss)
    told = (
        f"classes that are certainly found less often by more than {points(policy.slice_loss)}: {', '.join(lost)}"
        if lost
        else f"of the classes {worst} loses most: {100 * by_class[worst].loss:.2f} points of recall, in "
        f"{by_class[worst].rows} rows"
    )
    return Ruling(
        (pair.loss <= policy.quantization_loss or bound <= policy.quantization_bound) and not lost,
        f"accuracy lost against float32: {100 * pair.loss:.2f} points, with 95 % certainty at most "
        f"{100 * bound:.2f} ({points(policy.quantization_loss)}, or certainly {points(policy.quantization_bound)}, may "
        f"be lost); {told}",
        measured={"loss": pair.loss, "bound": bound, "class-loss": by_class[worst].loss},
        limits={
            "quantization-loss": policy.quantization_loss,
            "quantization-bound": policy.quantization_bound,
            "slice-loss": policy.slice_loss,
        },
    )


def keeps_its_budgets(candidate: Candidate) -> Ruling:
    """Latency, memory and size within what the manifest promises."""
    return within_budgets(candidate.measured, candidate.budgets)


def owes_nothing_to_a_liar(candidate: Candidate) -> Ruling:
    """No device's labels make the others' worse answered, or contradict all that is known.

    A device that labels at random contradicts; one that lies consistently teaches its lie and harms the others. Both
    figures are out of fold.
    """
    if not candidate.left_out:
        return Ruling(passed=True, reason="fewer than three devices gave labels: none can be told from the others")
    suspicions = [_suspicion(one, devices=len(candidate.left_out)) for one in candidate.left_out]
    told = [suspicion for suspicion in suspicions if suspicion]
    if told:
        advice = "look at its labels and its sensor, or leave it out: edgeops retrain run MODEL --without DEVICE"
        return Ruling(passed=False, reason=f"{'; '.join(told)}; {advice}")
    named = ", ".join(sorted(one.device for one in candidate.left_out))
    return Ruling(passed=True, reason=f"no device contradicts or harms the others: {named} gave labels")


#: In the order in which they are told.
RULES: Mapping[str, Callable[[Candidate], Ruling]] = MappingProxyType(
    {
        "keeps-what-it-knew": keeps_what_it_knew,
        "is-good-enough": is_good_enough,
        "heals": heals,
        "answers-recent-labels": answers_recent_labels,
        "has-no-collapsed-class": has_no_collapsed_class,
        "is-calibrated": is_calibrated,
        "serves-every-group": serves_each_group,
        "bears-a-lost-column": bears_each_loss,
        "survives-quantizing": survives_quantizing,
        "keeps-its-budgets": keeps_its_budgets,
        "owes-nothing-to-a-liar": owes_nothing_to_a_liar,
    }
)


def _of_class(candidate: Candidate, place: int) -> Paired:
    """The rows of one class as the file answers them beside its float sibling."""
    rows = candidate.evaluation.truths == place
    return compare(candidate.float32.only(rows), candidate.evaluation.only(rows))


def _collapse(candidate: Candidate, index: int, name: str) -> str | None:
    """What speaks for the collapse of a class, in words."""
    champion = candidate.champion
    judged = candidate.evaluation if champion is None else champion.challenger
    rows = judged.truths == index
    own = judged.only(rows)
    if champion is None:
        return f"{name} (none of {len(own)} rows found)" if len(own) >= SLICE_ROWS and not own.right.any() else None
    old = champion.answers.only(rows)
    pair, found = compare(old, own), int(old.right.sum())
    is_halved = pair.lost - pair.won >= SLICE_ROWS and pair.lost - pair.won > found / 2
    if is_halved or pair.loses_for_certain(candidate.policy.slice_loss):
        return f"{name} ({int(own.right.sum())} of {len(own)} rows found, the champion {found})"
    return None


def _suspicion(one: LeftOut, *, devices: int) -> str | None:
    """What speaks against a device, in words; every device is a chance to be accused by luck (Bonferroni)."""
    if one.without is None:
        return None
    pair = compare(one.kept, one.without)
    if -pair.loss >= SUSPECT_GAIN and pair.p_better < ALPHA / devices:
        return (
            f"without the {one.labels} labels of {one.device}, {int(one.without.right.sum())} of the others' "
            f"{pair.rows} are answered rightly, with them {int(one.kept.right.sum())}"
        )
    gap = one.without.accuracy - one.own.accuracy
    if gap >= SUSPECT_GAP and fisher_p(one.own, one.without) < SUSPECT_ALPHA / devices:
        return (
            f"{one.device} contradicts the others: {int(one.own.right.sum())} of its {len(one.own)} labels are "
            f"answered rightly, of the others' {len(one.without)} it is {int(one.without.right.sum())}"
        )
    return None
