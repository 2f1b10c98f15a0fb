"""What a person is told and asked while a command runs: progress of jobs, on standard error only.

On a terminal one line changes in place (rich); elsewhere each new step is one plain line.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.shapes import Job, JobState
from edgeops.errors import ServerError


def say(text: str) -> None:
    """One line of news for people."""
    print(text, file=sys.stderr, flush=True)


def confirm(question: str) -> None:
    """Ask before what cannot be undone.

    Raises:
        typer.BadParameter: nobody is there to answer.
        typer.Abort: the answer is no.
    """
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; say it with --yes")
    typer.confirm(question, err=True, abort=True)


def follow(client: Client, job: Job, *, what: str, timeout: timedelta | None = None) -> Job:
    """Wait until a job ended well, showing how it goes.

    Raises:
        ServerError: it failed; the message is the job's own.
        WaitTimeoutError: it did not end in time.
    """
    with job_progress(what) as show:
        ended = client.wait_job(job.id, on_progress=show, timeout=timeout or limits.JOB_TIMEOUT)
    if ended.state is JobState.FAILED:
        raise ServerError(f"{what} failed: {ended.error or 'no reason given'} (job {ended.id})")
    return ended


@contextmanager
def job_progress(what: str) -> Iterator[Callable[[Job], None]]:
    """A function that shows each change of a job."""
    if sys.stderr.isatty():
        with _bars() as progress:
            bar = progress.add_task(what, total=1.0)
            yield lambda job: progress.update(bar, completed=job.progress, description=_doing(what, job))
        return
    told = ""

    def tell(job: Job) -> None:
        nonlocal told
        doing = _doing(what, job)
        if doing != told:
            told = doing
            say(doing)

    yield tell


@contextmanager
def upload_progress(what: str) -> Iterator[Callable[[float], None]]:
    """A function that shows the share that was sent; only on a terminal, and only once something was."""
    if not sys.stderr.isatty():
        yield lambda _share: None
        return
    with _bars() as progress:
        bar = progress.add_task(what, total=1.0, visible=False)
        yield lambda share: progress.update(bar, completed=share, visible=True)


def _bars() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _doing(what: str, job: Job) -> str:
    return f"{what}: {job.step or job.state}"
