"""The distance of trailing means from normal ones, against labels of a water loop (the protocol is in `_skab`)."""

from typing import Any

import numpy as np

from bench import _skab
from edgeops.model.distance import learn_distance

WINDOW_ROWS = 30
LEAST_F1, MOST_FALSE_ALARMS = 0.80, 0.30


def measure() -> dict[str, Any]:
    """F1 at margins from other groups; the other side flags every row."""
    row = {
        "name": "skab",
        "unit": "F1",
        "bar": f">= {LEAST_F1:.2f}, false alarms in <= {MOST_FALSE_ALARMS:.0%} of normal rows",
    }
    path = _skab.data_path()
    if not path.exists():
        why = f"not measured: there is no {path}; set EDGEOPS_TEST_DATA to the folder of the research data"
        return {**row, "value": 0.0, "baseline": None, "holds": False, "inside": why}
    runs = _skab.read_runs(path)
    scores = [detect(run.rows) for run in runs]
    margins = _skab.margins_by_others(runs, scores)
    found = _skab.judge(runs, scores, margins)
    everything = _skab.judge(runs, scores=[np.ones(len(run.rows)) for run in runs], margins=dict.fromkeys(margins, 0.0))
    own = _skab.best_margin(runs, scores)
    in_sample = _skab.judge(runs, scores, dict.fromkeys(margins, own))
    return {
        **row,
        "value": round(found.f1, 3),
        "baseline": round(everything.f1, 3),
        "holds": holds(found),
        "inside": (
            f"value: {len(runs)} runs, rows from {_skab.LEARNING_ROWS} on, learnt from those before; trailing means of "
            f"{WINDOW_ROWS} rows, no look-ahead; false alarms in {found.false_alarm_rate:.1%} of normal rows. Margins "
            f"chosen on the other groups: {', '.join(f'{group} {margin:.2f}' for group, margin in margins.items())}. "
            f"With the best margin of all runs, {own:.2f}: F1 {in_sample.f1:.3f}, {in_sample.false_alarm_rate:.1%}. "
            "baseline: every row is flagged"
        ),
    }


def detect(rows: _skab.Array, window_rows: int = WINDOW_ROWS) -> _skab.Array:
    """Scores (n,) of a run, learnt from its first rows."""
    return learn_distance(rows[: _skab.LEARNING_ROWS], window_rows=window_rows).scores(rows)


def holds(found: _skab.Verdict) -> bool:
    """Whether a verdict reaches the bar."""
    return found.f1 >= LEAST_F1 and found.false_alarm_rate <= MOST_FALSE_ALARMS
