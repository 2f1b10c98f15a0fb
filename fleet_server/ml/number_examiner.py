"""Judges regressions: against always answering the median, and against the champion where there is one."""

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import ChannelKind, Promotion, Variant
from edgeops.data.splits import Split
from edgeops.learning.intervals import cost_bounds
from edgeops.learning.promotion import Measured
from edgeops.learning.regression import Estimates
from edgeops.learning.regression_promotion import Candidate, promote
from edgeops.learning.scrutiny import Scrutiny
from edgeops.model.model import Model
from edgeops.sketch.intervals import Held, measured_coverage
from edgeops.sketch.learnt import with_intervals
from edgeops.sketch.reference import ReferenceProfile
from fleet_server.ml.card_worth import worth_of_numbers
from fleet_server.ml.champion import Champions
from fleet_server.ml.judging import Judgement, judge_numbers
from fleet_server.ml.scrutiny import clusters_of
from fleet_server.ml.trained import Trained
from fleet_server.ml.watching import learnt_profile
from fleet_server.ml.windows import Windows


class NumberExaminer:
    """An examiner of regressions."""

    def __init__(self, trained: Trained, champions: Champions) -> None:
        self._trained, self._champions = trained, champions
        self._windows = trained.windows.only(Split.EVALUATION)
        self._median = float(np.median(trained.windows.only(Split.TRAIN).targets))
        self._answer = next(one.name for one in trained.channels if one.kind is ChannelKind.ANSWER)

    def judge(self, model: Model) -> Judgement[Estimates]:
        """Let a file answer the evaluation set."""
        return judge_numbers(model, self._windows, median=self._median)

    def reference(
        self, model: Model, _variant: Variant, judgement: Judgement[Estimates]
    ) -> tuple[ReferenceProfile, tuple[str, ...]]:
        """Of the rows it learnt from; how far off answers may be, of those held back."""
        profile = learnt_profile(model, self._trained.windows, self._trained.channel_names)
        return with_intervals(profile, _held(judgement), answer=self._answer), ()

    def costs(self, model: Model, windows: Windows) -> NDArray[np.float64]:
        """The error of each answer (n,)."""
        return judge_numbers(model, windows, median=self._median).answers.errors

    def figures(self, judgement: Judgement[Estimates], reference: ReferenceProfile) -> dict[str, float]:
        """Errors in units, and what the intervals around the answers hold."""
        low, high = cost_bounds(judgement.answers.errors, clusters_of(self._trained.windows))
        figures = judgement.answers.figures()
        figures |= {"mae-low": float(f"{low:.6g}"), "mae-high": float(f"{high:.6g}")}
        edges = reference.grid.edges[reference.names.index(self._answer)]
        measured = measured_coverage(_held(judgement), edges)
        if measured is not None:
            figures |= {"coverage-90": round(measured[0], 4), "half-width-90": float(f"{measured[1]:.6g}")}
        return figures

    def worth(self, judgement: Judgement[Estimates], reference: ReferenceProfile) -> str:
        """The section of the card."""
        return worth_of_numbers(
            judgement.answers,
            self.figures(judgement, reference),
            units=self._trained.schema.units,
            edges=reference.grid.edges[reference.names.index(self._answer)],
            half_widths=reference.half_widths(),
        )

    def promote(
        self,
        _model: Model,
        variant: Variant,
        judgement: Judgement[Estimates],
        *,
        scrutiny: Scrutiny,
        float32: Judgement[Estimates],
        measured: Measured,
    ) -> Promotion:
        """Put it before the promotion gate."""
        candidate = Candidate(
            slices=scrutiny.slices,
            columns=scrutiny.columns,
            units=self._trained.schema.units,
            evaluation=judgement.answers,
            float32=float32.answers,
            champion=self._champions.beside(variant, judgement.answers, judge=lambda one: self.judge(one).answers),
            is_brought=self._trained.plan.brought is not None,
            measured=measured,
            budgets=self._trained.plan.budgets,
            policy=self._trained.task.policy,
        )
        return promote(candidate)


def _held(judgement: Judgement[Estimates]) -> Held:
    return Held(answers=judgement.answers.answers, errors=judgement.answers.errors)
