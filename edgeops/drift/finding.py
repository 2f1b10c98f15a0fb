"""What one judgement of drift says: values only, nothing is judged here."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What is known about a stream of windows."""

    #: Nothing that matters has moved.
    STABLE = "stable"
    #: Something has moved: significantly, materially and again.
    DRIFT = "drift"
    #: Too little was seen to say either; never shown as healthy.
    NOT_ENOUGH_EVIDENCE = "not-enough-evidence"


class Kind(StrEnum):
    """What has moved."""

    #: Inputs: columns, window features, image statistics.
    DATA = "data"
    #: Answers, their certainty, and projections of the embedding.
    PREDICTION = "prediction"
    #: A sensor is missing, stuck or far out of its range; blocks retraining, a person has to look.
    QUALITY = "data-quality"
    #: Estimated accuracy fell; supports a verdict, never makes one.
    PERFORMANCE = "performance"


class Fault(StrEnum):
    """What is wrong with the readings of one channel."""

    #: Far more values are missing than in the reference.
    MISSING = "missing"
    #: The value does not change any more although it did in the reference.
    STUCK = "stuck"
    #: Values lie far outside everything the reference has seen.
    OUT_OF_RANGE = "out-of-range"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityIssue:
    """One channel whose readings cannot be trusted."""

    channel: str
    fault: Fault
    #: What was seen, in words.
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedError:
    """Of a regression: what its answers are off by on average, estimated without labels, in its units.

    It supports a verdict and never makes one.
    """

    #: Mean absolute error on the latest judged window; None where it cannot be told.
    mae: float | None
    #: Why it cannot be told, in words; None where it is.
    unknown_because: str | None
    #: Mean absolute error on the evaluation set.
    evaluation_mae: float
    #: Empty = nobody named them.
    units: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFinding:
    """The evidence on one channel, of the window that shows most."""

    name: str
    kind: Kind
    #: D, the largest distance between the cumulative histograms of window and reference, 0..1.
    distance: float
    #: Chance of as much without drift: of D or of the shift of the mean rank, whichever says more, corrected over both
    #: tests and all channels (Holm).
    p_value: float
    #: Independent rows that the window's rows are worth.
    effective_rows: float
    #: The least distance that matters on this channel.
    floor: float
    drifted: bool
    #: Counts in the reference's 32 bins.
    reference_histogram: tuple[int, ...]
    window_histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one judgement of one stream says."""

    verdict: Verdict
    #: Empty unless something was found; PERFORMANCE may stand beside STABLE.
    kinds: tuple[Kind, ...]
    #: What was found, the evidence, and what to do, in words.
    reason: str
    #: In the reference's order; empty when nothing could be compared.
    channels: tuple[ChannelFinding, ...]
    #: The prediction mix moved and that alone explains what moved in the inputs.
    class_mix_only: bool
    #: Rows and windows that were looked at.
    rows: int
    windows: int
    #: More rows that a verdict needs, about; None unless NOT_ENOUGH_EVIDENCE, or where more rows would not help.
    rows_needed: int | None
    #: Expected accuracy on the latest judged window (CBPE); None without calibration.
    estimated_accuracy: float | None
    #: None but of fleets that run a regression which knows its half-widths.
    estimated_error: EstimatedError | None
    quality: tuple[QualityIssue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFinding:
    """What one judgement of a group of devices says."""

    fleet: Finding
    #: Per device: DRIFT = this device has moved away from its siblings and from the reference.
    local: Mapping[str, Finding]
