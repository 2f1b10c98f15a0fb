"""The section of a model card that says what the model is worth, one per task."""

import numpy as np
from numpy.typing import NDArray

from edgeops.card.markdown import plain, table
from edgeops.learning.anomaly import Alarms
from edgeops.learning.classification import Answers
from edgeops.learning.fragility import LostColumn
from edgeops.learning.regression import Estimates, slices
from edgeops.learning.regression_promotion import SLICES
from edgeops.learning.slices import FEWEST_ROWS, Slice

_CONFUSIONS_SHOWN = 5
_COLUMNS_SHOWN = 10


def worth_of_classes(judged: Answers, classes: tuple[str, ...], figures: dict[str, float]) -> str:
    """Of a classifier: `figures` are those of its manifest."""
    of_each = zip(classes, judged.precision, judged.recall, judged.f1, judged.confusion.sum(axis=1), strict=True)
    lines = [
        (name, f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", count)
        for name, precision, recall, f1, count in of_each
    ]
    return f"""## What it is worth

Judged on this very file, through the same code that a device runs, on {len(judged)} rows held back:
accuracy {judged.accuracy:.4f} (with 95 % certainty {figures["accuracy-low"]:.4f} to {figures["accuracy-high"]:.4f}),
balanced over the classes {judged.balanced_accuracy:.4f}, macro F1 {float(judged.f1.mean()):.4f}; always answering the
most frequent class scores {judged.majority:.4f}.
{_confidence(figures)}

{table(("class", "precision", "recall", "F1", "rows"), lines)}

{_confusions(judged, classes)}"""


def worth_of_numbers(
    judged: Estimates,
    figures: dict[str, float],
    *,
    units: str,
    edges: NDArray[np.float32],
    half_widths: NDArray[np.float64] | None,
) -> str:
    """Of a regression: `figures` are those of its manifest, half-widths (32,) those of the bins under `edges` (31,)."""
    slice_of = slices(judged.truths, SLICES)
    rows = []
    for number in np.unique(slice_of):
        own = judged.only(slice_of == number)
        span = f"{own.truths.min():.4g} to {own.truths.max():.4g}"
        bias = f"{own.bias:+.4g}"
        rows.append((span, float(own.mae), float(own.median_error), bias, float(own.baseline), len(own)))
    truth = f"true value{f', {units}' if units else ''}"
    head = (truth, "mean error", "median error", "bias", "median answered", "rows")
    return f"""## What it is worth

Judged on this very file, through the same code that a device runs, on {len(judged)} rows held back: mean error
{_amount(judged.mae, units)} (with 95 % certainty {figures["mae-low"]:.4g} to {figures["mae-high"]:.4g}), half of the
errors below {_amount(judged.median_error, units)}, root mean square {_amount(judged.rmse, units)}, bias
{judged.bias:+.4g}, R2 {judged.r2:.4f}; always answering the median of the training rows errs by
{_amount(judged.baseline, units)}. {_refusals(judged)}

{table(head, rows)}

{_intervals(figures, units=units, edges=edges, half_widths=half_widths)}"""


def worth_of_alarms(judged: Alarms) -> str:
    """Of an anomaly detector."""
    refused = f" It refused {judged.refused} of them, which raises no alarm." if judged.refused else ""
    if judged.has_labels:
        found = f"""Of {judged.anomalies} anomalous ones {judged.recall:.1%} are alarms: F1 {judged.f1:.4f}, AUC
{judged.auc:.4f} (chance 0.5, with 95 % certainty at least {judged.auc_low:.4f})."""
    else:
        found = "None of them is known to be anomalous, so nothing says whether it finds any."
    return f"""## What it is worth

Judged on this very file, through the same code that a device runs, on {len(judged)} inputs held back: a score above
{judged.threshold:g} is an alarm. {judged.alarm_rate:.2%} of all are alarms, and {judged.false_alarm_rate:.2%} of the
{int(judged.normal.sum())} normal ones.{refused} {found}"""


def worth_of_parts(slices: tuple[Slice, ...], columns: tuple[LostColumn, ...]) -> str:
    """Of any file: what single groups and columns cost. Groups may be persons, so only the run names them."""
    parts = ["## Groups and columns", _groups(slices)]
    if columns:
        rows = [
            (one.column, "refused" if one.missing is None else f"{one.missing:+.4g}", f"{one.stuck:+.4g}")
            for one in columns[:_COLUMNS_SHOWN]
        ]
        parts.append(f"""What answers cost more where one column is lost, the most fragile of {len(columns)} first
(shares of wrong answers, or errors in units):

{table(("column", "missing", "stuck at its median"), rows)}""")
    return "\n\n".join(parts)


def _groups(slices: tuple[Slice, ...]) -> str:
    if not slices:
        return "The rows that judge are not of several groups, so nothing is known of single devices, persons or sites."
    judged = [one for one in slices if one.is_judged]
    small = len(slices) - len(judged)
    unknown = f" {small} of fewer than {FEWEST_ROWS} rows are too small to be judged." if small else ""
    if not judged:
        return f"None of {len(slices)} groups has the {FEWEST_ROWS} rows that could judge it."
    worst, best = (choose(judged, key=lambda one: one.cost) for choose in (max, min))
    columns = ", ".join(dict.fromkeys(plain(one.by) for one in slices if one.by))
    by = f" by {columns}" if columns else ""
    return f"""Of {len(judged)} groups{by} the worst costs {worst.cost:.4g} in {worst.rows} rows (with 95 % certainty
{worst.low:.4g} to {worst.high:.4g}), the best {best.cost:.4g}: shares of wrong answers, or errors in units.{unknown}"""


def _confidence(figures: dict[str, float]) -> str:
    if "calibration-error" not in figures:
        return "Too few rows were held back to say how far its confidence is off."
    return f"""Its confidence is off by {figures["calibration-error"]:.3f} (with 95 % certainty
{figures["calibration-error-low"]:.3f} to {figures["calibration-error-high"]:.3f}; Kumar, Liang & Ma 2019)."""


def _refusals(judged: Estimates) -> str:
    if not judged.refused:
        return "It refused no row."
    return f"It refused {judged.refused} rows, each counted as the worst error of model or median."


def _intervals(
    figures: dict[str, float], *, units: str, edges: NDArray[np.float32], half_widths: NDArray[np.float64] | None
) -> str:
    """What lies around an answer, from one change of the width to the next."""
    if half_widths is None:
        return "Too few rows were held back to say how far off one answer may be."
    measured = ""
    if "coverage-90" in figures:
        measured = f"""
Fitted on one half of the rows held back, intervals held {figures["coverage-90"]:.1%} of the other half."""
    starts = [0, *(place for place in range(1, len(half_widths)) if half_widths[place] != half_widths[place - 1])]
    lines = list[tuple[str, str]]()
    for start, end in zip(starts, [*starts[1:], len(half_widths)], strict=True):
        low = f"{edges[start - 1]:.4g}" if start else ""
        high = f"{edges[end - 1]:.4g}" if end < len(half_widths) else ""
        span = f"{low} to {high}" if low and high else f"below {high}" if high else f"from {low}" if low else "any"
        lines.append((span, f"{half_widths[start]:.4g}"))
    head = (f"answer{f', {units}' if units else ''}", "nine of ten truths within")
    return f"""Nine of ten truths of rows like those held back lie within this (split conformal).{measured}

{table(head, lines)}"""


def _confusions(judged: Answers, classes: tuple[str, ...]) -> str:
    """The mistakes that happen most."""
    wrong = judged.confusion[:, : len(classes)].copy()
    np.fill_diagonal(wrong, 0)
    worst = [divmod(int(place), len(classes)) for place in np.argsort(-wrong, axis=None, kind="stable")]
    shown = [
        f"{plain(classes[truth])} taken for {plain(classes[answer])} ({wrong[truth, answer]})"
        for truth, answer in worst[:_CONFUSIONS_SHOWN]
        if wrong[truth, answer]
    ]
    return f"Most frequent mistakes: {', '.join(shown)}." if shown else "It made no mistake on these rows."


def _amount(value: float, units: str) -> str:
    return f"{value:.4g} {units}".rstrip()
