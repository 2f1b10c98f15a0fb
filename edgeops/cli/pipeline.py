"""`edgeops pipeline`: from files to published models, as `edgeops.toml` declares it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Job
from edgeops.cli.connection import connected
from edgeops.cli.live import follow, say
from edgeops.cli.options import AsJson, Timeout
from edgeops.cli.output import print_json, print_table
from edgeops.exits import GateRefusedError
from edgeops.pipeline.document import FILE_NAME, read_pipeline
from edgeops.pipeline.running import Course
from edgeops.pipeline.steps import Stand, Standing, steps_of

app = typer.Typer(help="Files to published models, as edgeops.toml declares it.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="[FILE]", help="The pipeline file.")]


@app.command()
def check(file: File = Path(FILE_NAME), as_json: AsJson = False) -> None:
    """Whether the file can be used; asks no server."""
    steps = [str(step) for step in steps_of(read_pipeline(file))]
    if as_json:
        print_json({"steps": steps})
        return
    print("\n".join(steps))
    say(f"{file} can be used; see what is to be done: edgeops pipeline plan")


@app.command()
@connected
def plan(client: Client, file: File = Path(FILE_NAME), as_json: AsJson = False) -> None:
    """How each step stands and what is to be done; changes nothing."""
    stands = Course(client, read_pipeline(file), file.parent).look()
    _print(stands, as_json=as_json)
    open_ = [one for one in stands if one.standing in (Standing.TO_DO, Standing.RUNNING)]
    if open_ and not as_json:
        say(f"{len(open_)} of {len(stands)} steps are to be done: edgeops pipeline run")


@app.command()
@connected
def run(client: Client, file: File = Path(FILE_NAME), *, timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Do every step that is not done; begun again after an interruption, it goes on where it was.

    What a promotion gate refuses, or keeps no budget, is told at the end; exit 8 then.
    """

    def see_through(job: Job, what: str) -> Job:
        return follow(client, job, what=what, timeout=timeout)

    stands = list(Course(client, read_pipeline(file), file.parent).run(see_through))
    _print(stands, as_json=as_json)
    refused = [str(one.step) for one in stands if one.standing is Standing.REFUSED]
    if refused:
        raise GateRefusedError(f"refused by the promotion gate, or beyond the budgets: {', '.join(refused)}")


def _print(stands: Sequence[Stand], *, as_json: bool) -> None:
    if as_json:
        told = [
            {
                "kind": one.step.kind,
                "name": one.step.name,
                "standing": one.standing,
                "detail": one.detail,
                "job": None if one.job is None else one.job.id,
            }
            for one in stands
        ]
        print_json({"steps": told})
        return
    print_table(("step", "state", "what"), [(str(one.step), one.standing, one.detail) for one in stands])
