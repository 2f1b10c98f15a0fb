"""What a version tells of itself: its bill of materials."""

from fastapi import APIRouter, Response

from edgeops.card.bill import MEDIA_TYPE, write_bill
from edgeops.card.facts import Facts
from edgeops.errors import NotFoundError
from fleet_server.api.callers import VIEWER
from fleet_server.api.models import VersionNumber, known_version
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import datasets, runs

router = APIRouter(prefix="/models/{name}/versions/{version}", tags=["models"], dependencies=[VIEWER])


@router.get("/bom", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
def read_bill(server: ServerOf, name: str, version: VersionNumber) -> Response:
    """What a version is made of, for programs: a CycloneDX 1.6 document with files, data and libraries."""
    return Response(write_bill(_facts(server, name, version)), media_type=MEDIA_TYPE)


def _facts(server: Server, name: str, version: int) -> Facts:
    row, artifacts = known_version(server, name, version)
    if not artifacts:
        raise NotFoundError(f"{name}@{version} has no artifact that could be told of; train another version")
    files = tuple(one.describe() for one in artifacts)
    with server.database.read() as connection:
        run = runs.get(connection, row.run_id)
        assert run is not None, "a version is of a run"
        snapshot = datasets.get_snapshot(connection, run.snapshot)
        assert snapshot is not None, "a run is on a snapshot"
    return Facts(
        model=name,
        version=version,
        created_at=row.created_at,
        files=files,
        dataset=snapshot.dataset,
        schema=snapshot.schema,
    )
