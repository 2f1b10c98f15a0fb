"""The bodies inside envelopes, as MessagePack arrays.

A field is only ever appended, with a default, so that an older side reads a newer message.
`encode` and `decode` are the only way to and from bytes; `decode` checks every bound.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from edgeops import limits
from edgeops.errors import MessageError

# `\Z`, for `$` also matches before a newline at the end.
Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{2,62}\Z")]
Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
#: What is summed over windows: the sum of a million of the largest fits into 64 bits.
Tally = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
#: A name or version of something on a device.
Fact = Annotated[str, msgspec.Meta(max_length=limits.MAX_FACT_LENGTH)]
Detail = Annotated[str, msgspec.Meta(max_length=limits.MAX_DETAIL_LENGTH)]
InputId = Annotated[str, msgspec.Meta(max_length=limits.MAX_INPUT_ID_LENGTH)]
#: 32 raw bytes, where a record is counted in bytes; `edgeops.digest.digest_from_raw` makes text of it.
RawDigest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
SpoolId = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]


class Body(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What every message body has in common: a frozen array on the wire."""


# -- up: presence ---------------------------------------------------------------


class Presence(StrEnum):
    """What a birth or last will says."""

    ONLINE = "online"
    #: Said on purpose at a clean stop, or by the broker as last will.
    OFFLINE = "offline"


class Status(Body, frozen=True, kw_only=True):
    """Birth and last will of one session."""

    presence: Presence
    agent_version: Fact = ""


class UpdateState(StrEnum):
    """Where one deployment's update machine stands (edgeops.update.machine)."""

    #: Nothing to do.
    IDLE = "idle"
    #: Getting the descriptor from TUF and the blocks from the server.
    FETCHING = "fetching"
    #: Length, digest and trust of the whole file.
    VERIFYING = "verifying"
    #: A verified slot, not yet tried.
    STAGED = "staged"
    #: In a child process: load, golden vectors, latency.
    PROBING = "probing"
    #: Answers real inputs; waits for N inferences and the server's signed ack.
    TRIAL = "trial"
    #: The candidate became active.
    COMMITTED = "committed"
    #: Refused before it ran: trust, compatibility, digest.
    REJECTED = "rejected"
    #: Could not be fetched or failed its probe.
    FAILED = "failed"
    #: Ran in TRIAL and was taken back.
    ROLLED_BACK = "rolled-back"
    #: A newer desired state took its place.
    SUPERSEDED = "superseded"


class Reason(StrEnum):
    """Why an update ended as it did; machine-readable, the detail is for people."""

    NONE = "none"
    #: Absent from current TUF metadata.
    NOT_LISTED = "not-listed"
    #: Listed when it was staged, no longer when it should run.
    WITHDRAWN = "withdrawn"
    #: Metadata that does not verify, or none to be had.
    TRUST = "trust"
    #: Metadata, or a delegation, that has ended, by the later of the device's clock and its time floor.
    EXPIRED = "expired"
    #: Metadata older than what the device has verified before.
    ROLLBACK = "rollback"
    #: Descriptor, block list or file do not match their digests.
    DIGEST = "digest"
    #: Architecture, runtime, operators or memory.
    INCOMPATIBLE = "incompatible"
    #: The blocks did not come in time.
    FETCH = "fetch"
    #: No space, or a disk that takes nothing: full, read-only, a write error.
    DISK = "disk"
    #: The file does not load, or answers its golden vectors wrongly.
    GOLDEN = "golden"
    #: The probe crashed, hung or exceeded its memory.
    PROBE = "probe"
    #: A model that was signed by its delegated key fails the acceptance set, or there is none to judge it by.
    ACCEPTANCE = "acceptance"
    #: Errors during real inferences.
    INFERENCE = "inference"
    #: No input, or no contact to the server: neither success nor the model's failure.
    INCONCLUSIVE = "inconclusive"
    #: Too many starts of the agent while in TRIAL.
    TRIAL_BOOTS = "trial-boots"
    #: Too many starts of the agent in a row, after the commit, that ended within moments.
    CRASHES = "crashes"
    #: A newer desired state.
    NEWER = "newer"
    #: Not an end: it waits for its maintenance window.
    WINDOW = "window"
    #: Not an end: the owner of the device holds it.
    HELD = "held"


class DeviceFacts(Body, frozen=True, kw_only=True):
    """What a device is and has: compatibility is judged on it, and selectors of rollouts ask for it."""

    arch: Fact
    runtime: Fact
    runtime_version: Fact
    python: Fact
    memory_bytes: Count
    disk_free_bytes: Count
    agent_version: Fact = ""
    #: Name and version of the operating system.
    os: Fact = ""
    #: What its owner calls it by; `site` is where it stands.
    labels: Annotated[dict[Fact, Fact], msgspec.Meta(max_length=limits.MAX_DEVICE_LABELS)] = {}
    #: By deployment, the columns that its source offers; absent = not known (no source, lines without a header).
    sensors: Annotated[
        dict[Id, Annotated[tuple[Fact, ...], msgspec.Meta(max_length=limits.MAX_SENSORS)]],
        msgspec.Meta(max_length=limits.MAX_DEPLOYMENTS),
    ] = {}
    #: The model of the board or machine; empty = it does not say.
    board: Fact = ""


class DeploymentState(Body, frozen=True, kw_only=True):
    """What one deployment really runs."""

    deployment: Id
    state: UpdateState
    #: The digest that answers; None is NO_MODEL, a first-class report.
    active: Digest | None = None
    previous: Digest | None = None
    candidate: Digest | None = None
    installation: Id | None = None
    reason: Reason = Reason.NONE
    detail: Detail = ""
    #: The owner of the device lets no update of it begin, in words; empty = updates may begin.
    hold: Detail = ""
    #: What this device had committed and does not run (damaged, gone from its disk, or fallen); `active` answers in its
    #: place.
    instead_of: Digest | None = None
    #: That is so because the agent died at each of its starts: it comes back only when it is desired anew.
    fallen: bool = False


class Reported(Body, frozen=True, kw_only=True):
    """The present state of a device; retained, repeated at every birth."""

    #: The last desired state this device took in, so that a restored server can go above it.
    desired_epoch: Count
    desired_revision: Count
    facts: DeviceFacts
    deployments: Annotated[tuple[DeploymentState, ...], msgspec.Meta(max_length=limits.MAX_DEPLOYMENTS)]
    #: Counted mishaps by stable name (spool.dropped, envelope.signature ...).
    counters: Annotated[dict[Fact, Count], msgspec.Meta(max_length=limits.MAX_COUNTERS)] = {}
    #: Why the newest desired state is not carried out, as far as it is not; empty = it is.
    detail: Detail = ""


# -- up: spool records ------------------------------------------------------------


class Record(Body, frozen=True, kw_only=True):
    """One numbered spool record inside a `Records` body; `data` is one of the record types below."""

    seq: Count
    #: Milliseconds since the record was made, as the device's monotonic time knows; -1 = made before
    #: a restart, judge by `at_ms`.
    age_ms: int
    #: Device clock when it was made, ms since 1970 (a Pi without a clock battery may say 1970).
    at_ms: int
    data: Annotated[bytes, msgspec.Meta(max_length=limits.MAX_RECORD_BYTES)]
    #: Earlier records that were merged into this one; they count as received with it.
    absorbed: Annotated[tuple[Count, ...], msgspec.Meta(max_length=limits.MAX_ABSORBED)] = ()


class Records(Body, frozen=True, kw_only=True):
    """Up to 16 spool records under one signature; key of each is (device, spool id, seq)."""

    spool: SpoolId
    records: Annotated[tuple[Record, ...], msgspec.Meta(min_length=1, max_length=limits.MAX_RECORDS_PER_MESSAGE)]


class Phase(StrEnum):
    """Under which standing a model answered."""

    #: The active model.
    LIVE = "live"
    #: A candidate in TRIAL.
    TRIAL = "trial"


class Paired(Body, frozen=True, kw_only=True):
    """What a second model, the shadow, answered on a share of a window's inputs; no sink hears it.

    In TRIAL it is the incumbent; after the commit, while the wave bakes, the model that was active before.
    """

    shadow: RawDigest
    #: Inputs that both answered.
    rows: Tally
    #: Inputs that ended in an error of the model in charge alone, and of the shadow alone.
    errors: Tally = 0
    shadow_errors: Tally = 0
    #: Inputs that were to be paired and were not, because the shadow had used up its share of the processor.
    skipped: Tally = 0
    #: Inference times on the inputs that both answered, in microseconds: the model in charge, the shadow.
    latency_p50_us: Tally = 0
    latency_p95_us: Tally = 0
    shadow_latency_p50_us: Tally = 0
    shadow_latency_p95_us: Tally = 0
    #: How the answers agree, in cells whose meaning the task decides: `edgeops.rollout.agreement`.
    cells: Annotated[tuple[Tally, ...], msgspec.Meta(max_length=limits.MAX_AGREEMENT_CELLS)] = ()
    #: Inputs that were to be paired and that no input window of the shadow ended with.
    unmatched: Tally = 0


class Window(Body, frozen=True, kw_only=True):
    """One telemetry window of one deployment and one artifact."""

    deployment: Id
    digest: RawDigest
    phase: Phase
    #: Inputs answered, equals the rows of a source when the input window has one row and stride one.
    rows: Tally
    #: Source rows consumed while the window was open.
    source_rows: Tally
    #: Inputs that ended in an error or were dropped because the model was slow.
    errors: Tally
    dropped: Tally
    duration_ms: Tally
    #: Inference time percentiles in microseconds.
    latency_p50_us: Tally
    latency_p95_us: Tally
    #: `edgeops.sketch.window` packed; empty when the model declares no channels.
    sketch: bytes
    #: None = no shadow answered.
    paired: Paired | None = None


class Prediction(Body, frozen=True, kw_only=True):
    """One answer."""

    input_id: InputId
    #: Milliseconds between the answer and the record's making.
    age_ms: Count
    #: Class index, or value, or score, by task.
    answer: float
    confidence: float


class Predictions(Body, frozen=True, kw_only=True):
    """A batch of answers of one deployment by one artifact."""

    deployment: Id
    digest: RawDigest
    phase: Phase
    predictions: Annotated[
        tuple[Prediction, ...], msgspec.Meta(min_length=1, max_length=limits.MAX_PREDICTIONS_PER_RECORD)
    ]


class Sample(Body, frozen=True, kw_only=True):
    """One nominated input: enough to label it and to learn from it."""

    input_id: InputId
    #: Milliseconds between the answer and the record's making.
    age_ms: Count
    #: The input window's raw readings, float32 little-endian, row by row.
    values: Annotated[bytes, msgspec.Meta(max_length=limits.MAX_SAMPLE_BYTES)]
    #: For people who label; the server asks the model itself before it chooses.
    answer: float
    confidence: float
    #: Inputs of the device's pool that it stands for; those of one nomination sum to the pool.
    weight: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
    #: Drawn at random, not chosen: what unbiased estimates are made of.
    by_chance: bool
    #: What the shadow answered, where one did.
    shadow_answer: float | None = None


class Samples(Body, frozen=True, kw_only=True):
    """A part of what one deployment nominates on request."""

    deployment: Id
    digest: RawDigest
    #: The nomination that was asked for, as the command named it.
    nomination: Id
    #: Inputs that the device chose from.
    pool: Count
    #: Nothing of this nomination comes after this record.
    last: bool
    #: Why there are fewer than asked for (an empty pool, the day's bytes are spent ...); for people.
    detail: Detail = ""
    samples: Annotated[tuple[Sample, ...], msgspec.Meta(max_length=limits.MAX_SAMPLES_PER_RECORD)] = ()
    #: Its place among the records of this nomination, from 0. The newest record leaves a spool first, so the last
    #: one may arrive before the others; its place tells how many there are.
    part: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_NOMINEES)] = 0


class Evidence(Body, frozen=True, kw_only=True):
    """What a candidate did in TRIAL, or up to its end."""

    inferences: Count
    errors: Count
    latency_p50_us: Count = 0
    latency_p95_us: Count = 0
    memory_bytes: Count = 0


class Report(Body, frozen=True, kw_only=True):
    """A step of an installation that must not be lost: trial evidence and final outcomes."""

    installation: Id
    deployment: Id
    digest: RawDigest
    state: UpdateState
    reason: Reason = Reason.NONE
    detail: Detail = ""
    evidence: Evidence | None = None


#: Of a processor, in thousandths of a degree Celsius, as sysfs counts.
Millicelsius = Annotated[int, msgspec.Meta(ge=-273_150, le=1_000_000)]


class Benchmarked(Body, frozen=True, kw_only=True):
    """What came of a benchmark: an artifact that was tried on a device and not installed."""

    #: The benchmark that was asked for, as the command named it.
    benchmark: Id
    digest: RawDigest
    #: NONE = it answers its golden vectors as it must, and was measured; else why it was not.
    reason: Reason
    detail: Detail = ""
    #: What it ran on.
    arch: Fact
    runtime: Fact
    runtime_version: Fact
    board: Fact = ""
    #: Inferences that the percentiles are of, in microseconds, one thread.
    inferences: Count = 0
    latency_p50_us: Count = 0
    latency_p95_us: Count = 0
    latency_p99_us: Count = 0
    #: Inferences that were measured again, because something else took the processor meanwhile.
    disturbed: Count = 0
    #: Resident memory of the loaded model, beyond that of the runtime.
    memory_bytes: Count = 0
    #: Of the processor, and whether it was held back; None = the device does not tell.
    millicelsius_before: Millicelsius | None = None
    millicelsius_after: Millicelsius | None = None
    throttled: bool | None = None


# -- up: wishes -------------------------------------------------------------------


class BlockWish(Body, frozen=True, kw_only=True, tag="blocks"):
    """Blocks wanted of one blob: bit i of `bitmap` (LSB first) is block `first + i`."""

    digest: Digest
    first: Count
    bitmap: Annotated[bytes, msgspec.Meta(min_length=1, max_length=8)]


class MetaWish(Body, frozen=True, kw_only=True, tag="meta"):
    """A part of a small named file.

    `metadata/1.root.json` is TUF metadata, `targets/<path>` a TUF target, `blocklists/<hex>` a block list.
    """

    request: Count
    path: Annotated[str, msgspec.Meta(max_length=300)]
    offset: Count = 0


Wish = BlockWish | MetaWish


class Response(Body, frozen=True, kw_only=True):
    """The answer to a command."""

    command: Id
    ok: bool
    detail: Detail = ""


# -- down -------------------------------------------------------------------------


class Intent(StrEnum):
    """Why a model is sent, which decides what its health gate expects."""

    #: Better or equal behaviour is expected.
    IMPROVE = "improve"
    #: The prediction mix is expected to change, because the world did.
    HEAL = "heal"


class Shadowing(Body, frozen=True, kw_only=True):
    """How much of the inputs a shadow answers beside the model in charge, and for how long."""

    #: Of the inputs; 0 = none, and only windows close early.
    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    #: Of one processor core, what the shadow may take.
    cpu: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    #: From the commit on, or since a newer desired state asked for it again; the trial always has it.
    for_ms: Count
    #: Telemetry windows close after this while it lasts.
    window_ms: Annotated[int, msgspec.Meta(ge=1_000, le=3_600_000)]


class Maintenance(Body, frozen=True, kw_only=True):
    """A weekly time in which a device may turn to another model, by local time."""

    #: An IANA name, as in `Europe/Berlin`.
    zone: Annotated[str, msgspec.Meta(max_length=64)]
    #: Monday = 0; the day on which it opens.
    days: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=6)], ...], msgspec.Meta(min_length=1, max_length=7)]
    #: Minutes after midnight; an end that is not after the start lies on the next day.
    opens: Annotated[int, msgspec.Meta(ge=0, le=1439)]
    closes: Annotated[int, msgspec.Meta(ge=0, le=1439)]


class DesiredDeployment(Body, frozen=True, kw_only=True):
    """What one deployment shall run."""

    deployment: Id
    #: The TUF target of the descriptor; None = run nothing.
    target: str | None
    digest: Digest | None
    installation: Id | None = None
    intent: Intent = Intent.IMPROVE
    trial_inferences: Count = limits.TRIAL_INFERENCES
    #: None = no model answers beside the one in charge, and windows close as usual.
    shadowing: Shadowing | None = None
    #: When the device may turn to it; empty = at any time.
    maintenance: Annotated[tuple[Maintenance, ...], msgspec.Meta(max_length=limits.MAX_MAINTENANCE_WINDOWS)] = ()


class Desired(Body, frozen=True, kw_only=True):
    """All that one device shall run, ordered by (epoch, revision); lower is ignored."""

    epoch: Count
    revision: Count
    deployments: Annotated[tuple[DesiredDeployment, ...], msgspec.Meta(max_length=limits.MAX_DEPLOYMENTS)]


class SpoolAck(Body, frozen=True, kw_only=True):
    """What the database holds of one spool: everything up to `through`, and the ranges above it."""

    spool: SpoolId
    #: -1 = nothing yet.
    through: int
    #: Inclusive (first, last) pairs above `through`.
    ranges: tuple[tuple[int, int], ...] = ()


class Ack(Body, frozen=True, kw_only=True):
    """Sent after the commit and repeated at every birth."""

    spools: tuple[SpoolAck, ...]


#: A device that lost its connection waits for a part of this, drawn at random, before it connects again.
Spread = Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_RECONNECT_SPREAD // timedelta(milliseconds=1))]


class Credit(Body, frozen=True, kw_only=True):
    """How many records may be in flight; said at every birth."""

    records: Count
    #: When it was said: what a device without a clock battery learns the time from.
    at: Moment
    #: Over how many milliseconds a fleet of this size shall come back.
    reconnect_spread_ms: Spread = 0


class Nominate(Body, frozen=True, kw_only=True, tag="nominate"):
    """Ask one deployment for inputs worth a label; answered with `Samples` through the spool."""

    deployment: Id
    #: The model whose answers count: inputs that another one answered are not meant.
    digest: Digest
    count: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_NOMINEES)]
    #: Of `count`, the share drawn at random.
    random_share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    seed: Count
    #: Only inputs answered within so many milliseconds: those of before a drift teach nothing about it. None = all.
    within_ms: Count | None = None
    #: Inputs on which model and shadow disagreed come first.
    disagreements: bool = False


class Benchmark(Body, frozen=True, kw_only=True, tag="benchmark"):
    """Ask a device to try a listed artifact without installing it; answered with `Benchmarked` through the spool."""

    #: The TUF target of the descriptor.
    target: Annotated[str, msgspec.Meta(max_length=300)]
    digest: Digest
    #: Whose source it must fit as well; None = no matter.
    deployment: Id | None = None
    #: Not begun or fetched any more after so many milliseconds.
    within_ms: Count


class Command(Body, frozen=True, kw_only=True):
    """One request to do something now; a device does each id once, however often it comes."""

    command: Id
    request: Nominate | Benchmark


class MetaStatus(StrEnum):
    """Whether the named file exists."""

    OK = "ok"
    MISSING = "missing"


class MetaPart(Body, frozen=True, kw_only=True):
    """A part of a small named file, unsigned: the receiver verifies the whole."""

    request: Count
    path: str
    status: MetaStatus
    total_bytes: Count = 0
    offset: Count = 0
    data: Annotated[bytes, msgspec.Meta(max_length=limits.METADATA_PART_BYTES)] = b""


_T = TypeVar("_T")


def encode(body: Body) -> bytes:
    """A body as MessagePack."""
    return msgspec.msgpack.encode(body)


def decode(data: bytes, kind: type[_T]) -> _T:
    """Read a body of the given type (a class or a union of tagged ones).

    Raises:
        MessageError: the bytes do not parse, or a value is out of its bounds.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        name = getattr(kind, "__name__", str(kind))
        raise MessageError(f"not a {name} body: {error}") from error
