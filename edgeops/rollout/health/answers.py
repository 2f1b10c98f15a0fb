"""What two models' answers to the same inputs prove: by how often they differ, and by who is right where they do.

Where both answer alike, neither is better. So the new model loses at most the share of inputs on which they disagree,
and what it does lose can be counted on labelled disagreements alone:

    loss = share of disagreements * (old right - new right) / labelled

A disagreement also means that one of the two is wrong. So the new model errs on at least the share of disagreements
less what the old one errs on, and more disagreement than both models' stated errors allow is proof without a label.

For a regression the share is that of inputs on which the answers differ by more than the old model usually errs, and
the stated errors allow a mean difference (the triangle inequality) in place of a share.
"""

from dataclasses import dataclass
from math import ceil, isqrt, sqrt

from edgeops.artifact.manifest import Task
from edgeops.protocol.messages import Intent
from edgeops.rollout.agreement import EDGES, disagreements
from edgeops.rollout.health.betting import (
    Observed,
    Side,
    difference_of,
    evidence_below,
    is_certain,
    lower_bound,
    share_of,
    side_of,
)
from edgeops.rollout.health.device import Pairs
from edgeops.rollout.health.finding import HealthFinding, Kind, Sign, counted, percent, points, sign_of
from edgeops.rollout.health.wave import Labels, Stated, WaveHealth
from edgeops.rollout.health.zone import Zone, loss_zone
from edgeops.rollout.policy import HealthPolicy

#: Of `alpha`, the part for more disagreement than is possible: `verdict` has the sum of all parts.
_IMPOSSIBLE = 8
#: Standard errors between an estimate and its bounds when the last label is given: two-sided 95 %.
_ERRORS = 1.96
#: Of the labels that a policy asks for, those that will do when none waits any more.
_ENOUGH = 0.9


@dataclass(frozen=True, slots=True)
class _Differing:
    """On how many of the inputs that both answered they differ, in figures and in words."""

    differing: int
    compared: int
    zone: Zone
    task: Task

    @property
    def share(self) -> float:
        return self.differing / self.compared

    @property
    def words(self) -> str:
        return f"they differ on {self.differing:,} of {self.compared:,} inputs ({percent(self.share)})"


def judge_answers(health: WaveHealth, policy: HealthPolicy, *, task: Task, intent: Intent) -> HealthFinding:
    """How the answers of both models compare."""
    pairs = health.canary.pairs
    if not health.canary.shadowed:
        return _found(Sign.TOLD, "there is no old model to answer the same inputs")
    compared = sum(pairs.cells)
    if not compared:
        sign = Sign.OPEN if policy.labels else Sign.TOLD
        return _found(sign, f"answers of both models to the same inputs cannot be compared ({pairs.rows:,} pairs)")
    seen = _Differing(disagreements(task, pairs.cells), compared, loss_zone(policy), task)
    numbers = {"value": seen.share, "limit": seen.zone.limit}
    certain = is_certain(evidence_below(share_of(seen.differing, compared), seen.zone.high), policy.alpha / 2)
    if certain and seen.share < seen.zone.limit:
        words = f"{seen.words}, so no more than that can be lost; limit {points(seen.zone.limit)}"
        return _found(Sign.GOOD, words, **numbers)
    if intent is Intent.IMPROVE and (words := _impossible(health, policy, task=task)):
        return _found(Sign.BAD, f"{seen.words}; {words}", **numbers)
    if policy.labels and task is not Task.CLASSIFICATION:
        words = "; there are labels for classes alone, so a person decides"
        return _found(Sign.OPEN, seen.words + words, **numbers)
    return _by_labels(health.labels, policy, seen) if policy.labels else _unlabelled(health, seen, intent=intent)


def _by_labels(labels: Labels, policy: HealthPolicy, seen: _Differing) -> HealthFinding:
    """Who is right where they differ."""
    given, zone = labels.given, seen.zone
    if not given:
        return _found(Sign.OPEN, f"{seen.words}; who is right is not known: {_wanted(labels, policy, seen)}")
    # Labels are drawn by chance: with them so many inputs are known in full, for agreements need no label.
    known = given / max(seen.share, 1 / seen.compared)
    if not labels.of_others:
        known = min(known, seen.compared)
    outcomes = difference_of(labels.old_right, labels.new_right, max(known, given))
    side = side_of(outcomes, zone, alpha=policy.alpha / 2)
    words = (
        f"{seen.words}; of {counted(given, 'label')} {_where(labels)} "
        f"{labels.new_right} say that the new one is right, "
        f"{labels.old_right} the old one, {labels.neither} neither: {_loss(outcomes.mean)}; limit {points(zone.limit)}"
    )
    if side is Side.UNKNOWN and _is_last(labels, policy):
        return _at_the_end(labels, seen, outcomes.mean, words)
    more = f"; that is not certain yet: {_wanted(labels, policy, seen)}" if side is Side.UNKNOWN else ""
    return _found(sign_of(side), words + more, value=outcomes.mean, limit=zone.limit)


def _where(labels: Labels) -> str:
    return "on devices before it" if labels.of_others else "there"


def _is_last(labels: Labels, policy: HealthPolicy) -> bool:
    """Whether no label is to come: as many were given as are sent, but for a few that nobody could give."""
    enough = policy.labels if labels.waiting else ceil(_ENOUGH * policy.labels)
    return labels.given >= enough


def _at_the_end(labels: Labels, seen: _Differing, loss: float, words: str) -> HealthFinding:
    """No label comes any more: a model passes if it is well enough with 97.5 % certainty; else the estimate decides."""
    error, zone = _standard_error(labels, seen), seen.zone
    low, high = loss - _ERRORS * error, loss + _ERRORS * error
    words += f" (with 95 % certainty between {points(low)} and {points(high)})"
    if high < zone.high:
        return _found(Sign.GOOD, words, value=loss, limit=zone.limit)
    if loss > zone.limit:
        return _found(Sign.BAD, words, value=loss, limit=zone.limit)
    words += "; the policy asks for too few labels to tell"
    return _found(Sign.OPEN, words, value=loss, limit=zone.limit)


def _standard_error(labels: Labels, seen: _Differing) -> float:
    """Of the loss: which disagreements were labelled, and which inputs were seen, are both chance."""
    given = labels.given
    decided = (labels.old_right + labels.new_right) / given
    balance = (labels.old_right - labels.new_right) / given
    # Labels of other devices say nothing certain of any disagreement here, however many there are.
    unlabelled = 1.0 if labels.of_others else max(1 - given / max(seen.differing, 1), 0.0)
    by_labels = seen.share**2 * (decided - balance**2) / given * unlabelled
    by_inputs = (seen.share * decided - (seen.share * balance) ** 2) / seen.compared
    return sqrt(by_labels + by_inputs)


def _impossible(health: WaveHealth, policy: HealthPolicy, *, task: Task) -> str:
    """Why the new model must be worse, if it must: they differ more than it could if it were as good as the old one."""
    stated, limit = health.stated, policy.max_loss
    cells = health.canary.pairs.cells
    if task is Task.REGRESSION:
        least = lower_bound(_distances(cells, nearest=True), policy.alpha / _IMPOSSIBLE)
        if least <= 2 * (1 + limit):
            return ""
        return f"the answers differ by {least:.1f} usual errors of the old model at least, 2 is what equals could"
    if stated.old_accuracy is None:
        return ""
    most = 2 * (1 - stated.old_accuracy)
    least = lower_bound(share_of(disagreements(task, cells), sum(cells)), policy.alpha / _IMPOSSIBLE)
    if least <= most + limit:
        return ""
    return f"two models of {percent(stated.old_accuracy)} accuracy can differ on {percent(most)} at most"


def _unlabelled(health: WaveHealth, seen: _Differing, *, intent: Intent) -> HealthFinding:
    """Whether they differ as little as two models that err as stated; of a model that heals none of it is asked."""
    cells, allowed = health.canary.pairs.cells, _allowed(health.stated, task=seen.task)
    if intent is Intent.HEAL:
        words = "as is expected of a model that heals; nobody labels, so who is right is not known"
        return _found(Sign.TOLD, f"{seen.words}, {words}", value=seen.share)
    if allowed is None:
        return _found(Sign.OPEN, f"{seen.words}; nobody labels, and the models do not say how accurate they are")
    if seen.task is Task.REGRESSION:
        value = _distances(cells, nearest=False).mean
        words = f"by {value:.2g} usual errors of the old model on average, stated errors allow {allowed:.2g}"
    else:
        value = seen.share
        words = f"stated errors allow {percent(allowed)}"
    sign = Sign.GOOD if value <= allowed else Sign.OPEN
    return _found(sign, f"{seen.words}; nobody labels, {words}", value=value, limit=allowed)


def _allowed(stated: Stated, *, task: Task) -> float | None:
    """How much two models may differ that err as stated; None = it is not stated."""
    if task is Task.REGRESSION:
        return None if not stated.old_error or stated.new_error is None else 1 + stated.new_error / stated.old_error
    if stated.old_accuracy is None or stated.new_accuracy is None:
        return None
    return 2 - stated.old_accuracy - stated.new_accuracy


def _distances(cells: tuple[int, ...], *, nearest: bool) -> Observed:
    """Distances of a regression's answers, each the smallest or the largest that its cell holds."""
    ends = (0.0, *EDGES) if nearest else (*EDGES, 2 * EDGES[-1])
    return Observed(tuple(zip(ends, map(float, cells), strict=True)), 0.0, ends[-1])


def mix_of(pairs: Pairs) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How often each class was answered by the old model and by the new one, from a square of cells."""
    classes = isqrt(len(pairs.cells))
    rows = [pairs.cells[start : start + classes] for start in range(0, len(pairs.cells), classes)]
    return tuple(map(sum, rows)), tuple(map(sum, zip(*rows, strict=True)))


def _wanted(labels: Labels, policy: HealthPolicy, seen: _Differing) -> str:
    wanted = max(min(policy.labels, seen.differing) - labels.given, 0)
    return f"{counted(wanted, 'more label')} may be given, {labels.waiting} wait"


def _loss(loss: float) -> str:
    return f"{points(loss)} of accuracy lost" if loss >= 0 else f"{points(-loss)} of accuracy won"


def _found(sign: Sign, words: str, *, value: float | None = None, limit: float | None = None) -> HealthFinding:
    return HealthFinding(kind=Kind.ANSWERS, sign=sign, words=words, value=value, limit=limit)
