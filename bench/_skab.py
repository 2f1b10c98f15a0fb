"""The Skoltech Anomaly Benchmark: runs of a water loop with eight raw channels at 1 Hz, and how they are judged.

Not a row. Katser & Kozitsin, SKAB v0.9 (2020): the first 400 rows of a run are for learning what is normal, the rest
is judged row by row, all runs together. Flagging every row scores F1 0.70, so the share of false alarms is told with
it. One margin serves all runs of a group; it is chosen on the runs of the other groups.
"""

import csv
import gzip
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: Of each run, for learning what is normal.
LEARNING_ROWS = 400
#: What is tried as a margin: so many quantiles of the scores.
_MARGINS = 97

Array = np.ndarray[Any, Any]
#: Scores (n,) of a run's rows (n, channels); what is learnt is learnt from the first LEARNING_ROWS.
Detector = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Run:
    """Rows (n, channels) in time order and which of them are anomalous (n,)."""

    name: str
    rows: Array
    anomalous: Array

    @property
    def group(self) -> str:
        """What was tampered with: valve1, valve2 or other."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Verdict:
    """Rows of all judged runs."""

    hits: int
    misses: int
    false_alarms: int
    calm: int

    @property
    def f1(self) -> float:
        return 2 * self.hits / max(2 * self.hits + self.misses + self.false_alarms, 1)

    @property
    def false_alarm_rate(self) -> float:
        """Share of normal rows that were flagged."""
        return self.false_alarms / max(self.false_alarms + self.calm, 1)


def data_path() -> Path:
    """Where the research data should be."""
    default = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("EDGEOPS_TEST_DATA", default)) / "skab" / "skab.csv.gz"


def read_runs(path: Path) -> list[Run]:
    """The labelled runs, by name."""
    rows: dict[str, list[list[str]]] = {}
    with gzip.open(path, "rt") as file:
        reader = csv.reader(file)
        next(reader)
        for name, _, *readings, anomalous, _ in reader:
            if anomalous:
                rows.setdefault(name, []).append([*readings, anomalous])
    tables = {name: np.array(of, np.float64) for name, of in sorted(rows.items())}
    return [Run(name, table[:, :-1], table[:, -1] > 0) for name, table in tables.items()]


def judge(runs: Sequence[Run], scores: Sequence[Array], margins: Mapping[str, float]) -> Verdict:
    """Alarms are scores above the margin of the run's group; a row without a score (NaN) is no alarm."""
    hits = misses = false_alarms = calm = 0
    for run, of in zip(runs, scores, strict=True):
        alarms, anomalous = of[LEARNING_ROWS:] > margins[run.group], run.anomalous[LEARNING_ROWS:]
        hits += int((alarms & anomalous).sum())
        misses += int((~alarms & anomalous).sum())
        false_alarms += int((alarms & ~anomalous).sum())
        calm += int((~alarms & ~anomalous).sum())
    return Verdict(hits, misses, false_alarms, calm)


def best_margin(runs: Sequence[Run], scores: Sequence[Array]) -> float:
    """The quantile of all judged scores with the highest F1 on these runs."""
    judged = np.concatenate([of[LEARNING_ROWS:] for of in scores])
    margins = np.nanquantile(judged, np.linspace(0.02, 0.98, _MARGINS))
    groups = {run.group for run in runs}
    return float(max(margins, key=lambda margin: judge(runs, scores, dict.fromkeys(groups, margin)).f1))


def margins_by_others(runs: Sequence[Run], scores: Sequence[Array]) -> dict[str, float]:
    """Per group, the best margin of all other groups."""
    margins = {}
    for group in sorted({run.group for run in runs}):
        others = [number for number, run in enumerate(runs) if run.group != group]
        margins[group] = best_margin([runs[one] for one in others], [scores[one] for one in others])
    return margins
