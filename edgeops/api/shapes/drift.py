"""Verdicts on drift."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeops.api.shapes.shape import Answer, Number


class ChannelDrift(Answer):
    """What one watched channel shows: the window that says most, beside the reference."""

    name: str
    #: `data` (an input) or `prediction` (an answer, its certainty, an embedding).
    kind: str
    #: D, the largest distance between the two cumulative histograms, 0 to 1; and the least that matters.
    distance: float
    floor: float
    #: Of such a distance without drift, corrected over all channels.
    p_value: float
    #: Independent rows that the window's rows are worth.
    effective_rows: float
    drifted: bool
    #: Seen from the reference: `none`, `higher`, `lower`, `wider`, `narrower`; of classes `mix`.
    movement: str
    #: 31 edges between the 32 bins; none when this server does not hold the artifact.
    edges: tuple[Number, ...] = ()
    #: Counts per bin.
    reference_histogram: tuple[int, ...]
    window_histogram: tuple[int, ...]


class QualityIssue(Answer):
    """A channel whose readings cannot be trusted; a person has to look."""

    channel: str
    #: `missing`, `stuck`, `out-of-range`.
    fault: str
    detail: str


class EstimatedError(Answer):
    """Of a regression: what its answers are off by on average, estimated without labels, in its units."""

    #: Mean absolute error on the latest judged window; null where it cannot be told, because of what is said there.
    mae: float | None
    unknown_because: str | None
    #: Mean absolute error on the evaluation set.
    evaluation_mae: float
    #: Empty = nobody named them.
    units: str


class DriftFinding(Answer):
    """What one judgement of drift said, of a fleet or of one device against its siblings."""

    id: str
    model: str
    version: int
    digest: str
    deployment: str
    #: Null = the fleet.
    device_id: str | None = None
    #: `stable`, `drift`, `not-enough-evidence`.
    verdict: str
    #: `data`, `prediction`, `data-quality`, `performance`.
    kinds: tuple[str, ...]
    #: Answers come in another mix, and that alone explains what moved in the inputs.
    class_mix_only: bool = False
    #: What was found, how sure that is, and what to do.
    reason: str
    rows: int
    windows: int
    #: More rows that a verdict needs, about; null unless there is not enough evidence.
    rows_needed: int | None = None
    #: Expected accuracy on the latest judged window; null = unknown.
    estimated_accuracy: float | None = None
    #: Null but of fleets that run a regression which knows how far off its answers may be.
    estimated_error: EstimatedError | None = None
    #: Names of the channels that drifted.
    drifted: tuple[str, ...] = ()
    quality: tuple[QualityIssue, ...] = ()
    channels: Annotated[
        tuple[ChannelDrift, ...] | None, Field(description="In the model's order; null in lists, which leave them out.")
    ] = None
    #: When this began to be so, and when it was judged last.
    first_at: AwareDatetime
    last_at: AwareDatetime


class Drift(Answer):
    """Whether the world still looks like what a model learnt from, wherever the model runs now."""

    model: str
    #: The worst of the findings: `drift`, else `not-enough-evidence`, else `stable`; without a finding of a fleet
    #: `not-enough-evidence`.
    verdict: str
    #: In one sentence.
    reason: str
    #: The fleet's finding of each deployment, then of those single devices that differ from their siblings.
    findings: tuple[DriftFinding, ...]
