"""What an anomaly detector did on rows it never saw, in figures.

Labels are few where anomalies are looked for, so every figure says what it needs. Pure functions of scores. Who gave
them, and whether a figure is good enough, is decided elsewhere.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

NORMAL, ANOMALY = 0, 1
#: Of the normal distribution: one-sided 95 %.
_Z_95 = 1.6448536269514722


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alarms:
    """A detector's scores of rows (n), or of windows."""

    #: NORMAL, ANOMALY, or another number where nobody knows.
    truths: Integers
    #: NaN where the model refused, which raises no alarm.
    scores: Floats
    #: A score above it is an alarm.
    threshold: float

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def alarms(self) -> Booleans:
        """Which rows are alarms (n)."""
        return np.asarray(self.scores > self.threshold)

    @property
    def costs(self) -> Floats:
        """What each row costs (n): 1 of a false alarm or a missed anomaly."""
        return np.where(self.normal, self.alarms, (self.truths == ANOMALY) & ~self.alarms).astype(np.float64)

    @property
    def is_known(self) -> Booleans:
        """Rows (n) that are normal or known to be anomalous, so that an alarm is right or wrong."""
        return np.asarray(self.normal | (self.truths == ANOMALY))

    def only(self, rows: Booleans) -> "Alarms":
        """The scores of some of the rows."""
        return Alarms(truths=self.truths[rows], scores=self.scores[rows], threshold=self.threshold)

    @property
    def refused(self) -> int:
        """Rows that the model refused."""
        return int(np.isnan(self.scores).sum())

    @property
    def anomalies(self) -> int:
        """Rows that are known to be anomalous."""
        return int((self.truths == ANOMALY).sum())

    @property
    def normal(self) -> Booleans:
        """Rows (n) whose alarms are false: those known to be normal, and where none is known, all but anomalies."""
        known = self.truths == NORMAL
        return np.asarray(known if known.any() else self.truths != ANOMALY)

    @property
    def has_labels(self) -> bool:
        """Whether there are rows of both kinds to be told apart."""
        return bool(self.anomalies and self.normal.any())

    @property
    def alarm_rate(self) -> float:
        """Share of all rows that are alarms."""
        return float(self.alarms.mean()) if len(self) else 0.0

    @property
    def false_alarm_rate(self) -> float:
        """Share of normal rows that are alarms; 0 of none."""
        normal = self.normal
        return float(self.alarms[normal].mean()) if normal.any() else 0.0

    @property
    def recall(self) -> float:
        """Share of anomalous rows that are alarms; 0 of none."""
        return float(self.alarms[self.truths == ANOMALY].mean()) if self.anomalies else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and of the share of alarms that are right, over normal and anomalous rows."""
        hits = int(self.alarms[self.truths == ANOMALY].sum())
        false = int(self.alarms[self.normal].sum())
        return 2 * hits / max(hits + false + self.anomalies, 1)

    @property
    def auc(self) -> float:
        """Chance that an anomalous row scores higher than a normal one, equals counting half (Mann & Whitney 1947).

        A refused row scores lowest. One half where there are not both kinds.
        """
        if not self.has_labels:
            return 0.5
        scores = np.where(np.isnan(self.scores), -np.inf, self.scores)
        normal, anomalous = np.sort(scores[self.normal]), scores[self.truths == ANOMALY]
        below = np.searchsorted(normal, anomalous, side="left") + np.searchsorted(normal, anomalous, side="right")
        return float(below.mean() / (2 * len(normal)))

    @property
    def auc_low(self) -> float:
        """What the AUC is at least, with 95 % certainty (one-sided; Hanley & McNeil 1982)."""
        auc, anomalies, normal = self.auc, self.anomalies, int(self.normal.sum())
        if not self.has_labels:
            return 0.0
        above, beyond = auc / (2 - auc), 2 * auc**2 / (1 + auc)
        spread = (anomalies - 1) * (above - auc**2) + (normal - 1) * (beyond - auc**2)
        return auc - _Z_95 * math.sqrt(max(auc * (1 - auc) + spread, 0.0) / (anomalies * normal))

    def figures(self) -> dict[str, float]:
        """What goes into a manifest; what needs labels only where there are labels."""
        figures = {"alarm-rate": self.alarm_rate, "false-alarm-rate": self.false_alarm_rate, "rows": float(len(self))}
        if self.has_labels:
            figures |= {"recall": self.recall, "f1": self.f1, "auc": self.auc, "anomalies": float(self.anomalies)}
        return {name: round(value, 6) for name, value in figures.items()}
