"""`edgeops recipe`: how models can be learnt on this server."""

import typer

from edgeops.api.client import Client
from edgeops.cli.connection import connected
from edgeops.cli.options import AsJson
from edgeops.cli.output import print_json, print_table, short_digest

app = typer.Typer(help="How models are learnt.", no_args_is_help=True)


@app.command("list")
@connected
def list_(client: Client, as_json: AsJson = False) -> None:
    """All recipes with the options that each takes: those of EdgeOps, and files of the server's owner."""
    recipes = list(client.recipes())
    if as_json:
        print_json(recipes)
        return
    print_table(
        ("recipe", "file", "learns", "options", "about"),
        [
            (
                one.name,
                "" if one.digest is None else short_digest(one.digest),
                ", ".join(one.tasks),
                ", ".join(one.options),
                one.flaw or one.about,
            )
            for one in recipes
        ],
        empty="no recipes",
    )
