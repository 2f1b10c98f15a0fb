"""Labels: which samples wait for one, and what people, files and devices say they are."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from edgeops import limits
from edgeops.api.shapes import (
    FeedbackRequest,
    FieldProblem,
    Label,
    LabelsRequest,
    LabelsTaken,
    Page,
    QueuedSample,
    RefusedLabel,
    shape_of,
)
from edgeops.errors import NotFoundError
from edgeops.learning.labels import Given, LabelSource, read_csv
from fleet_server.api.callers import VIEWER, Scientist
from fleet_server.api.once import Act, OnceOf
from fleet_server.api.pages import Ordinal, PagingOf
from fleet_server.api.problems import FieldError
from fleet_server.api.server import Server, ServerOf
from fleet_server.artifacts import Artifacts
from fleet_server.db import audit, label_queue, labels, models, samples
from fleet_server.db.label_queue import Item, ItemState
from fleet_server.db.samples import Sample
from fleet_server.labelling import Taken, take_feedback, take_labels

router = APIRouter(tags=["labels"], route_class=Act)

_CSV = {"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}}
_CSV_COLUMNS = ("sample_id", "label", "device_id", "deployment", "input_id", "position", "by_chance", "answer")
#: With these a spreadsheet begins a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@router.get("/models/{name}/labels/queue", dependencies=[VIEWER])
def list_queue(
    server: ServerOf, name: str, paging: PagingOf, *, state: ItemState = ItemState.OPEN
) -> Page[QueuedSample]:
    """Exactly the samples that were chosen for a label, those that help most first."""
    _require_model(server, name)
    with server.database.read() as connection:
        rows = label_queue.page(
            connection, name, state=state, after=paging.after(tuple[Ordinal, str]), limit=paging.wanted
        )
    known = _samples(server, rows)
    return paging.page(
        rows, key=lambda row: row.key, shape=lambda row: _queued(row, known.get(row.sample_id), server.artifacts)
    )


@router.get("/models/{name}/labels/queue.csv", dependencies=[VIEWER], response_class=Response)
def export_queue(server: ServerOf, name: str) -> Response:
    """The open queue as a file to be filled in: write each sample's label into its column and import it."""
    _require_model(server, name)
    with server.database.read() as connection:
        rows = label_queue.page(connection, name, limit=limits.MAX_LABELS_PER_REQUEST)
    known = _samples(server, rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for row in rows:
        shown = _queued(row, known.get(row.sample_id), server.artifacts)
        cells = (shown.sample_id, "", shown.device_id, shown.deployment, _harmless(shown.input_id))
        writer.writerow((*cells, shown.position, shown.by_chance, _harmless(shown.answer or "")))
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8")


@router.post("/labels")
def add_labels(server: ServerOf, caller: Scientist, wanted: LabelsRequest) -> LabelsTaken:
    """Say what samples are; the good labels are taken, each other one is named with its reason."""
    given = [Given(one.sample_id, one.label, one.remark) for one in wanted.labels]
    source = LabelSource(wanted.source)
    return _taken(_take(server, given, source=source, author=caller.name))


@router.post("/labels/csv", response_model=LabelsTaken, openapi_extra=_CSV)
async def import_labels(
    server: ServerOf,
    caller: Scientist,
    request: Request,
    once: OnceOf,
    model: Annotated[str | None, Query(max_length=63, description="Samples of no other model.")] = None,
) -> LabelsTaken | Response:
    """The labels of a file with the columns `sample_id` and `label`; rows without a label were not labelled yet."""
    content = await request.body()
    return await run_in_threadpool(once, lambda: _import(server, caller.name, content, model), said=content, status=200)


@router.get("/models/{name}/labels", dependencies=[VIEWER])
def list_labels(server: ServerOf, name: str, paging: PagingOf) -> Page[Label]:
    """Who said what of the samples of a model, newest first."""
    _require_model(server, name)
    with server.database.read() as connection:
        rows = labels.page(connection, name, after=paging.after(Ordinal), limit=paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shape_of(Label, row))


@router.post("/models/{name}/feedback", status_code=201)
def add_feedback(server: ServerOf, caller: Scientist, name: str, wanted: FeedbackRequest) -> Label:  # noqa: ARG001 - only its role counts
    """How an answer of a device turned out, as the device tells it: learnt from within a cap, never judged on."""
    _require_model(server, name)
    kept = take_feedback(
        server.database,
        name,
        device_id=wanted.device_id,
        deployment=wanted.deployment,
        input_id=wanted.input_id,
        label=wanted.label,
        now=server.now(),
    )
    return shape_of(Label, kept)


def _import(server: Server, author: str, content: bytes, model: str | None) -> LabelsTaken:
    if model is not None:
        _require_model(server, model)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        detail = f"not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8"
        raise FieldError(FieldProblem(pointer="#", detail=detail)) from error
    given, unreadable = read_csv(text)
    if len(given) > limits.MAX_LABELS_PER_REQUEST:
        detail = f"{len(given)} labels; at most {limits.MAX_LABELS_PER_REQUEST} at a time"
        raise FieldError(FieldProblem(pointer="#", detail=detail))
    taken = _take(server, given, source=LabelSource.CSV, author=author, model=model)
    taken.refused = [*unreadable, *taken.refused]
    return _taken(taken)


def _take(
    server: Server, given: Sequence[Given], *, source: LabelSource, author: str, model: str | None = None
) -> Taken:
    now = server.now()
    with server.database.together():
        taken = take_labels(server.database, given, source=source, author=author, now=now, model=model)
        with server.database.write() as connection:
            data = {"accepted": taken.accepted, "refused": len(taken.refused), "model": model}
            audit.append(connection, author, "labels.given", source, data, now)
    return taken


def _taken(taken: Taken) -> LabelsTaken:
    return LabelsTaken(
        accepted=taken.accepted,
        unknown=tuple(taken.unknown),
        refused=tuple(shape_of(RefusedLabel, one) for one in taken.refused),
        disputed=tuple(taken.disputed),
    )


def _samples(server: Server, rows: Sequence[Item]) -> dict[str, Sample]:
    with server.database.read_telemetry() as connection:
        return {one.id: one for one in samples.some(connection, [row.sample_id for row in rows])}


def _queued(row: Item, sample: Sample | None, artifacts: Artifacts) -> QueuedSample:
    artifact = None if sample is None else artifacts.get(sample.digest)
    names = () if artifact is None else artifact.manifest.output.labels
    named = sample is not None and sample.answer.is_integer() and 0 <= sample.answer < len(names)
    return QueuedSample(
        sample_id=row.sample_id,
        model=row.model,
        asker=row.asker,
        device_id=row.device_id,
        deployment=row.deployment,
        input_id=row.input_id,
        position=row.position,
        by_chance=row.by_chance,
        state=row.state,
        requested_at=row.requested_at,
        closed_at=row.closed_at,
        answer=names[int(sample.answer)] if sample is not None and named else None,
        confidence=math.nan if sample is None else sample.confidence,
        readings=f"/api/v1/samples/{row.sample_id}",
    )


def _harmless(text: str) -> str:
    """Text from devices must not command a spreadsheet."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _require_model(server: Server, name: str) -> None:
    with server.database.read() as connection:
        if models.get(connection, name) is None:
            raise NotFoundError(f"no model {name[:80]!r}; list them with: edgeops model list")
