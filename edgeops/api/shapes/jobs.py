"""Work that takes longer than a request."""

from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime

from edgeops.api.shapes.shape import Answer


class JobState(StrEnum):
    """Where a job stands."""

    #: Waits for a worker.
    QUEUED = "queued"
    #: A worker has it.
    RUNNING = "running"
    #: Ended well; `result` says what came out.
    SUCCEEDED = "succeeded"
    #: Ended badly; `error` says why.
    FAILED = "failed"


class Job(Answer):
    """Work that takes longer than a request."""

    id: str
    #: dataset, inspect, forget, train, retrain, reproduce, bring, publish, withdraw.
    kind: str
    state: JobState
    #: What it does now, in words.
    step: str = ""
    #: Between 0 and 1.
    progress: float = 0.0
    result: dict[str, Any] | None = None
    error: str | None = None
    created_by: str = ""
    created_at: AwareDatetime
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (JobState.SUCCEEDED, JobState.FAILED)


class WorkPreview(Answer):
    """Whether the very same work was asked for before."""

    #: The job that did it, whose result still holds, or that does it or waits to; null = it is to be done.
    job: Job | None = None
