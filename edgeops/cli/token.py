"""`edgeops token`: who may use the API. Tokens that enrol devices are `edgeops devices token`."""

from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.roles import Role
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson
from edgeops.cli.output import print_json, print_table

app = typer.Typer(help="Bearer tokens of the API.", no_args_is_help=True)


@app.command()
@connected
def create(
    client: Client,
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    *,
    role: Annotated[Role, typer.Option(help="What each may do: docs/api.md.")] = Role.VIEWER,
    as_json: AsJson = False,
) -> None:
    """Make a token; it is shown this once."""
    created = client.create_token(name, role)
    if as_json:
        print_json(created)
        return
    print(created.token)
    say(f"token {created.id} of {created.name} ({created.role}); it is not shown again")


@app.command("list")
@connected
def list_(client: Client, as_json: AsJson = False) -> None:
    """All tokens, without their secrets."""
    tokens = list(client.tokens())
    if as_json:
        print_json(tokens)
        return
    print_table(
        ("token", "name", "role", "created", "last used", "revoked"),
        [(one.id, one.name, one.role, one.created_at, one.last_used_at, one.revoked_at) for one in tokens],
    )


@app.command()
@connected
def revoke(
    client: Client,
    token_id: Annotated[
        str, typer.Argument(metavar="TOKEN", autocompletion=completion.tokens, help="Its id, as `token list` shows it.")
    ],
) -> None:
    """From now on the token opens nothing."""
    client.revoke_token(token_id)
    say(f"token {token_id} is revoked")
