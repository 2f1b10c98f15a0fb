"""The labelled samples of a model as JSON lines, so that they can be imported like any file.

Which labels count is decided in `edgeops.learning.labels`: agreed ones, feedback of devices within its share. A sample
that was answered by a version with other columns, or that was dropped since, is left out and counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edgeops.errors import ConflictError, DatasetError, NotFoundError
from fleet_server.db import devices, labels, models, samples
from fleet_server.db.database import Connection, Database
from fleet_server.db.samples import Sample

#: What a line has beside the model's columns.
LABEL, DEVICE, MOMENT = "label", "device", "answered-at"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRows:
    """The labelled samples that fit the newest version."""

    columns: tuple[str, ...]
    #: What is told of the device of each, by the name of its label, by device; one that has no such label is absent.
    slices: dict[str, dict[str, str]]
    #: In order of device and time, each with its label.
    labelled: tuple[tuple[Sample, str], ...]
    #: Labelled samples without readings of these columns.
    left_out: int

    def lines(self) -> Iterator[bytes]:
        """One JSON object for each; a missing reading is null."""
        for sample, label in self.labelled:
            readings = np.frombuffer(sample.readings, "<f4")
            values = [float(one) if np.isfinite(one) else None for one in readings]
            row = dict(zip(self.columns, values, strict=True))
            told: dict[str, object] = {LABEL: label, DEVICE: sample.device_id, MOMENT: sample.answered_at}
            told |= {name: labels.get(sample.device_id) for name, labels in self.slices.items()}
            yield msgspec.json.encode(row | told) + b"\n"


def labelled_rows(database: Database, model: str, slices: Sequence[str] = ()) -> SampleRows:
    """Gather them; `slices` are labels of devices that rows are told apart by.

    Raises:
        NotFoundError: there is no such model.
        ConflictError: it reads windows of rows or the clock, or a column is called as what stands beside them.
        DatasetError: no sample of it is labelled, or none of their devices has one of the labels.
    """
    with database.read() as connection:
        columns = _columns(connection, model, {LABEL, DEVICE, MOMENT, *slices})
        said = {one.sample_id: one.label for one in labels.for_training(connection, model)}
    with database.read_telemetry() as connection:
        found = samples.some(connection, said)
    fitting = _in_order(one for one in found if len(one.readings) == 4 * len(columns))
    if not fitting:
        raise DatasetError(f"no sample of {model} is labelled; see which wait for a label: edgeops label queue {model}")
    with database.read() as connection:
        known = devices.some(connection, {one.device_id for one in fitting})
    told = {name: {one.id: one.labels[name] for one in known if name in one.labels} for name in slices}
    if unknown := [name for name, of in told.items() if not of]:
        raise DatasetError(
            f"no device that sent a labelled sample of {model} has a label {unknown[0][:63]!r}; give it one: edgeops "
            f"device label DEVICE {unknown[0][:63]}=VALUE"
        )
    return SampleRows(
        columns=columns,
        slices=told,
        labelled=tuple((one, said[one.id]) for one in fitting),
        left_out=len(said) - len(fitting),
    )


def _in_order(found: Iterator[Sample]) -> Sequence[Sample]:
    return sorted(found, key=lambda one: (one.device_id, one.answered_at, one.id))


def _columns(connection: Connection, model: str, beside: set[str]) -> tuple[str, ...]:
    """Of the newest version."""
    versions = models.list_versions(connection, model)
    artifacts = models.list_artifacts(connection, model, versions[0].version) if versions else []
    if not artifacts:
        raise NotFoundError(f"no model {model[:80]!r}; list them with: edgeops model list")
    window = artifacts[0].describe().manifest.window
    if window.rows > 1:
        raise ConflictError(
            f"{model} reads windows of {window.rows} rows, and what devices send as samples are single rows"
        )
    if window.clock:
        raise ConflictError(
            f"{model} reads the {' and '.join(window.clock)} of a row, and samples say when they were answered, not "
            "when they were measured"
        )
    if taken := beside & {*window.columns}:
        raise ConflictError(f"{model} reads a column {min(taken)!r}, which is what the samples' own is called")
    return window.columns
