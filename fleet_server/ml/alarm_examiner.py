"""Judges anomaly detectors: by their alarms, and by labels where there are some."""

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import ChannelKind, Promotion, Variant
from edgeops.data.splits import Split
from edgeops.learning.anomaly import Alarms
from edgeops.learning.anomaly_promotion import Candidate, promote
from edgeops.learning.intervals import cost_bounds
from edgeops.learning.promotion import Measured
from edgeops.learning.scrutiny import Scrutiny
from edgeops.model.model import Model
from edgeops.sketch.alarms import lowest_alarm
from edgeops.sketch.reference import ReferenceProfile
from fleet_server.ml.card_worth import worth_of_alarms
from fleet_server.ml.champion import Champions
from fleet_server.ml.judging import Judgement, judge_alarms
from fleet_server.ml.scrutiny import clusters_of
from fleet_server.ml.trained import Trained
from fleet_server.ml.watching import learnt_profile
from fleet_server.ml.windows import Windows


class AlarmExaminer:
    """An examiner of anomaly detectors."""

    def __init__(self, trained: Trained, champions: Champions) -> None:
        assert trained.threshold is not None, "a detector has one"
        self._trained, self._champions, self._threshold = trained, champions, trained.threshold
        self._windows = trained.windows.only(Split.EVALUATION)

    def judge(self, model: Model) -> Judgement[Alarms]:
        """Let a file score the evaluation set."""
        return judge_alarms(model, self._windows, threshold=self._threshold)

    def reference(
        self, model: Model, _variant: Variant, _judgement: Judgement[Alarms]
    ) -> tuple[ReferenceProfile, tuple[str, ...]]:
        """Of the rows it learnt from; its bins tell alarms from other scores."""
        score = next(one.name for one in model.manifest.channels if one.kind is ChannelKind.ANSWER)
        borders = {score: lowest_alarm(self._threshold)}
        return learnt_profile(model, self._trained.windows, self._trained.channel_names, borders=borders), ()

    def costs(self, model: Model, windows: Windows) -> NDArray[np.float64]:
        """1 of each false alarm and each missed anomaly (n,)."""
        return judge_alarms(model, windows, threshold=self._threshold).answers.costs

    def figures(self, judgement: Judgement[Alarms], _reference: ReferenceProfile) -> dict[str, float]:
        """How often it raises an alarm, and rightly where that is known; false alarms with their interval."""
        alarms, clusters = judgement.answers, clusters_of(self._trained.windows)
        normal = alarms.normal
        if not normal.any():
            return alarms.figures()
        low, high = cost_bounds(alarms.costs[normal], None if clusters is None else clusters[normal])
        return alarms.figures() | {"false-alarm-rate-low": round(low, 6), "false-alarm-rate-high": round(high, 6)}

    def worth(self, judgement: Judgement[Alarms], _reference: ReferenceProfile) -> str:
        """The section of the card."""
        return worth_of_alarms(judgement.answers)

    def promote(
        self,
        _model: Model,
        variant: Variant,
        judgement: Judgement[Alarms],
        *,
        scrutiny: Scrutiny,
        float32: Judgement[Alarms],
        measured: Measured,
    ) -> Promotion:
        """Put it before the promotion gate."""
        candidate = Candidate(
            slices=scrutiny.slices,
            columns=scrutiny.columns,
            evaluation=judgement.answers,
            float32=float32.answers,
            champion=self._champions.beside(variant, judgement.answers, judge=self._scored),
            measured=measured,
            budgets=self._trained.plan.budgets,
            policy=self._trained.task.policy,
        )
        return promote(candidate)

    def _scored(self, champion: Model) -> Alarms:
        """What a champion scores, and calls an alarm by its own threshold."""
        threshold = champion.manifest.output.threshold
        assert threshold is not None, "a detector has one"
        return judge_alarms(champion, self._windows, threshold=threshold).answers
