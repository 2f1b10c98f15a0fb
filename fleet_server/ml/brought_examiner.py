"""Judges a model that a person brought as any other of its task, and claims nothing of what it learnt from."""

from typing import Generic

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Promotion, Rule, Variant
from edgeops.learning.promotion import Measured
from edgeops.learning.scrutiny import Scrutiny
from edgeops.model.model import Model
from edgeops.sketch.reference import ReferenceProfile
from fleet_server.ml.examiner import Examiner
from fleet_server.ml.judging import JudgedT, Judgement
from fleet_server.ml.windows import Windows

_UNKNOWN = "brought as a file: whether it learnt from the rows that judged it is not known here"
_ALONE = "there is no float32 file beside it: what quantizing cost is not known here"


class BroughtExaminer(Generic[JudgedT]):
    """An examiner of the model's task, with what is not known said beside it."""

    def __init__(self, examiner: Examiner[JudgedT], *, is_alone: bool) -> None:
        """`is_alone` = a finished file, which has no unquantized sibling here."""
        self._examiner, self._is_alone = examiner, is_alone

    def judge(self, model: Model) -> Judgement[JudgedT]:
        """As its task's examiner."""
        return self._examiner.judge(model)

    def reference(
        self, model: Model, variant: Variant, judgement: Judgement[JudgedT]
    ) -> tuple[ReferenceProfile, tuple[str, ...]]:
        """As its task's examiner."""
        return self._examiner.reference(model, variant, judgement)

    def costs(self, model: Model, windows: Windows) -> NDArray[np.float64]:
        """As its task's examiner."""
        return self._examiner.costs(model, windows)

    def figures(self, judgement: Judgement[JudgedT], reference: ReferenceProfile) -> dict[str, float]:
        """As its task's examiner."""
        return self._examiner.figures(judgement, reference)

    def worth(self, judgement: Judgement[JudgedT], reference: ReferenceProfile) -> str:
        """As its task's examiner, and how far that is to be believed."""
        return f"""{self._examiner.worth(judgement, reference)}

It was brought as a file, and nobody here knows what it learnt from: where rows of this snapshot were among it, these
figures are too good."""

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
        """As its task's examiner; of no row it is claimed that the model never saw it."""
        said = self._examiner.promote(model, variant, judgement, scrutiny=scrutiny, float32=float32, measured=measured)
        notes = [_UNKNOWN]
        if self._is_alone and variant is not Variant.FLOAT32:
            notes.append(_ALONE)
        brought = Rule(name="brought", passed=True, reason="; ".join(notes))
        return msgspec.structs.replace(said, rules=(*said.rules, brought), unseen_rows=0)
