"""Judges classifiers: against guessing, against the champion, and a healed one also on the labels bought since."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import ChannelKind, Promotion, Variant
from edgeops.data.splits import Split
from edgeops.learning.calibration import CalibrationError, calibration_error
from edgeops.learning.classification import Answers
from edgeops.learning.classification_promotion import Candidate, LeftOut, Recent, Samples, promote
from edgeops.learning.intervals import cost_bounds
from edgeops.learning.promotion import Measured
from edgeops.learning.scrutiny import Scrutiny
from edgeops.model.model import Model
from edgeops.sketch.calibration import Calibration
from edgeops.sketch.healed import healed_reference
from edgeops.sketch.reference import ReferenceProfile
from edgeops.sketch.window import Sketch
from fleet_server.ml.card_worth import worth_of_classes
from fleet_server.ml.champion import Champions
from fleet_server.ml.judging import Judgement, channels_of, judge_classes
from fleet_server.ml.recent import recent_samples
from fleet_server.ml.scrutiny import clusters_of
from fleet_server.ml.trained import Trained
from fleet_server.ml.watching import learnt_profile
from fleet_server.ml.windows import Windows

_NO_WINDOWS = (
    "no telemetry windows or nominated samples show what the model is healed on: its reference is made of the rows it "
    "learnt from, and what has drifted will be found again"
)
#: Channels that the inputs alone decide have none of these kinds.
_OF_THE_MODEL = (ChannelKind.PROJECTION, ChannelKind.ANSWER, ChannelKind.CONFIDENCE, ChannelKind.MARGIN)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Healed:
    """What a healed model is compared with, and its reference made of."""

    #: Rows bought since the champion, and answers to them by fold models that did not learn from them.
    fresh: Windows
    unseen: Judgement[Answers] | None
    left_out: tuple[LeftOut, ...]
    #: The inputs that it is healed on, as devices saw them; None = no windows.
    inputs: Sketch | None
    #: Nominated rows (n, columns), and how many rows each stands for (n).
    nominated: NDArray[np.float32]
    weights: NDArray[np.float64]


class ClassExaminer:
    """An examiner of classifiers."""

    def __init__(self, trained: Trained, champions: Champions, healed: Healed | None) -> None:
        """`healed` None = an ordinary training."""
        self._trained, self._champions, self._healed = trained, champions, healed
        self._recent = recent_samples(trained.task, trained.windows, champions)
        self._classes = trained.schema.classes

    def judge(self, model: Model) -> Judgement[Answers]:
        """Let a file answer the evaluation set."""
        return judge_classes(model, self._trained.windows.only(Split.EVALUATION), classes=len(self._classes))

    def reference(
        self, model: Model, variant: Variant, judgement: Judgement[Answers]
    ) -> tuple[ReferenceProfile, tuple[str, ...]]:
        """Of the rows it learnt from; of a healed model, of the inputs that it is healed on."""
        trained, healed, names = self._trained, self._healed, self._trained.channel_names
        discrete = [channel.name for channel in trained.channels if channel.kind is ChannelKind.ANSWER]
        calibration = self._worth_of_confidence(judgement)
        notes: tuple[str, ...] = ()
        if healed is not None:
            values, is_answered = channels_of(model, healed.nominated[:, np.newaxis])
            previous = self._champions.models[variant].reference
            if previous is not None and healed.inputs is not None and len(values):
                profile = healed_reference(
                    previous,
                    healed.inputs,
                    names=names,
                    is_input=[channel.kind not in _OF_THE_MODEL for channel in trained.channels],
                    values=values,
                    weights=healed.weights[is_answered],
                    discrete=discrete,
                    calibration=calibration,
                )
                return profile, ()
            notes = (_NO_WINDOWS,)
        profile = learnt_profile(
            model,
            trained.windows,
            names,
            discrete=discrete,
            answer=discrete[0] if discrete else None,
            calibration=calibration,
        )
        return profile, notes

    def costs(self, model: Model, windows: Windows) -> NDArray[np.float64]:
        """1 of each wrong answer (n,)."""
        return judge_classes(model, windows, classes=len(self._classes)).answers.costs

    def figures(self, judgement: Judgement[Answers], _reference: ReferenceProfile) -> dict[str, float]:
        """Accuracy with its interval, recall by class, and how far confidences are off."""
        low, high = cost_bounds(judgement.answers.costs, clusters_of(self._trained.windows))
        figures = {"accuracy-low": 1 - high, "accuracy-high": 1 - low}
        calibration = _calibration(judgement)
        if calibration is not None:
            figures |= {
                "calibration-error": calibration.error,
                "calibration-error-low": calibration.low,
                "calibration-error-high": calibration.high,
            }
        rounded = {name: round(value, 6) for name, value in figures.items()}
        return judgement.answers.figures(self._classes) | rounded

    def worth(self, judgement: Judgement[Answers], reference: ReferenceProfile) -> str:
        """The section of the card."""
        return worth_of_classes(judgement.answers, self._classes, self.figures(judgement, reference))

    def promote(
        self,
        model: Model,
        variant: Variant,
        judgement: Judgement[Answers],
        *,
        scrutiny: Scrutiny,
        float32: Judgement[Answers],
        measured: Measured,
    ) -> Promotion:
        """Put it before the promotion gate."""
        healed, recent = self._healed, None
        if healed is not None and healed.unseen is not None:
            incumbent = self._champions.models[variant]
            recent = Recent(
                champion=judge_classes(incumbent, healed.fresh, classes=len(self._classes)).answers,
                unseen=healed.unseen.answers,
                file=judge_classes(model, healed.fresh, classes=len(self._classes)).answers,
            )
        candidate = Candidate(
            slices=scrutiny.slices,
            columns=scrutiny.columns,
            classes=self._classes,
            evaluation=judgement.answers,
            float32=float32.answers,
            champion=self._champions.beside(variant, judgement.answers, judge=lambda one: self.judge(one).answers),
            recent=recent,
            samples=self._samples(model, variant),
            is_brought=self._trained.plan.brought is not None,
            calibration=_calibration(judgement),
            left_out=() if healed is None else healed.left_out,
            measured=measured,
            budgets=self._trained.plan.budgets,
            policy=self._trained.task.policy,
        )
        return promote(candidate)

    def _samples(self, model: Model, variant: Variant) -> Samples | None:
        """What it answers to samples of devices that people labelled, beside what the champion does."""
        if self._recent is None:
            return None
        windows, count, champion = self._recent.windows, len(self._classes), self._champions.models.get(variant)
        return Samples(
            answers=judge_classes(model, windows, classes=count).answers,
            devices=windows.origins,
            champion=None if champion is None else judge_classes(champion, windows, classes=count).answers,
            unseen=self._recent.unseen,
        )

    def _worth_of_confidence(self, judgement: Judgement[Answers]) -> Calibration | None:
        """Answers to rows that were not learnt from: the evaluation set, of a healed model the bought ones by folds."""
        kinds = self._trained.channels
        channel = next((one.name for one in kinds if one.kind is ChannelKind.CONFIDENCE), None)
        if channel is None:
            return None
        judged = [judgement]
        if self._healed is not None and self._healed.unseen is not None:
            judged.append(self._healed.unseen)
        return Calibration(
            channel=channel,
            confidence=np.concatenate([one.confidence for one in judged]),
            correct=np.concatenate([one.answers.right for one in judged]),
        )


def _calibration(judgement: Judgement[Answers]) -> CalibrationError | None:
    return calibration_error(judgement.confidence, judgement.answers.right)
