"""Every resource of `/api/v1`, once: what the server answers and the client returns.

Pydantic lives here and nowhere else. Answers ignore unknown fields, so that an older client reads a
newer server; requests refuse them, so that a typing error is told. Times are aware and RFC 3339.
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from edgeops import limits
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


# -- who may speak ------------------------------------------------------------------


class Role(StrEnum):
    """What a token may do; each role may also do what the ones before it may."""

    #: Read everything except secrets.
    VIEWER = "viewer"
    #: Change datasets, models and rollouts, enrol devices, release them from quarantine.
    OPERATOR = "operator"
    #: Make and revoke tokens, remove devices.
    ADMIN = "admin"


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


class KeyRole(StrEnum):
    """What a key of this fleet signs."""

    #: TUF roles (TUF specification, 2.1).
    ROOT = "root"
    TARGETS = "targets"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"
    #: What the server tells devices.
    FLEET = "fleet"


class Key(Answer):
    """A key of this fleet, by its public half."""

    role: KeyRole
    key_id: str
    public_hex: str
    #: Of fleet keys.
    epoch: int | None = None
    #: Whether the private half lies on this server.
    on_server: bool


class Keys(Answer):
    """All keys of this fleet."""

    keys: tuple[Key, ...]


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
    #: dataset, train, publish, withdraw.
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


class Artifact(Answer):
    """One variant of one version: an immutable file."""

    digest: str
    variant: str
    size_bytes: int
    #: Of the `.tflite` part.
    tflite_bytes: int
    #: The TUF target that names it.
    target: str
    metrics: dict[str, float] = {}
    latency_p50_ms: float
    latency_p95_ms: float
    memory_bytes: int
    created_at: AwareDatetime
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


class Model(Answer):
    """A named series of versions."""

    name: str
    task: str
    created_at: AwareDatetime
    latest_version: int | None = None
    versions: Annotated[
        tuple[Version, ...] | None, Field(description="Newest first; null in lists, which leave them out.")
    ] = None


class PublishRequest(Request):
    """Sign and list the artifacts of a version; null means every variant."""

    variant: Literal["float32", "int8"] | None = None


class WithdrawRequest(Request):
    """List a version's artifacts no longer; null means every variant."""

    variant: Literal["float32", "int8"] | None = None


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
