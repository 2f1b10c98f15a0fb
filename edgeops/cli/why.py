"""`edgeops why`: what holds a device, deployment by deployment."""

from edgeops.api.client import Client
from edgeops.cli.connection import connected
from edgeops.cli.options import AsJson, DeviceId
from edgeops.cli.output import print_json, print_table


@connected
def why(
    client: Client,
    device: DeviceId,
    as_json: AsJson = False,
) -> None:
    """Why a device does not turn to another model: gate, pin, window, incompatibility, silence, or nothing."""
    found = client.why(device)
    if as_json:
        print_json(found)
        return
    print_table(
        ("deployment", "cause", "why", "until"),
        [
            (one.deployment if number == 0 else "", each.cause, each.words, each.until)
            for one in found.deployments
            for number, each in enumerate(one.hindrances)
        ],
        empty=f"{device} reports no deployment, and nobody wants one of it",
    )
