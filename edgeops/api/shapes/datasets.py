"""Datasets and their snapshots."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StringConstraints

from edgeops.api.shapes.shape import Answer, Digest, Id, Request, Text
from edgeops.artifact.manifest import Task
from edgeops.data.rules import BadRows, Duplicates, SplitBy


class Snapshot(Answer):
    """One immutable state of a dataset."""

    digest: str
    dataset: str
    parent: str | None = None
    created_at: AwareDatetime
    rows: int
    size_bytes: int
    #: Since when its rows are gone, because a group of it was erased.
    erased_at: AwareDatetime | None = None
    #: `edgeops.data.schema.Schema`: rules, columns, classes, rows per split and class, statistics, refused rows, leaks.
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


class MovedColumn(Answer):
    """A column whose training rows changed."""

    column: str
    #: By how much the mean went up, in standard deviations of the old rows; null = the old rows had one value.
    shift_std: float | None
    #: New standard deviation over the old one.
    spread: float | None
    #: Share of missing values, old and new.
    missing: tuple[float, float]


class DatasetDifference(Answer):
    """From an old snapshot to a new one; what is empty did not change."""

    old: str
    new: str
    rows: tuple[int, int]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    #: Rows by class, old and new.
    classes: dict[str, tuple[int, int]]
    moved: tuple[MovedColumn, ...]
    #: By rule, old and new; null = nothing was said.
    rules: dict[str, tuple[Any, Any]]


class LearntVersion(Answer):
    """A version of a model that learnt from a group."""

    model: str
    version: int
    snapshot: str
    is_champion: bool
    #: Variants that devices may run.
    published: tuple[str, ...]


class GroupKnowledge(Answer):
    """What is known of a group: the snapshots that hold rows of it, oldest first, and what learnt from them."""

    dataset: str
    group: str
    #: Whether the newest snapshot holds rows of it.
    is_in_head: bool
    snapshots: tuple[str, ...]
    versions: tuple[LearntVersion, ...]


class ForgetRequest(Request):
    """A device or person, by the name that the group column has, or of a device that rows were bought from."""

    group: Annotated[Text, StringConstraints(min_length=1, max_length=200)]


class Split(StrEnum):
    """A part of a snapshot."""

    #: Learnt from.
    TRAIN = "train"
    #: Stops the learning.
    VALIDATION = "validation"
    #: Frozen; only judged on.
    EVALUATION = "evaluation"


class ImportPreviewRequest(Request):
    """A file that is not sent yet, by its digest."""

    name: Id
    #: `sha256:` and 64 hex characters.
    file: Digest
    file_name: Annotated[Text, StringConstraints(min_length=1, max_length=200)]
    #: TOML: docs/data.md.
    rules: Annotated[Text, StringConstraints(max_length=1_000_000)] = ""


class SampleImportRequest(Request):
    """Labelled samples of a model become a dataset."""

    name: Id
    model: Id
    split: SplitBy = SplitBy.ROW
    #: Labels of devices, such as `site`: what answers cost is told by each.
    slices: Annotated[
        tuple[Annotated[Text, StringConstraints(min_length=1, max_length=63)], ...], Field(max_length=8)
    ] = ()
    #: Share of the rows, or of the devices, that is only judged on.
    hold_out: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class DatasetRequest(Request):
    """The fields beside the uploaded file; lists are texts with commas. What is given here comes before the rules."""

    name: Id
    #: TOML: docs/data.md.
    rules: Annotated[Text, StringConstraints(max_length=1_000_000)] = ""
    #: Column (CSV, JSONL, Parquet) or array (npz) that is to be learnt; an anomaly detector needs none; of a folder it
    #: is the class unless something else is named.
    label: Annotated[Text, StringConstraints(min_length=1, max_length=200)] | None = None
    task: Task | None = None
    #: Of the label, where it is a number.
    units: Annotated[Text, StringConstraints(max_length=40)] | None = None
    #: Column that names the device, person or machine that a row is of.
    group: Annotated[Text, StringConstraints(min_length=1, max_length=200)] | None = None
    #: Further columns that name what a row is of, such as its site: what answers cost is told by each.
    slices: Annotated[Text, StringConstraints(max_length=2_000)] | None = None
    #: Column with the moment of a row.
    time: Annotated[Text, StringConstraints(min_length=1, max_length=200)] | None = None
    #: What is learnt of a row's moment: hour, weekday; their time zone, which moments without an offset have too.
    clock: Annotated[Text, StringConstraints(max_length=100)] | None = None
    zone: Annotated[Text, StringConstraints(min_length=1, max_length=100)] | None = None
    #: Columns or arrays to learn from; none = all others (npz: `X`).
    features: Annotated[Text, StringConstraints(max_length=100_000)] | None = None
    #: The array that is learnt from holds a recording in each row, of so many readings a second; files become such.
    clip_hz: Annotated[float, Field(gt=0, le=1e9)] | None = None
    #: Columns to leave out.
    exclude: Annotated[Text, StringConstraints(max_length=100_000)] | None = None
    #: Conditions such as `batch=1,2`, which must all hold.
    where: Annotated[tuple[Annotated[Text, StringConstraints(max_length=1000)], ...], Field(max_length=20)] = ()
    #: What becomes of a row that equals one before it.
    duplicates: Duplicates | None = None
    #: What becomes of the whole when rows are refused.
    bad_rows: BadRows | None = None
    #: What decides which rows are held out, and groups to hold out by name.
    split: SplitBy | None = None
    held_out: Annotated[Text, StringConstraints(max_length=100_000)] | None = None
    #: Share of the rows that is only judged on.
    hold_out: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    #: The rows are consecutive rows of one source, oldest first: then the model knows how they hang together.
    in_time_order: bool | None = None
    #: Of a folder of files: a regular expression over each path, whose named parts are columns.
    pattern: Annotated[Text, StringConstraints(min_length=1, max_length=200)] | None = None
    #: Of recordings: how long each becomes.
    seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    #: Of pictures: HEIGHTxWIDTH that all become; and whether colours become grey.
    size: Annotated[Text, StringConstraints(pattern="^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$")] | None = None
    grey: bool | None = None
