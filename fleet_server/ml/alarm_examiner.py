"""Judges anomaly detectors: by their alarms, and by labels where there are some."""

from edgeops.artifact.manifest import Promotion, Variant
from edgeops.data.splits import Split
from edgeops.learning.anomaly import Alarms
from edgeops.learning.anomaly_promotion import Candidate, promote
from edgeops.learning.promotion import Measured
from edgeops.model.model import Model
from edgeops.sketch.reference import ReferenceProfile
from fleet_server.ml.card_worth import worth_of_alarms
from fleet_server.ml.judging import Judgement, judge_alarms
from fleet_server.ml.trained import Trained
from fleet_server.ml.watching import learnt_profile


class AlarmExaminer:
    """An examiner of anomaly detectors."""

    def __init__(self, trained: Trained) -> None:
        assert trained.threshold is not None, "a detector has one"
        self._trained, self._threshold = trained, trained.threshold
        self._windows = trained.windows.only(Split.EVALUATION)

    def judge(self, model: Model) -> Judgement[Alarms]:
        """Let a file score the evaluation set."""
        return judge_alarms(model, self._windows, threshold=self._threshold)

    def reference(
        self, model: Model, _variant: Variant, _judgement: Judgement[Alarms]
    ) -> tuple[ReferenceProfile, tuple[str, ...]]:
        """Of the rows it learnt from."""
        return learnt_profile(model, self._trained.windows, self._trained.channel_names), ()

    def figures(self, judgement: Judgement[Alarms], _reference: ReferenceProfile) -> dict[str, float]:
        """How often it raises an alarm, and rightly where that is known."""
        return judgement.answers.figures()

    def worth(self, judgement: Judgement[Alarms], _reference: ReferenceProfile) -> str:
        """The section of the card."""
        return worth_of_alarms(judgement.answers)

    def promote(
        self,
        _model: Model,
        _variant: Variant,
        judgement: Judgement[Alarms],
        *,
        float32: Judgement[Alarms],
        measured: Measured,
    ) -> Promotion:
        """Put it before the promotion gate."""
        candidate = Candidate(
            evaluation=judgement.answers,
            float32=float32.answers,
            measured=measured,
            budgets=self._trained.plan.budgets,
            policy=self._trained.task.policy,
        )
        return promote(candidate)
