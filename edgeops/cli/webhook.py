"""`edgeops webhook`: who else is told what happens."""

from itertools import islice
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Limit
from edgeops.cli.output import print_json, print_table

app = typer.Typer(help="Who else is told what happens.", no_args_is_help=True)

WebhookId = Annotated[
    str,
    typer.Argument(metavar="WEBHOOK", autocompletion=completion.webhooks, help="Its id, as `webhook list` shows it."),
]


@app.command()
@connected
def add(
    client: Client,
    receiver: Annotated[
        str,
        typer.Argument(metavar="URL", help="Where; a host in webhooks.allow of the server's data folder."),
    ],
    *,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only such events: rollout.changed, or rollout. for all; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell a receiver what happens from now on; prints the public key that it checks signatures with."""
    added = client.webhooks.add(receiver, kind or ())
    if as_json:
        print_json(added)
        return
    print(added.public_key)
    say(f"webhook {added.id}; try it: edgeops webhook test {added.id}")


@app.command("list")
@connected
def list_(client: Client, as_json: AsJson = False) -> None:
    """All receivers with their public keys."""
    found = list(client.webhooks.list())
    if as_json:
        print_json(found)
        return
    print_table(
        ("webhook", "url", "events", "public key", "created", "by"),
        [
            (one.id, one.url, ", ".join(one.kinds) or "all", one.public_key, one.created_at, one.created_by)
            for one in found
        ],
        empty="nobody else is told",
    )


@app.command("test")
@connected
def try_(client: Client, webhook: WebhookId, as_json: AsJson = False) -> None:
    """Send a message that says nothing; `webhook deliveries` tells what came of it."""
    sent = client.webhooks.test(webhook)
    if as_json:
        print_json(sent)
    else:
        print(sent.id)


@app.command()
@connected
def deliveries(client: Client, webhook: WebhookId, *, limit: Limit = 100, as_json: AsJson = False) -> None:
    """What went to a receiver, or is on its way, newest first."""
    found = list(islice(client.webhooks.deliveries(webhook), limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("delivery", "event", "state", "attempts>", "next", "detail"),
        [
            (
                one.id,
                one.kind,
                one.state,
                one.attempts,
                one.next_at if one.state == "waiting" else None,
                one.detail or None,
            )
            for one in found
        ],
        empty="nothing was sent",
    )


@app.command()
@connected
def remove(client: Client, webhook: WebhookId) -> None:
    """Tell a receiver nothing more, also not what was on its way."""
    client.webhooks.remove(webhook)
    say(f"webhook {webhook} is removed")
