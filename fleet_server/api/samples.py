"""Samples: inputs that devices nominated, as whoever labels them needs to see them."""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query

from edgeops.api.shapes import Id, Page, Sample
from edgeops.errors import NotFoundError
from fleet_server.api import pages
from fleet_server.api.callers import VIEWER
from fleet_server.api.fleet import digests_of
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import ServerOf
from fleet_server.artifacts import Artifacts
from fleet_server.db import samples

router = APIRouter(tags=["labels"], dependencies=[VIEWER])


@router.get("/samples/{sample_id}")
def read_sample(server: ServerOf, sample_id: str) -> Sample:
    """One sample with its raw readings."""
    with server.database.read_telemetry() as connection:
        row = samples.get(connection, sample_id)
    if row is None:
        raise NotFoundError(
            f"no sample {sample_id[:80]!r}; those of a model are at /api/v1/models/MODEL/samples, and one that nobody "
            "labelled goes after a time"
        )
    shown = _sample(row, server.artifacts)
    return shown.model_copy(update={"readings": _readings(row.readings, len(shown.columns))})


@router.get("/models/{name}/samples")
def list_samples(
    server: ServerOf,
    name: str,
    *,
    paging: PagingOf,
    device: Annotated[Id | None, Query(description="Only of this device.")] = None,
) -> Page[Sample]:
    """Samples that artifacts of one model answered, newest first, without readings."""
    digests = digests_of(server, name)
    with server.database.read_telemetry() as connection:
        rows = samples.page(
            connection,
            digests,
            device_id=device,
            after=paging.after(tuple[pages.Moment, str]),
            limit=paging.wanted,
        )
    return paging.page(rows, key=lambda row: row.key, shape=lambda row: _sample(row, server.artifacts))


def _sample(row: samples.Sample, artifacts: Artifacts) -> Sample:
    artifact = artifacts.get(row.digest)
    labels = () if artifact is None else artifact.manifest.output.labels
    return Sample(
        id=row.id,
        device_id=row.device_id,
        deployment=row.deployment,
        digest=row.digest,
        nomination=row.nomination,
        input_id=row.input_id,
        answered_at=row.answered_at,
        received_at=row.received_at,
        answer=row.answer,
        label=_label(row.answer, labels),
        confidence=row.confidence,
        weight=row.weight,
        by_chance=row.by_chance,
        shadow_answer=row.shadow_answer,
        shadow_label=None if row.shadow_answer is None else _label(row.shadow_answer, labels),
        columns=() if artifact is None else artifact.manifest.window.columns,
    )


def _label(answer: float, labels: Sequence[str]) -> str | None:
    return labels[int(answer)] if answer.is_integer() and 0 <= answer < len(labels) else None


def _readings(data: bytes, columns: int) -> tuple[tuple[float | None, ...], ...]:
    """Row by row; one row when nobody knows how many columns there are."""
    values = np.frombuffer(data, "<f4")
    width = columns if columns and len(values) % columns == 0 else max(len(values), 1)
    return tuple(
        tuple(None if math.isnan(value) else value for value in row) for row in values.reshape(-1, width).tolist()
    )
