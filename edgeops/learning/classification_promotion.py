"""The promotion gate of classifiers: whether one variant may be signed without a person, and why.

A row that a model refuses counts as a wrong answer.

A first version is only compared with guessing and with its own float sibling. A healed one must also be no worse on
the frozen evaluation set, where the world is as it was; better on the labels bought since, where it has changed; and
owe nothing to a device that teaches all others wrong.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeops.artifact.manifest import Budgets, Promotion
from edgeops.learning.classification import Answers, compare, fisher_p, loss_bound
from edgeops.learning.promotion import (
    HARD_LOSS,
    QUANTIZATION_BOUND,
    QUANTIZATION_LOSS,
    TOLERATED_LOSS,
    Measured,
    Ruling,
    points,
    sum_up,
    within_budgets,
)

#: A difference with a smaller chance than this is not put down to luck.
ALPHA = 0.05
#: A class has collapsed when it loses more than this share of its rows significantly, or more than half of what the
#: champion found, if that were at least so many rows.
SLICE_LOSS = 0.10
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
    #: The same by the version it shall replace; None = it is the first.
    champion: Answers | None
    #: None = no label was bought since.
    recent: Recent | None
    #: Of devices that gave labels; empty = fewer than three did.
    left_out: tuple[LeftOut, ...]
    measured: Measured
    budgets: Budgets


def may_be_suspect(own: Answers, kept: Answers) -> bool:
    """Whether leaving a device out could speak against it at all: else the trainings can be saved.

    Where the others' labels are answered nearly all rightly there is no harm to be found; where its own are, no
    contradiction.
    """
    return 1 - kept.accuracy >= SUSPECT_GAIN or 1 - own.accuracy >= SUSPECT_GAP


def promote(candidate: Candidate) -> Promotion:
    """Put a candidate before every rule; it passes if it passes all."""
    unseen = len(candidate.evaluation) + (len(candidate.recent.unseen) if candidate.recent else 0)
    return sum_up([rule(candidate) for rule in RULES], unseen_rows=unseen)


# -- the rules --------------------------------------------------------------------------


def keeps_what_it_knew(candidate: Candidate) -> Ruling:
    """No worse than the champion on the frozen evaluation set; without one, better than guessing."""
    evaluation = candidate.evaluation
    on = f"on the {len(evaluation)} rows of the evaluation set, which it never saw"
    if candidate.champion is None:
        return Ruling(
            evaluation.accuracy > evaluation.majority,
            f"accuracy {evaluation.accuracy:.4f} against {evaluation.majority:.4f} for the most frequent class, {on}",
        )
    pair = compare(candidate.champion, evaluation)
    is_worse = pair.loss > TOLERATED_LOSS and pair.p_worse < ALPHA
    return Ruling(
        not is_worse and pair.loss <= HARD_LOSS,
        f"accuracy {evaluation.accuracy:.4f} against the champion's {candidate.champion.accuracy:.4f} {on} "
        f"(lost {pair.lost}, won {pair.won}, p {pair.p_worse:.3f}; {points(TOLERATED_LOSS)} may be lost, "
        f"{points(HARD_LOSS)} if that may be luck)",
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
    )


def has_no_collapsed_class(candidate: Candidate) -> Ruling:
    """Every class of the evaluation set is still found."""
    champion, evaluation = candidate.champion, candidate.evaluation
    collapsed = []
    for index, name in enumerate(candidate.classes):
        rows = evaluation.truths == index
        own = evaluation.only(rows)
        if not len(own):
            continue
        if champion is None:
            if len(own) >= SLICE_ROWS and not own.right.any():
                collapsed.append(f"{name} (none of {len(own)} rows found)")
            continue
        pair = compare(champion.only(rows), own)
        found = int(champion.only(rows).right.sum())
        halved = pair.lost - pair.won >= SLICE_ROWS and pair.lost - pair.won > found / 2
        if halved or (pair.loss > SLICE_LOSS and pair.p_worse < ALPHA):
            collapsed.append(f"{name} ({int(own.right.sum())} of {len(own)} rows found, the champion {found})")
    worst = min(zip(evaluation.recall, candidate.classes, strict=True))
    if collapsed:
        return Ruling(passed=False, reason=f"classes that collapsed: {', '.join(collapsed)}")
    return Ruling(passed=True, reason=f"no class collapsed; the hardest is {worst[1]}, recall {worst[0]:.3f}")


def survives_quantizing(candidate: Candidate) -> Ruling:
    """The file answers as its float sibling does."""
    pair = compare(candidate.float32, candidate.evaluation)
    bound = loss_bound(pair)
    return Ruling(
        pair.loss <= QUANTIZATION_LOSS or bound <= QUANTIZATION_BOUND,
        f"accuracy lost against float32: {100 * pair.loss:.2f} points, with 95 % certainty at most "
        f"{100 * bound:.2f} ({points(QUANTIZATION_LOSS)}, or certainly {points(QUANTIZATION_BOUND)}, may be lost)",
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


Rule = Callable[[Candidate], Ruling]
#: In the order in which they are told.
RULES: Sequence[Rule] = (
    keeps_what_it_knew,
    heals,
    has_no_collapsed_class,
    survives_quantizing,
    keeps_its_budgets,
    owes_nothing_to_a_liar,
)
