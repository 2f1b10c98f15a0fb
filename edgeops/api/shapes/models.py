"""Trainings, and the models, versions and artifacts that come of them."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StringConstraints

from edgeops import limits
from edgeops.api.shapes.benchmarks import Benchmark
from edgeops.api.shapes.promotion import Judgement, Promotion
from edgeops.api.shapes.runs import RunEnvironment, RunHealing
from edgeops.api.shapes.shape import Answer, Id, Name, Request, Text
from edgeops.artifact.manifest import USUAL_VARIANTS, Variant

_OptionText = Annotated[Text, StringConstraints(max_length=1000)]


class RunRequest(Request):
    """Train a model on the newest snapshot of a dataset."""

    dataset: Id
    model: Id
    recipe: Name = "dense"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    #: Null: the recipe's own.
    epochs: Annotated[int, Field(ge=1, le=limits.MAX_EPOCHS)] | None = None
    #: What the recipe takes beside that, by name: `window`, `stride`, `batch`, `class-weights`; see docs/models.md.
    options: Annotated[dict[Name, float | _OptionText], Field(max_length=20)] = {}
    #: Artifacts to build; float32 always is, for it judges the others.
    variants: Annotated[tuple[Variant, ...], Field(min_length=1, max_length=len(Variant))] = USUAL_VARIANTS
    #: So many trainings more, each judged on training rows that it was not shown; null: none.
    folds: Annotated[int, Field(ge=2, le=20)] | None = None


class BroughtRequest(Request):
    """The fields beside an uploaded model; what is not given is found, or left as it is."""

    name: Id
    #: Whose rows calibrate and judge it: a dataset, whose newest snapshot is meant, or the digest of a snapshot.
    dataset: Annotated[Text, StringConstraints(min_length=1, max_length=200)]
    #: Classes in the order of the outputs, one a line; none = those of the dataset.
    labels: Annotated[Text, StringConstraints(max_length=100_000)] = ""
    #: What readings are multiplied with, and what is added then: one number, or one for each column, with commas.
    multiply: Annotated[Text, StringConstraints(max_length=100_000)] | None = None
    add: Annotated[Text, StringConstraints(max_length=100_000)] | None = None
    #: Mean 0 and deviation 1, by the training rows.
    standardize: bool = False
    #: Rows that one answer sees, and rows from one answer to the next.
    window: Annotated[int, Field(ge=1, le=65_536)] | None = None
    stride: Annotated[int, Field(ge=1, le=65_536)] | None = None
    #: Places of the answer and the embedding among the outputs.
    answer: Annotated[int, Field(ge=0, le=1000)] | None = None
    embedding: Annotated[int, Field(ge=0, le=1000)] | None = None
    #: Of an anomaly detector: a score above it is an alarm.
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None
    #: Artifacts to make of a .keras or SavedModel, with commas; a .tflite is the one that it is.
    variants: Annotated[Text, StringConstraints(max_length=100)] = ",".join(USUAL_VARIANTS)


class Recipe(Answer):
    """How a model can be learnt."""

    name: str
    #: In a line.
    about: str
    #: What it learns: classification, regression, anomaly.
    tasks: tuple[str, ...]
    #: What a run may say beside the seed, by name.
    options: tuple[str, ...]
    #: Of the owner's file; null for those of EdgeOps.
    digest: str | None = None
    #: Why the file cannot be learnt by; null if it can.
    flaw: str | None = None


class Run(Answer):
    """One training."""

    id: str
    job_id: str
    model: str
    #: What it became; null = nothing, or not yet.
    version: int | None = None
    snapshot: str
    recipe: str
    seed: int
    #: `epochs` (null = the recipe's own) and the recipe's options.
    parameters: dict[str, Any]
    variants: tuple[Variant, ...] = ()
    #: Null = a training of its own.
    healing: RunHealing | None = None
    environment: RunEnvironment
    #: Seconds by step.
    durations: dict[str, float] = {}
    #: By variant.
    metrics: dict[str, dict[str, float]]
    judgement: Judgement = Judgement()
    #: Digest of the inputs that int8 took its ranges from.
    calibration: str | None = None
    #: What a person should know of the data.
    warnings: tuple[str, ...] = ()
    state: str
    error: str | None = None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    #: What devices measured of its version, newest first; empty in lists, which leave it out.
    benchmarks: tuple[Benchmark, ...] = ()


class Requirements(Answer):
    """What a device must offer, read from the file."""

    #: Versions of its operations, by name.
    ops: dict[str, int]
    #: The first version of TensorFlow Lite that has them all; null: the file does not say.
    minimal_runtime: str | None = None
    architectures: tuple[str, ...]


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
    #: Shares of the rows held back, or of a regression errors in its units (`mae` is the mean one).
    metrics: dict[str, float] = {}
    requirements: Requirements
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


class VariantCost(Answer):
    """What one variant of a version costs beside its siblings."""

    variant: str
    #: Of the file as devices fetch it.
    size_bytes: int
    p95_latency_ms: float
    #: Against float32, in points of a hundred: of accuracy, skill, F1 or alarms; below 0 = it does better.
    loss_points: float
    #: The same of the recall of each class, by its name; empty: the task has no classes.
    class_losses: dict[str, float] = {}
    #: Whether no sibling is at most as large and loses at most as much, and less of one.
    is_efficient: bool
    #: Why it is not taken; none = it could be.
    hindrances: tuple[str, ...] = ()


class Choice(Answer):
    """The smallest variant that its promotion gate let pass and that keeps the budgets."""

    #: Null = each has a hindrance.
    chosen: str | None = None
    #: The smallest first.
    costs: tuple[VariantCost, ...]


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
    task: Annotated[str | None, Field(description=f"`classification`, `regression` or `anomaly`; {_ABRIDGED}.")] = None
    units: Annotated[
        str | None, Field(description=f"Of the number that a regression answers, and of its errors; {_ABRIDGED}.")
    ] = None
    columns: Annotated[tuple[str, ...] | None, Field(description=f"Input columns in order; {_ABRIDGED}.")] = None
    channels: Annotated[tuple[str, ...] | None, Field(description=f"Watched channels in order; {_ABRIDGED}.")] = None
    warnings: Annotated[
        tuple[str, ...] | None,
        Field(description=f"What a person should know of the rows that windows are compared with; {_ABRIDGED}."),
    ] = None
    benchmarks: Annotated[
        tuple[Benchmark, ...] | None, Field(description=f"What devices measured, newest first; {_ABRIDGED}.")
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
    remark: Annotated[Text, StringConstraints(max_length=limits.MAX_DETAIL_LENGTH)] = ""


class PublishRequest(Request):
    """Sign and list the artifacts of a version; null means every variant."""

    variant: Variant | None = None


class WithdrawRequest(Request):
    """List a version's artifacts no longer; null means every variant."""

    variant: Variant | None = None
