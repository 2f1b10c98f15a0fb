"""Work that takes longer than a request, and how far it is."""

from fastapi import APIRouter

from edgeops.api.shapes import Job, Page, WorkPreview, shape_of
from edgeops.errors import NotFoundError
from fleet_server.access import Identity
from fleet_server.api.callers import VIEWER
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import audit, jobs
from fleet_server.work import work_digest

router = APIRouter(prefix="/jobs", tags=["jobs"], dependencies=[VIEWER])


@router.get("")
def list_jobs(server: ServerOf, paging: PagingOf) -> Page[Job]:
    """All jobs, newest first."""
    with server.database.read() as connection:
        rows = jobs.page(connection, paging.after(str), paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shape_of(Job, row))


@router.get("/{job_id}")
def read_job(server: ServerOf, job_id: str) -> Job:
    """One job."""
    with server.database.read() as connection:
        job = jobs.get(connection, job_id)
    if job is None:
        raise NotFoundError(f"no job {job_id[:80]!r}; list them with: edgeops job list")
    return shape_of(Job, job)


def queue_job(server: Server, caller: Identity, request: jobs.Request) -> Job:
    """Put work into the queue in the caller's name."""
    now = server.now()
    with server.database.write() as connection:
        job = jobs.queue(connection, request, created_by=caller.name, now=now, work=work_digest(request))
        audit.append(connection, caller.name, "job.queued", job.id, {"kind": job.kind}, now)
    return shape_of(Job, job)


def preview_of(job: jobs.Job | None) -> WorkPreview:
    """What is told of work that a job did, does or will do; None = none."""
    return WorkPreview(job=None if job is None else shape_of(Job, job))
