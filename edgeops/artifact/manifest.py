"""What an artifact says about itself, and the small descriptor that TUF signs.

The manifest holds only what a rebuild repeats; the descriptor adds what differs from build to
build. Both are JSON. A value that exists is valid: `decode_manifest` and `decode_descriptor` are the
only way in.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from edgeops import limits
from edgeops.errors import ArtifactError
from edgeops.protocol.messages import Digest, Id

FORMAT = 1
#: Exactly what a delegation `models/<model>/auto/*` covers (TUF specification, 4.5: `*` crosses no `/`).
_AUTO_TARGET = re.compile(r"models/([a-z0-9][a-z0-9-]{2,62})/auto/[^/]*")


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all parts have in common: a frozen JSON object, unknown fields refused."""


class Task(StrEnum):
    """What kind of answer a model gives."""

    #: One of `labels`.
    CLASSIFICATION = "classification"
    #: A number in `units`.
    REGRESSION = "regression"
    #: A score against a threshold.
    ANOMALY = "anomaly"


class Variant(StrEnum):
    """How the weights are stored; each variant is an artifact of its own."""

    #: As trained.
    FLOAT32 = "float32"
    #: Weights rounded to half precision; float32 in and out.
    FLOAT16 = "float16"
    #: int8 weights, activations quantized as they come; float32 in and out.
    DYNAMIC = "dynamic"
    #: Full integer, int8 in and out.
    INT8 = "int8"


#: What is built unless somebody asks for others.
USUAL_VARIANTS = (Variant.FLOAT32, Variant.INT8)


class Tensor(Value, frozen=True, kw_only=True):
    """One input or output of the `.tflite` file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    #: Quantization: real = scale * (stored - zero_point); scale 0 = not quantized.
    scale: float = 0.0
    zero_point: int = 0


class ClockPart(StrEnum):
    """What is told of the moment of a row: a sine and a cosine, so that the end of a cycle is next to its beginning."""

    #: How far the day has gone, to the minute.
    HOUR = "hour"
    #: Which day of the week it is.
    WEEKDAY = "weekday"

    @property
    def columns(self) -> tuple[str, str]:
        """What the two are called."""
        return f"{self}-sin", f"{self}-cos"


class TimeColumn(Value, frozen=True, kw_only=True):
    """Where a file has the moment of each row."""

    name: str
    #: What one is in nanoseconds, where moments are numbers since 1970.
    tick_ns: Annotated[int, msgspec.Meta(ge=1)] = 10**9
    #: Of the IANA database: whose hours and weekdays are meant, and where a moment without an offset was written down.
    zone: str = "UTC"


class Resampling(StrEnum):
    """How rows of another rate, or of an unsteady one, are put on the grid of a model."""

    #: The last row before a point of the grid.
    HOLD = "hold"
    #: On the line between the rows before and behind it.
    LINEAR = "linear"
    #: The mean of all rows of one step: for a source that is much faster.
    MEAN = "mean"


class InputWindow(Value, frozen=True, kw_only=True):
    """The rows that one inference sees."""

    #: Columns in order, those of the clock last; a source that lacks one of the others is refused.
    columns: tuple[str, ...]
    rows: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 1
    #: Rows between two inferences.
    stride: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 1
    #: Expected rate of rows; None = as they come.
    rate_hz: float | None = None
    #: A gap longer than this between two rows starts a new window; None = never.
    max_gap_s: float | None = None
    #: None = rows are taken as they come; else they are put on a grid of `rate_hz`.
    resampling: Resampling | None = None
    #: None = nothing depends on when a row was measured.
    time: TimeColumn | None = None
    #: What is computed from the moment of each row, so that no source has to carry it.
    clock: tuple[ClockPart, ...] = ()

    @property
    def measured(self) -> tuple[str, ...]:
        """The columns that a source has."""
        return self.columns[: len(self.columns) - len(clock_columns(self.clock))]

    def reads_like(self, other: "InputWindow") -> bool:
        """Whether the numbers of a window mean the same to both, however often each of them answers."""
        zones = [one.time.zone if one.time is not None and one.clock else None for one in (self, other)]
        are_paced_alike = self.resampling == other.resampling and (
            None in (self.rate_hz, other.rate_hz) or self.rate_hz == other.rate_hz
        )
        return (
            (self.columns, self.rows, self.clock) == (other.columns, other.rows, other.clock)
            and zones[0] == zones[1]
            and are_paced_alike
        )


def clock_columns(parts: Iterable[ClockPart]) -> tuple[str, ...]:
    """The columns of some parts, in their order."""
    return tuple(column for part in parts for column in part.columns)


class Transform(StrEnum):
    """An element-wise function of readings before the multiply-add, or of numbers before they are learnt."""

    #: x
    NONE = "none"
    #: sign(x) * log(1 + |x|), for heavy tails.
    SIGNED_LOG1P = "signed-log1p"


class Spectrogram(Value, frozen=True, kw_only=True):
    """Log-mel energies of short frames of the window: (frames, bands) of each column, instead of its rows."""

    #: Rows of a frame, and from one frame to the next.
    frame: Annotated[int, msgspec.Meta(ge=8, le=8192)]
    hop: Annotated[int, msgspec.Meta(ge=1, le=8192)]
    bands: Annotated[int, msgspec.Meta(ge=1, le=256)]
    #: Where the lowest band begins and the highest ends.
    low_hz: Annotated[float, msgspec.Meta(ge=0)]
    high_hz: float
    #: Added to each energy before the logarithm; in squares of the readings or, levelled, in means of the window.
    floor: Annotated[float, msgspec.Meta(gt=0)]
    #: Whether energies are divided by their mean over the window: then it does not matter how loud all of it is.
    levelled: bool = False


class Preprocess(Value, frozen=True, kw_only=True):
    """clip(transform(x) * multiply + add), per column; one entry = the same for all columns.

    With a spectrogram x is an energy in it, and there is an entry per band, or one.
    """

    transform: Transform = Transform.NONE
    multiply: tuple[float, ...] = (1.0,)
    add: tuple[float, ...] = (0.0,)
    #: Symmetric bound after the multiply-add; None = none.
    clip: float | None = None
    spectrogram: Spectrogram | None = None


class MissingPolicy(StrEnum):
    """What a row with a missing value (NaN) becomes."""

    #: An error, counted; no answer.
    REFUSE = "refuse"
    #: The value that preprocesses to zero (the mean, after standardizing); before a spectrogram silence.
    NEUTRAL = "neutral"


class ChannelKind(StrEnum):
    """What one watched scalar per inference is computed from."""

    #: Input column `index` (the last row of the input window).
    COLUMN = "column"
    #: Over column `index` of the input window.
    MEAN = "mean"
    STD = "std"
    RMS = "rms"
    PEAK = "peak"
    #: Over the whole input seen as an image.
    BRIGHTNESS = "brightness"
    CONTRAST = "contrast"
    SHARPNESS = "sharpness"
    #: Share of values at the lowest or highest of the input's range.
    CLIPPED = "clipped"
    #: Fixed +-1 projection number `index` of the embedding (Achlioptas 2003).
    PROJECTION = "projection"
    #: Class index, value or score.
    ANSWER = "answer"
    #: Highest probability; highest minus second highest.
    CONFIDENCE = "confidence"
    MARGIN = "margin"


class Channel(Value, frozen=True, kw_only=True):
    """One watched scalar per inference."""

    name: str
    kind: ChannelKind
    index: int = 0


class Output(Value, frozen=True, kw_only=True):
    """How the output tensors become an answer."""

    #: Position of the answer among the file's outputs.
    answer: int = 0
    #: Position of the embedding, if the model has one.
    embedding: int | None = None
    labels: tuple[str, ...] = ()
    units: str = ""
    #: What was learnt of a number: the answer is its inverse.
    transform: Transform = Transform.NONE
    #: A number beyond these (low, high) is answered with the nearer one; None = no bounds.
    bounds: tuple[float, float] | None = None
    threshold: float | None = None


class Budgets(Value, frozen=True, kw_only=True):
    """Limits that the model must keep on a device of its class."""

    p95_latency_ms: float
    memory_bytes: int


class Requirements(Value, frozen=True, kw_only=True):
    """What a device must offer, read from the file: operator name -> version."""

    ops: dict[str, int]
    #: The first version of TensorFlow Lite that has them all, as the file says; None = it says nothing.
    minimal_runtime: str | None = None
    #: Machine architectures on which its golden vectors hold.
    architectures: tuple[str, ...] = ("x86_64", "aarch64", "armv7l")


class Lineage(Value, frozen=True, kw_only=True):
    """Where the model came from; everything a rebuild needs."""

    snapshot: Digest
    recipe: str
    recipe_digest: Digest
    seed: int
    #: Commit of the code that trained it; empty when unknown.
    commit: str
    #: Digest of what was not committed; None = all was, or nobody knows.
    difference: Digest | None = None
    libraries: dict[str, str]
    #: Digest of the calibration rows; None for variants that need none.
    calibration: Digest | None = None
    #: The file that a person brought; None = it was trained here, on the snapshot.
    brought: Digest | None = None


class Manifest(Value, frozen=True, kw_only=True):
    """What one artifact is."""

    format: int
    name: Id
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}\Z")]
    variant: Variant
    task: Task
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    window: InputWindow
    preprocess: Preprocess
    missing: MissingPolicy
    channels: Annotated[tuple[Channel, ...], msgspec.Meta(max_length=limits.MAX_CHANNELS)]
    output: Output
    budgets: Budgets
    requirements: Requirements
    #: On frozen sets, judged through `Model.predict`: fractions between 0 and 1 or in `units`.
    metrics: dict[str, float]
    lineage: Lineage


class Rule(Value, frozen=True, kw_only=True):
    """One rule of the promotion gate, and what it said."""

    name: str
    passed: bool
    #: In words: figures, what they are compared with, and where it failed what to do.
    reason: str
    #: What was found, and what it was compared with, by name.
    measured: dict[str, float] = {}
    limits: dict[str, float] = {}

    def __str__(self) -> str:
        return f"{self.name} {'passed' if self.passed else 'failed'}: {self.reason}"


class Override(Value, frozen=True, kw_only=True):
    """Who let devices run it although a rule failed, when and why."""

    by: str
    #: RFC 3339.
    at: str
    remark: str


class Promotion(Value, frozen=True, kw_only=True):
    """The result of the promotion gate."""

    #: Whether every rule did.
    passed: bool
    rules: tuple[Rule, ...] = ()
    #: Rows it was judged on that it never learnt from.
    unseen_rows: int = 0
    #: None = nobody did.
    override: Override | None = None

    @property
    def may_be_listed(self) -> bool:
        """Whether the gate lets it be signed, or a person did."""
        return self.passed or self.override is not None

    @property
    def failures(self) -> str:
        """The rules that failed and why, in words; empty = none."""
        return "; ".join(f"{rule.name}: {rule.reason}" for rule in self.rules if not rule.passed)


class Descriptor(Value, frozen=True, kw_only=True):
    """What TUF signs: the manifest and how to get and check the file."""

    manifest: Manifest
    digest: Digest
    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_ARTIFACT_BYTES)]
    block_bytes: Annotated[int, msgspec.Meta(ge=1, le=limits.BLOCK_BYTES)]
    #: Digest of the concatenated 32-byte SHA-256 sums of all blocks.
    blocks_digest: Digest
    run: str
    built_at: str
    host: str
    #: Measured where it was built, one thread: p50, p95 in milliseconds; resident bytes of the model.
    latency_p50_ms: float
    latency_p95_ms: float
    memory_bytes: int
    promotion: Promotion


_T = TypeVar("_T", bound=Value)


def target_path(manifest: Manifest, *, auto: bool = False) -> str:
    """The TUF target that holds the descriptor: `models/<model>/<version>-<variant>.json`.

    `auto` = signed by the model's delegated key: `models/<model>/auto/<version>-<variant>.json`.
    """
    folder = f"models/{manifest.name}/auto" if auto else f"models/{manifest.name}"
    return f"{folder}/{manifest.version}-{manifest.variant}.json"


def auto_model(path: str) -> str | None:
    """The model whose delegated key signs this target; None = the targets key does."""
    match = _AUTO_TARGET.fullmatch(path)
    return None if match is None else match[1]


def encode_value(value: Value) -> bytes:
    """JSON with sorted keys, so that a rebuild repeats the bytes."""
    return msgspec.json.encode(value, order="sorted")


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ArtifactError: too large, not JSON, a field missing, unknown or out of bounds.
    """
    return _checked(_decode(data, Manifest))


def decode_descriptor(data: bytes) -> Descriptor:
    """Read a descriptor.

    Raises:
        ArtifactError: too large, not JSON, a field missing, unknown or out of bounds.
    """
    descriptor = _decode(data, Descriptor)
    _checked(descriptor.manifest)
    if descriptor.promotion.passed and descriptor.promotion.failures:
        raise ArtifactError(f"a promotion gate that passed has rules that failed: {descriptor.promotion.failures}")
    return descriptor


def _decode(data: bytes, kind: type[_T]) -> _T:
    if len(data) > limits.MAX_MANIFEST_BYTES:
        raise ArtifactError(f"a {kind.__name__.lower()} of {len(data)} bytes exceeds {limits.MAX_MANIFEST_BYTES}")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"not a {kind.__name__.lower()}: {error}") from error


def _checked(manifest: Manifest) -> Manifest:
    """What types cannot say."""
    if manifest.format != FORMAT:
        raise ArtifactError(f"manifest format {manifest.format}, this version reads {FORMAT}; update EdgeOps")
    _refuse_odd_clock(manifest.window)
    _refuse_odd_grid(manifest.window)
    check_preprocess(manifest.preprocess, manifest.window)
    if manifest.task is Task.CLASSIFICATION and len(manifest.output.labels) < 2:
        raise ArtifactError(f"a classifier needs two labels or more, got {list(manifest.output.labels)}")
    if manifest.task is not Task.REGRESSION and manifest.output.transform is not Transform.NONE:
        raise ArtifactError(
            f"the answer of a {manifest.task} model has the transform {manifest.output.transform}; "
            "only that of a regression has one"
        )
    bounds = manifest.output.bounds
    if bounds is not None and (manifest.task is not Task.REGRESSION or not bounds[0] <= bounds[1]):
        raise ArtifactError(
            f"the answer of a {manifest.task} model lies within {bounds}; give a regression (low, high)"
        )
    for position in (manifest.output.answer, manifest.output.embedding):
        if position is not None and not 0 <= position < len(manifest.outputs):
            raise ArtifactError(f"output {position} does not exist; the file has {len(manifest.outputs)}")
    names = [channel.name for channel in manifest.channels]
    if len(set(names)) != len(names):
        raise ArtifactError("channel names repeat; each must be unique")
    return manifest


def _refuse_odd_clock(window: InputWindow) -> None:
    told = clock_columns(window.clock)
    if not told:
        return
    if window.time is None:
        raise ArtifactError(f"the input window has the clock columns {', '.join(told)} and no time column")
    if len(set(told)) < len(told) or window.columns[-len(told) :] != told or not window.measured:
        raise ArtifactError(f"the input window ends with {window.columns[-len(told) :]}; its clock gives {told}")


def _refuse_odd_grid(window: InputWindow) -> None:
    if window.resampling is None:
        return
    rate_hz, max_gap_s = window.rate_hz or 0.0, window.max_gap_s or 0.0
    if not (0 < rate_hz <= limits.MAX_RATE_HZ and 0 < rate_hz * max_gap_s <= limits.MAX_WINDOW_ROWS):
        raise ArtifactError(
            f"rows are resampled to {window.rate_hz} a second over gaps of {window.max_gap_s} s; a rate of at most "
            f"{limits.MAX_RATE_HZ:g}, and gaps of at most {limits.MAX_WINDOW_ROWS} rows can be filled"
        )


def check_preprocess(preprocess: Preprocess, window: InputWindow) -> None:
    """Refuse what does not fit the rows that it is for.

    Raises:
        ArtifactError: another number of entries than columns, or a spectrogram that the window cannot have.
    """
    width, what = len(window.columns), "columns"
    if preprocess.spectrogram is not None:
        _check_spectrogram(preprocess, preprocess.spectrogram, window)
        width, what = preprocess.spectrogram.bands, "bands"
    for name, values in (("multiply", preprocess.multiply), ("add", preprocess.add)):
        if len(values) not in (1, width):
            raise ArtifactError(f"preprocess.{name} has {len(values)} entries for {width} {what}; give 1 or {width}")


def _check_spectrogram(preprocess: Preprocess, spectrogram: Spectrogram, window: InputWindow) -> None:
    if preprocess.transform is not Transform.NONE:
        raise ArtifactError(f"a spectrogram is a logarithm already; leave out the transform {preprocess.transform}")
    if window.rate_hz is None:
        raise ArtifactError("a spectrogram needs the rate of rows; give the window rate_hz")
    if spectrogram.frame > window.rows:
        raise ArtifactError(f"frames of {spectrogram.frame} rows do not fit into a window of {window.rows}")
    if not spectrogram.low_hz < spectrogram.high_hz <= window.rate_hz / 2:
        raise ArtifactError(
            f"the spectrogram reaches from {spectrogram.low_hz:g} to {spectrogram.high_hz:g} Hz; rows at "
            f"{window.rate_hz:g} Hz tell of frequencies up to half of that"
        )
