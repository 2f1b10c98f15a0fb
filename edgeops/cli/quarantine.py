"""`edgeops quarantine`: what was not believed, and who tried what."""

from collections import deque
from itertools import islice

import typer

from edgeops.api.client import Client
from edgeops.cli.connection import connected
from edgeops.cli.options import AsJson, Limit, OfDevice
from edgeops.cli.output import print_json, print_table, size

app = typer.Typer(help="What was not believed, and who tried what.", no_args_is_help=True)


@app.command("list")
@connected
def list_(client: Client, *, device: OfDevice = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Messages and records that were put aside, newest first; nothing else was held up by them."""
    found = list(islice(client.quarantine(device), limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("at", "device", "reason", "topic", "bytes>", "detail"),
        [
            (one.at, one.device_id or None, one.reason, one.topic or None, size(one.payload_bytes), one.detail)
            for one in found
        ],
        empty="nothing was put aside",
    )


@app.command()
@connected
def attempts(client: Client, *, device: OfDevice = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """What devices tried and were refused, oldest first: foreign topics, floods, messages put aside, two of one name.

    Each is told at most once a minute, with how often. `broker` stands for whoever had no account.
    """
    found = list(deque(client.attempts(device), maxlen=limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("at", "device", "what", "how often>", "detail"),
        [
            (
                one.at,
                one.subject or None,
                one.data.get("attempt") or one.data.get("reason") or one.kind,
                one.data.get("count") or one.data.get("messages"),
                _detail(one.data),
            )
            for one in found
        ],
        empty="nobody tried anything",
    )


def _detail(data: dict[str, object]) -> object:
    if data.get("cut_off_until"):
        return f"flood; cut off until {data['cut_off_until']}"
    return data.get("detail")
