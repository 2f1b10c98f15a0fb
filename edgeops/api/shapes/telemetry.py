"""What devices saw and answered: windows, their sums by the hour, predictions."""

from enum import StrEnum

from pydantic import AwareDatetime

from edgeops.api.shapes.shape import Answer, Number


class ChannelSummary(Answer):
    """One channel of one window; numbers are null when no value was there."""

    name: str
    count: int
    missing: int
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    #: Counts per bin of the reference profile; only where a single channel is asked for.
    histogram: tuple[int, ...] | None = None


class PairedAnswers(Answer):
    """What a second model, the shadow, answered to a share of a window's inputs; nobody heard it."""

    #: The artifact that answered beside the one in charge.
    shadow: str
    #: Inputs that both answered.
    rows: int
    #: Of them, those whose answers disagree; null when these two models cannot be compared, or are not known here.
    disagreements: int | None = None
    #: Inputs that ended in an error of the model in charge alone, and of the shadow alone.
    errors: int
    shadow_errors: int
    #: Inputs that were to be paired and were not: the shadow had used up its share of the processor; its input window
    #: did not end with them.
    skipped: int
    unmatched: int
    latency_p50_us: int
    latency_p95_us: int
    shadow_latency_p50_us: int
    shadow_latency_p95_us: int
    #: How the answers agree, by the task of the model (docs/rollouts.md).
    cells: tuple[int, ...]


class TelemetryWindow(Answer):
    """What one deployment saw and answered between two moments."""

    #: Of the record it came in: unique among the windows of a device.
    id: str
    device_id: str
    deployment: str
    digest: str
    #: `live` or `trial`.
    phase: str
    closed_at: AwareDatetime
    received_at: AwareDatetime
    duration_ms: int
    rows: int
    source_rows: int
    errors: int
    dropped: int
    latency_p50_us: int
    latency_p95_us: int
    #: Bytes of the record on the wire.
    record_bytes: int
    #: Scores that were alarms, and the time that they are of `duration_ms`; null where the artifact raises none.
    alarms: int | None = None
    alarm_ms: int | None = None
    channels: tuple[ChannelSummary, ...] = ()
    #: Null when no shadow answered.
    paired: PairedAnswers | None = None


class Resolution(StrEnum):
    """How finely telemetry is shown."""

    #: Window by window, as devices sent them.
    RAW = "raw"
    #: Summed by the hour in which windows closed.
    HOUR = "hour"


class TelemetryHour(Answer):
    """The windows of one deployment and one artifact on one device that closed within one hour, summed."""

    device_id: str
    deployment: str
    digest: str
    #: Its beginning.
    hour: AwareDatetime
    windows: int
    duration_ms: int
    rows: int
    source_rows: int
    errors: int
    dropped: int
    #: Mean of the windows' medians, weighed by rows; the largest 95th percentile.
    latency_p50_us: int
    latency_p95_us: int
    record_bytes: int
    #: Scores that were alarms, and the time that they are of `duration_ms`; null where the artifact raises none.
    alarms: int | None = None
    alarm_ms: int | None = None
    #: Windows whose sketch is not in `channels`: of other channels, or one too many.
    unsketched: int = 0
    channels: tuple[ChannelSummary, ...] = ()


class FleetHour(Answer):
    """The windows of one deployment and one artifact on all devices that closed within one hour, summed."""

    deployment: str
    digest: str
    #: Of the artifact; null when this server has none of this digest.
    model: str | None = None
    version: int | None = None
    variant: str | None = None
    #: Its beginning.
    hour: AwareDatetime
    devices: int
    windows: int
    duration_ms: int
    rows: int
    source_rows: int
    errors: int
    dropped: int
    #: Mean of the devices' medians, weighed by rows; the largest 95th percentile.
    latency_p50_us: int
    latency_p95_us: int
    record_bytes: int


class Prediction(Answer):
    """One answer of one device."""

    deployment: str
    digest: str
    input_id: str
    #: `live` or `trial`.
    phase: str
    #: Class index, value or score.
    answer: Number
    #: The answer's label, for classifiers whose artifact the server knows.
    label: str | None = None
    #: Whether a score is an alarm, for anomaly detectors whose artifact the server knows.
    alarm: bool | None = None
    confidence: Number
    answered_at: AwareDatetime
    received_at: AwareDatetime
