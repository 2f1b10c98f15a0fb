"""Every resource of `/api/v1`, once: what the server answers and the client returns.

Pydantic lives here and nowhere else. Answers ignore unknown fields, so that an older client reads a
newer server; requests refuse them, so that a typing error is told. Times are aware and RFC 3339.
"""

import math
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from edgeops import limits
from edgeops.api.roles import Role
from edgeops.errors import MessageError

#: An aware moment (RFC 3339).
Moment = AwareDatetime
Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{2,62}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
#: A number; null on the wire where there is none (JSON knows no NaN, RFC 8259 6).
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]


class Answer(BaseModel):
    """Something the server says."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Request(BaseModel):
    """Something the server is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Shape = TypeVar("Shape", bound=BaseModel)
Item = TypeVar("Item", bound=Answer)


def read(data: bytes, kind: type[Shape]) -> Shape:
    """JSON as a shape.

    Raises:
        MessageError: it is none.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MessageError(f"not a {kind.__name__}: {place}: {first['msg']}") from error


def checked(kind: type[Shape], values: Mapping[str, object]) -> "Shape | tuple[FieldProblem, ...]":
    """A shape from the fields of a form, or what is wrong with each."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        return tuple(
            FieldProblem(pointer="#" + "".join(f"/{part}" for part in one["loc"]), detail=one["msg"])
            for one in error.errors()
        )


def shape_of(kind: type[Shape], value: object) -> Shape:
    """A shape from any value with attributes of the same names."""
    return kind.model_validate(value, from_attributes=True)


class Page(Answer, Generic[Item]):
    """A part of a list; `next` is the cursor of the following part, null at the end."""

    items: tuple[Item, ...]
    next: str | None = None


class FieldProblem(Answer):
    """One field that cannot be used; `pointer` is a JSON pointer into the body (`#/seed`) or a parameter's name."""

    pointer: str
    detail: str


class Problem(Answer):
    """Why a request failed (RFC 9457, `application/problem+json`)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    instance: str = ""
    errors: tuple[FieldProblem, ...] = ()


class Health(Answer):
    """That the API answers, and its version."""

    status: Literal["ok"] = "ok"
    version: str


class Restoration(Answer):
    """That the server came out of a backup."""

    #: Its id.
    backup: str
    taken_at: Moment
    restored_at: Moment
    #: Devices of the fleet that said nothing since.
    unheard_devices: int


class Restorations(Answer):
    """The last restoration, if there was one."""

    restorations: tuple[Restoration, ...]


# -- who may speak ------------------------------------------------------------------


class TokenRequest(Request):
    """A new bearer token."""

    name: Name
    role: Role


class Token(Answer):
    """A bearer token without its secret."""

    id: str
    name: str
    role: Role
    created_at: AwareDatetime
    last_used_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None


class NewToken(Token):
    """A bearer token with its secret, which is shown once."""

    token: str


class EnrolmentTokensRequest(Request):
    """How many one-time enrolment tokens are wanted."""

    count: Annotated[int, Field(ge=1, le=1000)] = 1


class EnrolmentToken(Answer):
    """A one-time token for one device, shown once."""

    id: str
    token: str
    expires_at: AwareDatetime


class EnrolmentTokens(Answer):
    """One-time tokens, one a device."""

    tokens: tuple[EnrolmentToken, ...]


class EnrolRequest(Request):
    """A device introduces itself with a one-time token and its own public key."""

    token: Annotated[str, StringConstraints(max_length=200)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=limits.MAX_ID_LENGTH, strip_whitespace=True)]
    #: Machine id or board serial: what the id is bound to.
    hardware: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    #: Ed25519, 64 hex characters.
    public_key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    agent_version: Annotated[str, StringConstraints(max_length=50)] = ""


class BrokerAccess(Answer):
    """How a device reaches the broker; the user name is the device id."""

    host: str
    port: int
    username: str
    password: str


class Enrolment(Answer):
    """What an enrolled device needs: its id, the broker, the root of trust."""

    device_id: str
    broker: BrokerAccess
    #: TUF root metadata as JSON text, trusted on this first use.
    root: str
    #: Where the TUF repository is served over HTTP.
    tuf_url: str


class Authority(Answer):
    """A certificate authority (CA) of this fleet."""

    #: What devices pin: `sha256:` and 64 hex characters.
    fingerprint: str
    #: The certificate.
    pem: str
    begins_at: AwareDatetime
    ends_at: AwareDatetime
    #: Whether the certificate that the server shows is one of its own, and whether its key lies on this server.
    signs: bool
    on_server: bool


class ServerCertificate(Answer):
    """What the server shows over TLS."""

    names: tuple[str, ...]
    ends_at: AwareDatetime


class Authorities(Answer):
    """The listed CAs, oldest first; without TLS no certificate is shown."""

    authorities: tuple[Authority, ...]
    certificate: ServerCertificate | None = None


class ServerTime(Answer):
    """What time it is on the server, signed by the fleet key together with the nonce of the question."""

    at: AwareDatetime
    key_id: str
    #: 128 hex characters; over what, `edgeops.trust.moment` says.
    signature: str


class KeyRole(StrEnum):
    """What a key of this fleet signs."""

    #: TUF roles (TUF specification, 2.1).
    ROOT = "root"
    TARGETS = "targets"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"
    #: What the server tells devices.
    FLEET = "fleet"
    #: Versions of one model that the fleet retrained by itself: a delegated TUF role.
    AUTO = "auto"


class Key(Answer):
    """A key of this fleet, by its public half."""

    role: KeyRole
    key_id: str
    public_hex: str
    #: Of fleet keys.
    epoch: int | None = None
    #: Of auto keys: whose versions it signs.
    model: str | None = None
    #: Of TUF roles: when what it signed must be signed again; of auto keys: when the delegation ends.
    expires_at: AwareDatetime | None = None
    #: Of TUF roles: so many of the role's keys must sign.
    threshold: int = 1
    #: Whether the private half lies on this server.
    on_server: bool


class Keys(Answer):
    """All keys of this fleet."""

    keys: tuple[Key, ...]


class SignedToday(Answer):
    """What is signed offline today, as JSON texts: what a change is made of."""

    #: All roots (TUF specification, 4.3), oldest first.
    roots: tuple[str, ...]
    #: TUF specification, 4.5.
    targets: str


class NextKeyRequest(Request):
    """Which of the server's own keys shall be replaced, or made for a delegation."""

    role: KeyRole
    #: Of an auto key: whose versions it shall sign.
    model: Id | None = None


class NextKey(Answer):
    """A key that the server made and nobody trusts yet, by its public half."""

    role: KeyRole
    public_hex: str
    #: Of a fleet key.
    epoch: int | None = None


class Submitted(Answer):
    """What came of a change that people signed."""

    #: False: it had been published before.
    published: bool
    #: Targets that are listed no longer.
    unlisted: tuple[str, ...] = ()


# -- devices ------------------------------------------------------------------------


class DeviceFacts(Answer):
    """What compatibility is judged on."""

    arch: str
    runtime: str
    runtime_version: str
    python: str
    memory_bytes: int
    disk_free_bytes: int


class DeploymentReport(Answer):
    """What one deployment really runs, as the device said last."""

    deployment: str
    #: An `UpdateState`.
    state: str
    #: Null is NO_MODEL.
    active: str | None = None
    previous: str | None = None
    candidate: str | None = None
    installation: str | None = None
    reason: str = "none"
    detail: str = ""


class DesiredDeployment(Answer):
    """What one deployment shall run."""

    deployment: str
    target: str | None = None
    digest: str | None = None
    installation: str | None = None
    intent: str


class Device(Answer):
    """One enrolled agent."""

    id: str
    name: str
    hardware: str
    labels: dict[str, str]
    enrolled_at: AwareDatetime
    presence: str
    quarantined: bool = False
    agent_version: str = ""
    last_seen_at: AwareDatetime | None = None
    reported_at: AwareDatetime | None = None
    facts: DeviceFacts | None = None
    deployments: tuple[DeploymentReport, ...] = ()
    counters: dict[str, int] = {}
    desired: tuple[DesiredDeployment, ...] = ()


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
    channels: tuple[ChannelSummary, ...] = ()


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
    confidence: Number
    answered_at: AwareDatetime
    received_at: AwareDatetime


class Sample(Answer):
    """An input that a device nominated for a label."""

    id: str
    device_id: str
    deployment: str
    #: The artifact that answered.
    digest: str
    nomination: str
    input_id: str
    answered_at: AwareDatetime
    received_at: AwareDatetime
    #: Class index, value or score.
    answer: Number
    #: The answer's label, for classifiers whose artifact the server knows.
    label: str | None = None
    confidence: Number
    #: Inputs of the device's pool that it stands for.
    weight: float
    #: Drawn at random, not chosen.
    by_chance: bool
    #: Names of the readings in a row; none when this server does not know the artifact.
    columns: tuple[str, ...] = ()
    readings: Annotated[
        tuple[tuple[float | None, ...], ...] | None,
        Field(description="Rows of raw readings, null = missing; null in lists, which leave them out."),
    ] = None


class Event(Answer):
    """One thing that happened."""

    id: int
    at: AwareDatetime
    #: Such as `rollout.changed`; the part before the dot names what it happened to.
    kind: str
    #: Id of what it happened to.
    subject: str
    data: dict[str, Any]


#: The kinds of events that tell what somebody tried and was refused.
ATTEMPTS = ("connection.refused", "device.floods", "device.quarantined", "message.quarantined")


class QuarantinedMessage(Answer):
    """A message that was not believed."""

    id: int
    at: AwareDatetime
    device_id: str
    topic: str
    reason: str
    detail: str
    payload_bytes: int


# -- data, runs, models ---------------------------------------------------------------


class Snapshot(Answer):
    """One immutable state of a dataset."""

    digest: str
    dataset: str
    parent: str | None = None
    created_at: AwareDatetime
    rows: int
    size_bytes: int
    #: Label, columns, classes, rows per split and class, statistics per column.
    details: dict[str, Any]


class Dataset(Answer):
    """A named series of snapshots."""

    name: str
    created_at: AwareDatetime
    created_by: str
    head: Snapshot | None = None
    snapshots: Annotated[
        tuple[Snapshot, ...] | None, Field(description="Newest first; null in lists, which leave them out.")
    ] = None


class Split(StrEnum):
    """A part of a snapshot."""

    #: Learnt from.
    TRAIN = "train"
    #: Stops the learning.
    VALIDATION = "validation"
    #: Frozen; only judged on.
    EVALUATION = "evaluation"


class DatasetRequest(Request):
    """The fields beside the uploaded file; lists are texts with commas."""

    name: Id
    #: Column (CSV) or array (npz) that is to be learnt.
    label: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    #: Columns or arrays to learn from; empty = all others (npz: `X`).
    features: Annotated[str, StringConstraints(max_length=100_000)] = ""
    #: Columns to leave out.
    exclude: Annotated[str, StringConstraints(max_length=100_000)] = ""
    #: Conditions such as `batch=1,2`, which must all hold.
    where: Annotated[tuple[Annotated[str, StringConstraints(max_length=1000)], ...], Field(max_length=20)] = ()
    #: Share of the rows that is only judged on.
    hold_out: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    #: The rows are consecutive rows of one source, oldest first: then the model knows how they hang together.
    in_time_order: bool = False


class JobState(StrEnum):
    """Where a job stands."""

    #: Waits for a worker.
    QUEUED = "queued"
    #: A worker has it.
    RUNNING = "running"
    #: Ended well; `result` says what came out.
    SUCCEEDED = "succeeded"
    #: Ended badly; `error` says why.
    FAILED = "failed"


class Job(Answer):
    """Work that takes longer than a request."""

    id: str
    #: dataset, train, retrain, publish, withdraw.
    kind: str
    state: JobState
    #: What it does now, in words.
    step: str = ""
    #: Between 0 and 1.
    progress: float = 0.0
    result: dict[str, Any] | None = None
    error: str | None = None
    created_by: str = ""
    created_at: AwareDatetime
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (JobState.SUCCEEDED, JobState.FAILED)


class RunRequest(Request):
    """Train a model on the newest snapshot of a dataset."""

    dataset: Id
    model: Id
    recipe: Name = "dense"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    #: Null: the recipe's own.
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    #: What the recipe takes beside that, by name: `batch`, `learning-rate`; dense also `transform`.
    options: Annotated[dict[Name, float | Annotated[str, StringConstraints(max_length=100)]], Field(max_length=20)] = {}


class Run(Answer):
    """One training."""

    id: str
    job_id: str
    model: str
    snapshot: str
    recipe: str
    seed: int
    parameters: dict[str, Any]
    environment: dict[str, Any]
    metrics: dict[str, Any]
    state: str
    error: str | None = None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None


class Promotion(Answer):
    """What the promotion gate said of one variant."""

    passed: bool
    #: Each begins with `passed:` or `failed:`.
    reasons: tuple[str, ...] = ()
    #: Rows it was judged on that it never learnt from.
    unseen_rows: int = 0


class Artifact(Answer):
    """One variant of one version: an immutable file."""

    digest: str
    variant: str
    size_bytes: int
    #: Of the `.tflite` part.
    tflite_bytes: int
    #: The TUF target that names it, or will once it is published.
    target: str
    #: `not-published`, `awaiting-signature`, `published` or `withdrawn`.
    standing: str = "not-published"
    metrics: dict[str, float] = {}
    promotion: Promotion
    latency_p50_ms: float
    latency_p95_ms: float
    memory_bytes: int
    created_at: AwareDatetime
    #: Since when it waits for a key that is not on the server; `edgeops model sign` brings it.
    awaiting_signature_at: AwareDatetime | None = None
    published_at: AwareDatetime | None = None
    withdrawn_at: AwareDatetime | None = None

    @property
    def is_listed(self) -> bool:
        """Whether devices may run it."""
        return self.published_at is not None and self.withdrawn_at is None


_ABRIDGED = "null where a model lists its versions, which leaves them out"


class Version(Answer):
    """One trained version of a model, with its variants."""

    model: str
    version: int
    run_id: str
    created_at: AwareDatetime
    artifacts: tuple[Artifact, ...] = ()
    labels: Annotated[
        tuple[str, ...] | None, Field(description=f"Class names in order of the answer's index; {_ABRIDGED}.")
    ] = None
    columns: Annotated[tuple[str, ...] | None, Field(description=f"Input columns in order; {_ABRIDGED}.")] = None
    channels: Annotated[tuple[str, ...] | None, Field(description=f"Watched channels in order; {_ABRIDGED}.")] = None
    warnings: Annotated[
        tuple[str, ...] | None,
        Field(description=f"What a person should know of the rows that windows are compared with; {_ABRIDGED}."),
    ] = None


class Model(Answer):
    """A named series of versions."""

    name: str
    task: str
    created_at: AwareDatetime
    latest_version: int | None = None
    #: The version that was rolled out to the end last, and the one that passed its promotion gate since.
    champion: int | None = None
    challenger: int | None = None
    versions: Annotated[
        tuple[Version, ...] | None, Field(description="Newest first; null in lists, which leave them out.")
    ] = None


class Alias(StrEnum):
    """A name that moves from version to version."""

    #: What was rolled out to the end last.
    CHAMPION = "champion"
    #: What passed its promotion gate and is not rolled out yet.
    CHALLENGER = "challenger"


class AliasChange(Answer):
    """An alias went to a version, or to none."""

    id: int
    at: AwareDatetime
    model: str
    alias: Alias
    version: int | None = None
    #: The name of a token, a job or a rollout.
    actor: str
    reason: str = ""


class AliasRequest(Request):
    """Which version shall hold an alias; null = none."""

    version: Annotated[int, Field(ge=1, le=999_999_999)] | None
    remark: Annotated[str, StringConstraints(max_length=limits.MAX_DETAIL_LENGTH)] = ""


class PublishRequest(Request):
    """Sign and list the artifacts of a version; null means every variant."""

    variant: Literal["float32", "int8"] | None = None


class WithdrawRequest(Request):
    """List a version's artifacts no longer; null means every variant."""

    variant: Literal["float32", "int8"] | None = None


# -- drift ------------------------------------------------------------------------------


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


# -- labels and retraining ----------------------------------------------------------------

_LabelText = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
_Remark = Annotated[str, StringConstraints(max_length=500)]


class QueuedSample(Answer):
    """A sample that was chosen for a label."""

    sample_id: str
    model: str
    retraining_id: str
    device_id: str
    deployment: str
    input_id: str
    #: Place in the order in which labels help most, from 0.
    position: int
    #: Drawn at random, not chosen.
    by_chance: bool
    #: open, labelled, disputed or dropped.
    state: str
    requested_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    #: What the model said; null when this server does not know the artifact any more.
    answer: str | None = None
    confidence: Number = math.nan
    #: Where the readings are.
    readings: str


class NewLabel(Request):
    """What somebody says a sample is."""

    sample_id: Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
    #: One of the model's classes.
    label: _LabelText
    remark: _Remark = ""


class LabelsRequest(Request):
    """Labels of samples, of one model or of several."""

    labels: Annotated[tuple[NewLabel, ...], Field(min_length=1, max_length=limits.MAX_LABELS_PER_REQUEST)]
    #: `person` = somebody looked at each; `api` = another program said so.
    source: Literal["person", "api"] = "api"


class RefusedLabel(Answer):
    """A label that was not taken, and why."""

    #: Empty when a line of a file names none.
    sample_id: str
    reason: str


class LabelsTaken(Answer):
    """What became of each label of a request; the good ones are taken whatever the others are."""

    accepted: int
    #: Ids that no sample has.
    unknown: tuple[str, ...] = ()
    refused: tuple[RefusedLabel, ...] = ()
    #: Accepted, but authors disagree: learnt from once more than half of them agree.
    disputed: tuple[str, ...] = ()


class Label(Answer):
    """Who said what of a sample."""

    id: int
    sample_id: str
    model: str
    device_id: str
    label: str
    #: person, csv, api or feedback.
    source: str
    #: Name of a token; of feedback, the device.
    author: str
    remark: str = ""
    at: AwareDatetime
    #: The retraining that asked for it; null = it came by itself.
    retraining_id: str | None = None


class FeedbackRequest(Request):
    """How an answer of a device turned out, as the device tells it."""

    device_id: Id
    deployment: Id
    input_id: Annotated[str, StringConstraints(min_length=1, max_length=limits.MAX_INPUT_ID_LENGTH)]
    label: _LabelText


class RetrainingPolicy(Answer):
    """How one model is retrained."""

    #: propose (a person is asked), auto (it runs by itself), off.
    mode: str
    #: Labels asked for in one retraining; of them, the share drawn at random; the fewest that are learnt from.
    labels: int
    random_share: float
    min_labels: int
    #: Labels that are missing after this are not waited for.
    label_timeout: timedelta
    #: After a retraining ended, none fires for this long.
    cooldown: timedelta
    #: Retrainings in 7 days, and labels asked for in 30.
    retrainings_per_week: int
    labels_per_month: int
    #: So many labels that came by themselves fire; null = they never do.
    new_labels: int | None = None
    #: What a bought row weighs against one of the first training.
    label_weight: float
    #: Of the rollout; deployment null = the one where the drift was found.
    waves: tuple[str, ...]
    selector: str
    deployment: str | None = None
    seed: int


class RetrainingPolicyRequest(Request):
    """The policy that a model shall have; what is left out is the default. Durations are ISO 8601, as in `P1D`."""

    mode: Literal["propose", "auto", "off"] | None = None
    labels: int | None = None
    random_share: float | None = None
    min_labels: int | None = None
    label_timeout: timedelta | None = None
    cooldown: timedelta | None = None
    retrainings_per_week: int | None = None
    labels_per_month: int | None = None
    new_labels: int | None = None
    label_weight: float | None = None
    waves: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=20)], ...] | None, Field(min_length=1, max_length=50)
    ] = None
    selector: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = None
    deployment: Id | None = None
    seed: int | None = None


class RetrainingRequest(Request):
    """Retrain a model now, or approve what is proposed; null = as the policy says."""

    #: 0 = learn from the labels that are there.
    labels: Annotated[int, Field(ge=0, le=limits.MAX_NOMINEES)] | None = None
    random_share: Annotated[float, Field(ge=0, le=1)] | None = None
    #: Whose samples and labels are left out.
    without_devices: Annotated[tuple[Id, ...], Field(max_length=1000)] = ()
    #: Null: where drift was found, else where the champion runs.
    deployment: Id | None = None
    remark: _Remark = ""


class NominationAnswer(Answer):
    """How far one device is with its nomination of samples."""

    id: str
    device_id: str
    #: How many it was asked for, and how many came.
    count: int
    samples: int
    asked_at: AwareDatetime
    answered_at: AwareDatetime | None = None
    #: Why there are fewer, in the device's words.
    detail: str = ""


class Retraining(Answer):
    """One firing of a trigger, and how far it came."""

    id: str
    model: str
    deployment: str
    #: The artifact that is to be healed.
    digest: str
    #: drift, labels or person.
    trigger: str
    evidence: dict[str, Any]
    #: run, propose or suppressed; of a suppressed one the rule; why, in words.
    decision: str
    cause: str = ""
    reason: str = ""
    #: As it was when the trigger fired, or a person approved.
    policy: RetrainingPolicy
    without_devices: tuple[str, ...] = ()
    state: str
    entered_at: AwareDatetime
    #: How it stands, or how it ended, in words.
    detail: str = ""
    labels_wanted: int = 0
    #: Samples in the label queue by state.
    queue: dict[str, int] = {}
    nominations: Annotated[
        tuple[NominationAnswer, ...] | None, Field(description="Null in lists, which leave them out.")
    ] = None
    job_id: str | None = None
    snapshot: str | None = None
    #: The version that came of it.
    version: int | None = None
    rollout_id: str | None = None
    created_by: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself or by a person."""
        return self.finished_at is not None


# -- rollouts ---------------------------------------------------------------------------


class RolloutRequest(Request):
    """Bring one artifact to the devices a selector names, wave by wave."""

    model: Id
    version: Annotated[int, Field(ge=1, le=999_999_999)]
    variant: Literal["float32", "int8"] = "int8"
    deployment: Id
    #: `all`, `id=a,b`, `name=...`, `label.key=value`.
    to: Annotated[str, StringConstraints(min_length=1, max_length=2000)] = "all"
    #: Cumulative sizes: numbers of devices or percentages.
    waves: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=20)], ...], Field(min_length=1, max_length=50)
    ] = (
        "1",
        "100%",
    )
    intent: Literal["improve", "heal"] = "improve"


class Wave(Answer):
    """One step of a rollout, with counters by outcome."""

    position: int
    size: int
    offered: int = 0
    committed: int = 0
    failed: int = 0
    inconclusive: int = 0
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    verdict: dict[str, Any] | None = None


class Rollout(Answer):
    """One artifact on its way to many devices."""

    id: str
    model: str
    version: int
    variant: str
    digest: str
    target: str
    deployment: str
    selector: str
    intent: str
    policy: dict[str, Any]
    #: running, paused, finished, failed, aborted.
    state: str
    reason: str = ""
    #: Position of the wave that runs.
    wave: int
    revision: int
    created_by: str
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    waves: tuple[Wave, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself or by a person."""
        return self.finished_at is not None


class Installation(Answer):
    """One deployment's part in a rollout."""

    id: str
    rollout_id: str
    wave: int
    device_id: str
    deployment: str
    digest: str
    state: str
    reason: str = ""
    detail: str = ""
    evidence: dict[str, Any] | None = None
    offered_at: AwareDatetime | None = None
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None = None
