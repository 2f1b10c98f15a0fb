"""The rows of a snapshot as a model reads them that a person brought: cut into windows, named by its labels, prepared.

A brought model may know more classes than the snapshot has rows of, in another order. It answers no row of a class that
it does not know, so such a snapshot is refused.
"""

from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Channel, ChannelKind, MissingPolicy, Preprocess, Task
from edgeops.data.schema import Schema
from edgeops.data.splits import Split
from edgeops.errors import ConfigError, DatasetError
from edgeops.model.brought import Instructions, input_window
from edgeops.model.preprocess import transform_rows
from fleet_server.datasets.snapshot import SnapshotFile
from fleet_server.ml.recipes.scaling import standardizing
from fleet_server.ml.representative import Representative, choose
from fleet_server.ml.watching import image_channels, table_channels, window_channels
from fleet_server.ml.windows import WindowedSnapshot, Windows, cut_windows, paced

Floats = NDArray[np.float32]

_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BroughtRows:
    """What a brought model is held against; `rows_for` makes one."""

    windows: WindowedSnapshot
    #: (windows that train, rows, columns), raw and whole: nothing is missing.
    whole: Windows
    preprocess: Preprocess
    missing: MissingPolicy
    #: What a person should know of the labels, in words.
    words: tuple[str, ...]

    def representative(self, shape: tuple[int, ...], *, seed: int) -> Representative:
        """Inputs (n, *shape without the batch) that int8 takes its ranges from, as for what is trained here."""
        inputs = self._prepared(self.whole).reshape(-1, *shape[1:])
        return choose(inputs, self.whole.targets, np.zeros(len(inputs), dtype=np.bool_), seed=seed)

    def channels(self, *, has_embedding: bool) -> tuple[Channel, ...]:
        """What is watched; without an embedding nothing is projected from it."""
        schema, window = self.windows.snapshot.schema, self.windows.window
        if len(schema.shape) > 1:
            chosen = image_channels(schema.task)
        elif window.rows > 1:
            chosen = window_channels(schema.task, window.measured, self._prepared(self.whole), self.whole.targets)
        else:
            chosen = table_channels(schema.task, window.measured, self._prepared(self.whole)[:, 0], self.whole.targets)
        return tuple(one for one in chosen if has_embedding or one.kind is not ChannelKind.PROJECTION)

    def _prepared(self, windows: Windows) -> Floats:
        """(n, rows, columns)."""
        values = windows.values
        rows = transform_rows(values.reshape(-1, values.shape[-1]), self.preprocess, missing=self.missing)
        return rows.reshape(values.shape)


def labels_for(said: Instructions, schema: Schema) -> tuple[str, ...]:
    """The classes in the order of the model's outputs; empty unless the task is classification.

    Raises:
        ConfigError: labels are given to a task that has none.
        DatasetError: the snapshot has classes that the model does not know.
    """
    if schema.task is not Task.CLASSIFICATION:
        if said.labels:
            raise ConfigError(f"labels are given, and the dataset is for {schema.task}; leave them out")
        return ()
    labels = said.labels or schema.classes
    unknown = [name for name in schema.classes if name not in labels]
    if unknown:
        raise DatasetError(
            f"the model does not know {', '.join(map(repr, unknown[:_NAMED]))} of the snapshot's classes; its labels "
            f"are {', '.join(map(repr, labels[:_NAMED]))}: give them as the snapshot has them, or import it with where"
        )
    return labels


def rows_for(
    snapshot: SnapshotFile, shape: tuple[int, ...], labels: tuple[str, ...], said: Instructions
) -> BroughtRows:
    """Cut and name the rows for an input tensor of this shape.

    Raises:
        ArtifactError: the tensor does not hold such rows.
        ConfigError: an instruction does not fit.
        DatasetError: there is no whole window to ask it.
    """
    schema = snapshot.schema
    found = input_window(shape, schema.columns, schema.shape, said)
    window = schema.window(rows=found.rows, stride=found.stride)
    cut = cut_windows(snapshot, paced(window, snapshot) if window.rows > 1 else window)
    windows = replace(cut, snapshot=_named(snapshot, labels))
    train = windows.only(Split.TRAIN)
    whole = train.only(np.flatnonzero(~np.isnan(train.values).any(axis=(1, 2))))
    if not len(whole):
        raise DatasetError("a value is missing in every training window; leave columns out with exclude when importing")
    has_gaps = any(one.missing for one in schema.statistics)
    return BroughtRows(
        windows=windows,
        whole=whole,
        preprocess=_preprocess(snapshot, said),
        # Zero is the mean only where readings are standardized.
        missing=MissingPolicy.NEUTRAL if said.standardize and has_gaps else MissingPolicy.REFUSE,
        words=_unjudged(schema, labels),
    )


def _named(snapshot: SnapshotFile, labels: tuple[str, ...]) -> SnapshotFile:
    """The same rows, their classes counted as the model's outputs are."""
    schema, rows = snapshot.schema, snapshot.rows
    if labels == schema.classes:
        return snapshot
    places = np.array([labels.index(name) for name in schema.classes], dtype=np.int64)
    counts = dict(zip(schema.classes, schema.class_rows, strict=True))
    named = msgspec.structs.replace(schema, classes=labels, class_rows=tuple(counts.get(label, 0) for label in labels))
    return replace(snapshot, schema=named, rows=replace(rows, targets=places[rows.targets]))


def _unjudged(schema: Schema, labels: tuple[str, ...]) -> tuple[str, ...]:
    unjudged = [label for label in labels if label not in schema.classes]
    if not unjudged:
        return ()
    more = f" and {len(unjudged) - _NAMED} more" if len(unjudged) > _NAMED else ""
    return (
        f"the snapshot has no row of {', '.join(unjudged[:_NAMED])}{more}: what these answers are worth is not known",
    )


def _preprocess(snapshot: SnapshotFile, said: Instructions) -> Preprocess:
    if not said.standardize:
        return Preprocess(multiply=said.multiply or (1.0,), add=said.add or (0.0,))
    values = snapshot.only(Split.TRAIN).values.astype(np.float64)
    # All pixels of an image have one scale.
    multiply, add = standardizing(values.reshape(-1, 1) if len(snapshot.schema.shape) > 1 else values)
    return Preprocess(multiply=multiply, add=add)
