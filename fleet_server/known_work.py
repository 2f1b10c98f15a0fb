"""Work that need not be done again, because a job did it and what came of it still holds."""

from fleet_server.db import jobs
from fleet_server.db.database import Connection
from fleet_server.db.jobs import ImportDataset, Job, JobState, Request
from fleet_server.work import work_digest


def known_job(connection: Connection, request: Request) -> Job | None:
    """The job that did the same work, does it or will do it; None = it is to be done.

    An import holds as long as no other file, rules or code made the newest snapshot of its dataset. What was taken out
    of it since stays out: importing the file again would bring a person back who was forgotten.
    """
    work = work_digest(request)
    job = None if work is None else jobs.of_work(connection, work)
    if job is None or job.state is not JobState.SUCCEEDED or not isinstance(request, ImportDataset):
        return job
    last = jobs.last_import(connection, request.name)
    return job if last is not None and last.id == job.id else None
