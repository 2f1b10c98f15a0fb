"""What an examiner is: it judges the files of one task, and says all that follows from their answers."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Promotion, Variant
from edgeops.learning.promotion import Measured
from edgeops.learning.scrutiny import Scrutiny
from edgeops.model.model import Model
from edgeops.sketch.reference import ReferenceProfile
from fleet_server.ml.judging import JudgedT, Judgement
from fleet_server.ml.windows import Windows


class Examiner(Protocol[JudgedT]):
    """One per training; `class_examiner`, `number_examiner` and `alarm_examiner` have one each."""

    def judge(self, model: Model) -> Judgement[JudgedT]:
        """Let a file answer the evaluation set."""

    def reference(
        self, model: Model, variant: Variant, judgement: Judgement[JudgedT]
    ) -> tuple[ReferenceProfile, tuple[str, ...]]:
        """What is normal for this variant, and what to know about it."""

    def costs(self, model: Model, windows: Windows) -> NDArray[np.float64]:
        """What a file's answers to some windows (n) cost (n,): 1 of a wrong one, or errors in units."""

    def figures(self, judgement: Judgement[JudgedT], reference: ReferenceProfile) -> dict[str, float]:
        """What its manifest says that it is worth."""

    def worth(self, judgement: Judgement[JudgedT], reference: ReferenceProfile) -> str:
        """The same in words and tables, for its card."""

    def promote(
        self,
        model: Model,
        variant: Variant,
        judgement: Judgement[JudgedT],
        *,
        scrutiny: Scrutiny,
        float32: Judgement[JudgedT],
        measured: Measured,
    ) -> Promotion:
        """Put it before the promotion gate, beside its unquantized sibling."""
