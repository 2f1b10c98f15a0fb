"""`edgeops job`: work that the server does in the background."""

from itertools import islice
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.options import AsJson, Limit
from edgeops.cli.output import print_facts, print_json, print_table

app = typer.Typer(help="Imports, trainings, publications.", no_args_is_help=True)


@app.command("list")
@connected
def list_(client: Client, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Jobs, newest first."""
    jobs = list(islice(client.jobs(), limit))
    if as_json:
        print_json(jobs)
        return
    print_table(
        ("job", "kind", "state", "step", "created", "by"),
        [(one.id, one.kind, one.state, one.error or one.step, one.created_at, one.created_by) for one in jobs],
        empty="no jobs",
    )


@app.command()
@connected
def show(
    client: Client, job: Annotated[str, typer.Argument(autocompletion=completion.jobs)], as_json: AsJson = False
) -> None:
    """One job: how far it is, or how it ended."""
    found = client.job(job)
    if as_json:
        print_json(found)
        return
    print_facts(
        {
            "job": found.id,
            "kind": found.kind,
            "state": found.state,
            "step": found.step or None,
            "progress": f"{found.progress:.0%}",
            "error": found.error,
            "created": found.created_at,
            "started": found.started_at,
            "finished": found.finished_at,
            **{f"result {name}": value for name, value in (found.result or {}).items()},
        }
    )
