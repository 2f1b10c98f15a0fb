"""Trainings once more: is what came of one still what comes of it?"""

from fastapi import APIRouter

from edgeops.api.shapes import Job
from fleet_server.api.callers import Scientist
from fleet_server.api.jobs import queue_job
from fleet_server.api.models import VersionNumber
from fleet_server.api.once import Act
from fleet_server.api.promises import may_fail
from fleet_server.api.server import ServerOf
from fleet_server.db.jobs import Reproduce
from fleet_server.reproduction import find_basis

router = APIRouter(prefix="/models", tags=["models"], route_class=Act)


@router.post("/{name}/versions/{version}/reproduce", status_code=202, responses=may_fail(409))
def reproduce_version(server: ServerOf, caller: Scientist, name: str, version: VersionNumber) -> Job:
    """Train a version again from what its run says, and compare; a job does it, and registers no version."""
    with server.database.read() as connection:
        find_basis(connection, server.blobs, name, version)
    return queue_job(server, caller, Reproduce(model=name, version=version))
