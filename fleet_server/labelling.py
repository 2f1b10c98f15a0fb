"""Takes in what people, files and devices say samples are: the good labels, and a reason for each other one.

Nothing is lost: one wrong label keeps no other from being taken. What several labels of a sample amount to is
decided in `edgeops.learning.labels`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from edgeops.errors import InputError, NotFoundError
from edgeops.learning.labels import Disputed, Given, LabelSource, Refused, check, without_contradictions
from fleet_server.db import labels, models, samples
from fleet_server.db.database import Connection, Database
from fleet_server.db.labels import NewLabel
from fleet_server.db.samples import Sample

#: Labels in one transaction, so that the write lock is held for moments only.
_BATCH = 200


@dataclass(slots=True)
class Taken:
    """What became of each label."""

    accepted: int = 0
    unknown: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    disputed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Classes:
    """The model that answered a sample, and what it tells apart."""

    model: str
    classes: tuple[str, ...]


def take_labels(
    database: Database,
    given: Sequence[Given],
    *,
    source: LabelSource,
    author: str,
    now: datetime,
    model: str | None = None,
) -> Taken:
    """Keep the labels that fit their samples; `model` = those of another model's samples are refused."""
    good, refused = without_contradictions(given)
    taken = Taken(refused=refused)
    for start in range(0, len(good), _BATCH):
        batch = {one.sample_id: one for one in good[start : start + _BATCH]}
        with database.read_telemetry() as connection:
            known = {one.id: one for one in samples.some(connection, list(batch))}
        taken.unknown += [sample_id for sample_id in batch if sample_id not in known]
        with database.write() as connection:
            classes = {digest: _classes(connection, digest) for digest in {one.digest for one in known.values()}}
            fitting = []
            for sample_id, sample in known.items():
                one = batch[sample_id]
                of = classes[sample.digest]
                reason = _objection(of, one.label, model)
                if of is None or reason is not None:
                    taken.refused.append(Refused(sample_id, reason or ""))
                    continue
                fitting.append(_new(sample, of.model, one, source, author))
            outcomes = labels.add(connection, fitting, now)
        taken.accepted += len(fitting)
        taken.disputed += [sample_id for sample_id, outcome in outcomes.items() if isinstance(outcome, Disputed)]
    return taken


def take_feedback(
    database: Database, model: str, *, device_id: str, deployment: str, input_id: str, label: str, now: datetime
) -> labels.Label:
    """Keep what a device says of one of its own inputs.

    Raises:
        NotFoundError: no sample was made of that input, or not by that model.
        InputError: the label is none of the model's classes.
    """
    with database.read_telemetry() as connection:
        sample = samples.by_input(connection, device_id, deployment, input_id)
    with database.write() as connection:
        of = None if sample is None else _classes(connection, sample.digest)
        if sample is None or of is None or of.model != model:
            raise NotFoundError(
                f"no sample of input {input_id!r} of {device_id} that {model} answered; only nominated inputs are kept"
            )
        reason = check(label, of.classes)
        if reason is not None:
            raise InputError(reason, fields=[("#/label", reason)])
        one = Given(sample.id, label)
        labels.add(connection, [_new(sample, model, one, LabelSource.FEEDBACK, device_id)], now)
        return labels.page(connection, model, limit=1)[0]


def _objection(of: _Classes | None, label: str, model: str | None) -> str | None:
    if of is None:
        return "the model that answered it is not known here any more"
    if model not in {None, of.model}:
        return f"it is a sample of {of.model}, not of {model}"
    return check(label, of.classes)


def _classes(connection: Connection, digest: str) -> _Classes | None:
    artifact = models.artifact_by_digest(connection, digest)
    if artifact is None:
        return None
    return _Classes(artifact.model, artifact.describe().manifest.output.labels)


def _new(sample: Sample, model: str, one: Given, source: LabelSource, author: str) -> NewLabel:
    return NewLabel(
        sample_id=sample.id,
        model=model,
        device_id=sample.device_id,
        label=one.label,
        source=source,
        author=author,
        remark=one.remark,
    )
