"""What devices answered."""

from typing import Annotated

from fastapi import APIRouter, Query

from edgeops.api.shapes import Digest, Page, Prediction, shape_of
from edgeops.model.postprocess import is_alarm
from fleet_server.api.callers import VIEWER
from fleet_server.api.devices import known_device, require_deployment
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import ServerOf
from fleet_server.artifacts import Artifacts
from fleet_server.db import telemetry

router = APIRouter(prefix="/devices/{device_id}/predictions", tags=["devices"], dependencies=[VIEWER])


@router.get("")
def list_predictions(
    server: ServerOf,
    device_id: str,
    *,
    paging: PagingOf,
    deployment: str | None = None,
    digest: Annotated[Digest | None, Query()] = None,
) -> Page[Prediction]:
    """All kept answers of one device, by deployment, digest and input id."""
    device = known_device(server, device_id)
    with server.database.read_telemetry() as connection:
        rows = telemetry.prediction_page(
            connection,
            device_id,
            deployment=deployment,
            digest=digest,
            after=paging.after(tuple[str, str, str]),
            limit=paging.wanted,
        )
    if not rows:
        require_deployment(device, deployment)
    return paging.page(rows, key=lambda row: row.key, shape=lambda row: _prediction(row, server.artifacts))


@router.get("/latest")
def read_latest_predictions(server: ServerOf, device_id: str) -> Page[Prediction]:
    """The newest answer of each deployment of one device."""
    known_device(server, device_id)
    with server.database.read_telemetry() as connection:
        rows = telemetry.latest_predictions(connection, device_id)
    return Page(items=tuple(_prediction(row, server.artifacts) for row in rows))


def _prediction(row: telemetry.Prediction, artifacts: Artifacts) -> Prediction:
    artifact = artifacts.get(row.digest)
    if artifact is None:
        return shape_of(Prediction, row)
    output = artifact.manifest.output
    named = row.answer.is_integer() and 0 <= row.answer < len(output.labels)
    words = {
        "label": output.labels[int(row.answer)] if named else None,
        "alarm": is_alarm(row.answer, output.threshold),
    }
    return shape_of(Prediction, row).model_copy(update=words)
