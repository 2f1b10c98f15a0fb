"""The promotion gate: what it said of a variant, who went past it, and what a model's rules tolerate."""

from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from edgeops import limits
from edgeops.api.shapes.shape import Answer, Request, Text
from edgeops.artifact.manifest import Variant

_Share = Annotated[float, Field(ge=0, le=1)]


class Rule(Answer):
    """One rule of a promotion gate, and what it said."""

    name: str
    passed: bool
    #: In words: figures, what they are compared with, and where it failed what to do.
    reason: str
    #: What was found, and what it was compared with, by name.
    measured: dict[str, float] = {}
    limits: dict[str, float] = {}


class Override(Answer):
    """Who let devices run it although a rule failed, when and why."""

    by: str
    at: AwareDatetime
    remark: str


class Promotion(Answer):
    """What the promotion gate said of one variant."""

    #: Whether every rule did.
    passed: bool
    rules: tuple[Rule, ...] = ()
    #: Rows it was judged on that it never learnt from.
    unseen_rows: int = 0
    override: Override | None = None

    @property
    def may_be_listed(self) -> bool:
        """Whether the gate let it pass, or somebody overrode that."""
        return self.passed or self.override is not None


class Slice(Answer):
    """The rows of one group of the evaluation set: a device, a person, a site."""

    name: str
    #: The column that names it; empty: that of groups.
    by: str = ""
    rows: int
    #: Share of wrong answers, or mean error in units; and where it lies with 95 % certainty.
    cost: float
    low: float
    high: float
    #: False: too few rows to say anything.
    is_judged: bool


class LostColumn(Answer):
    """What answers cost more when one input column is lost."""

    column: str
    #: Null: the model refuses such rows.
    missing: float | None
    #: Stuck at the median of what was learnt from.
    stuck: float


class PermutedColumn(Answer):
    """What answers cost more when each input has one column from another input."""

    column: str
    loss: float
    #: Standard deviation over the permutations.
    spread: float


class ColumnShare(Answer):
    """A column's share of what all columns move the answer of the float network."""

    column: str
    share: float


class Scrutiny(Answer):
    """What is known of one variant beyond the mean of all rows; what costs most comes first."""

    slices: tuple[Slice, ...] = ()
    columns: tuple[LostColumn, ...] = ()
    #: What the file goes by.
    permuted: tuple[PermutedColumn, ...] = ()


class Folds(Answer):
    """What int8 files answered that were each trained without the rows they answer."""

    #: `row`, `group` or `time`.
    by: str
    #: Share of right answers, or mean error in units, of each fold.
    figures: tuple[float, ...]
    rows: tuple[int, ...]
    mean: float
    #: Standard deviation over the folds.
    spread: float


class Judgement(Answer):
    """What a run found beside its metrics."""

    variants: dict[str, Scrutiny] = {}
    #: Null: nobody asked for them.
    folds: Folds | None = None
    #: What the float network goes by: integrated gradients.
    shares: tuple[ColumnShare, ...] = ()


class OverrideRequest(Request):
    """Go past the promotion gate of a version and publish it; null means every variant."""

    #: Why devices may run it all the same; stands in the signed descriptor and in the audit trail.
    remark: Annotated[Text, StringConstraints(min_length=1, max_length=limits.MAX_DETAIL_LENGTH)]
    variant: Variant | None = None


class PromotionPolicy(Answer):
    """What the rules of a model tolerate; null = the figure is told, and nothing fails because of it.

    Shares of 1; of a regression, of what always answering the median of the training rows errs by.
    """

    least_accuracy: float | None = None
    #: In the units of the number.
    most_error: float | None = None
    tolerated_loss: float
    hard_loss: float
    slice_loss: float
    quantization_loss: float
    quantization_bound: float
    quantization_changes: float
    false_alarms: float
    calibration_error: float
    group_loss: float | None = None
    channel_loss: float | None = None
    #: Of If-Match: another one when any of the values above is.
    edition: str = ""


class PromotionPolicyRequest(Request):
    """The limits that a model's rules shall have; what is left out is the default."""

    least_accuracy: _Share | None = None
    most_error: Annotated[float, Field(gt=0)] | None = None
    tolerated_loss: _Share | None = None
    hard_loss: _Share | None = None
    slice_loss: _Share | None = None
    quantization_loss: _Share | None = None
    quantization_bound: _Share | None = None
    quantization_changes: _Share | None = None
    false_alarms: _Share | None = None
    calibration_error: _Share | None = None
    group_loss: _Share | None = None
    channel_loss: _Share | None = None
