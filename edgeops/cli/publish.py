"""`edgeops publish`: sign a version and list it, so that devices may run it."""

from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.artifact.manifest import Variant
from edgeops.cli.connection import connected
from edgeops.cli.live import follow, say
from edgeops.cli.model import print_version
from edgeops.cli.options import AsJson, Reference, Timeout
from edgeops.cli.output import print_json


@connected
def publish(
    client: Client,
    model: Reference,
    *,
    variant: Annotated[Variant | None, typer.Option(help="Only this one.  [default: all]")] = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Sign the artifacts of a version and list them in the fleet's metadata."""
    job = client.publish(model.model, model.version, variant=variant)
    job = follow(client, job, what=f"publish {model}", timeout=timeout)
    if as_json:
        print_json(job)
        return
    version = client.version(model.model, model.version)
    print_version(version)
    for warning in (job.result or {}).get("warnings", ()):
        say(f"warning: {warning}")
    if any(one.awaiting_signature_at for one in version.artifacts):
        say(f"the targets key is not on the server; sign it: edgeops model sign {model} --keys DIR")
        return
    say(f"next: edgeops rollout create {model} --deployment NAME --to all --watch")
