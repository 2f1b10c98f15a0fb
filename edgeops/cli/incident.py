"""`edgeops incident`: devices that run something else than they shall."""

from itertools import islice
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.options import AsJson, Limit, OfDevice
from edgeops.cli.output import print_json, print_table, short_digest

app = typer.Typer(help="Devices that run something else than they shall.", no_args_is_help=True)


@app.command("list")
@connected
def list_(
    client: Client,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are closed.")] = False,
    device: OfDevice = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """What devices run that they should not, the latest first; open ones, unless all are asked for."""
    found = list(islice(client.incidents(is_open=None if everything else True, device_id=device), limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("incident", "device", "deployment", "cause", "runs", "should run", "since", "closed", "by"),
        [
            (
                one.id,
                one.device_id,
                one.deployment,
                one.cause,
                short_digest(one.runs) or "no model",
                short_digest(one.should) or "nothing",
                one.opened_at,
                one.closed_at,
                (one.closed_by or "itself") if one.closed_at else None,
            )
            for one in found
        ],
        empty="every device runs what it shall",
    )


@app.command()
@connected
def close(
    client: Client,
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", autocompletion=completion.incidents)],
    *,
    remark: Annotated[str, typer.Option(metavar="TEXT", help="Kept with it and in the audit log.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say that somebody looked; the same is not told again before the device was right once more."""
    closed = client.close_incident(incident, remark=remark)
    if as_json:
        print_json(closed)
        return
    print(f"{closed.id} is closed")
