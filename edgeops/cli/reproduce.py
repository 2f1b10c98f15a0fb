"""`edgeops reproduce`: train a version again, and say whether it is the same."""

import msgspec
import typer

from edgeops.api.client import Client
from edgeops.cli.connection import connected
from edgeops.cli.live import follow
from edgeops.cli.options import AsJson, Reference, Timeout
from edgeops.cli.output import print_json, print_table, short_digest
from edgeops.exits import Exit
from edgeops.learning.reproduction import Reproduction


@connected
def reproduce(client: Client, model: Reference, *, timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Train a version again from what its run says, compare the files, and name the cause if they differ; exit 1 then.

    No version comes of it. Libraries, machine and code are those of today.
    """
    job = client.reproduce(model.model, model.version)
    job = follow(client, job, what=f"reproduce {model}", timeout=timeout)
    found = msgspec.convert(job.result, Reproduction)
    if as_json:
        print_json(job)
    else:
        print_table(
            ("variant", "digest then", "digest now", "what differs"),
            [
                (one.variant, short_digest(one.before), short_digest(one.after), ", ".join(one.differs) or None)
                for one in found.variants
            ],
        )
        print(f"{model}: {found.words}")
    if not found.is_same:
        raise typer.Exit(Exit.FAILED)
