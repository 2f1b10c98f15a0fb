"""Datasets and their snapshots."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StringConstraints

from edgeops.api.shapes.shape import Answer, Id, Request, Text


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
    label: Annotated[Text, StringConstraints(min_length=1, max_length=200)]
    #: Columns or arrays to learn from; empty = all others (npz: `X`).
    features: Annotated[Text, StringConstraints(max_length=100_000)] = ""
    #: Columns to leave out.
    exclude: Annotated[Text, StringConstraints(max_length=100_000)] = ""
    #: Conditions such as `batch=1,2`, which must all hold.
    where: Annotated[tuple[Annotated[Text, StringConstraints(max_length=1000)], ...], Field(max_length=20)] = ()
    #: Share of the rows that is only judged on.
    hold_out: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    #: The rows are consecutive rows of one source, oldest first: then the model knows how they hang together.
    in_time_order: bool = False
