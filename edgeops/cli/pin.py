"""`edgeops devices pin | unpin | pins | label`: what a person decides about single devices before any rollout does."""

from datetime import datetime
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, DeviceId, parse_moment
from edgeops.cli.output import print_json, print_table, printable, short_digest
from edgeops.cli.reference import parse_model_version

Deployment = Annotated[
    str | None,
    typer.Option(autocompletion=completion.deployments, help="Of this deployment alone; else of all of the device."),
]


@connected
def pin(
    client: Client,
    device: DeviceId,
    *,
    deployment: Deployment = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST|MODEL@VERSION",
            autocompletion=completion.versions,
            help="The only model it may be offered.  [default: what it runs]",
        ),
    ] = None,
    variant: Annotated[str, typer.Option(help="Of MODEL@VERSION.")] = "int8",
    reason: Annotated[str, typer.Option(help="For whoever asks why.")] = "",
    until: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="MOMENT", help="Ends by itself then.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep a device on the model it has: no rollout offers it another."""
    digest = None if to is None else _digest(client, to, variant)
    pinned = client.pins.put(device, deployment=deployment, digest=digest, reason=reason, until=until)
    if as_json:
        print_json(pinned)
        return
    kept = "stays on what it runs" if digest is None else f"is offered nothing but {short_digest(digest)}"
    say(f"{device} {kept}; let it go: edgeops devices unpin {device}")
    if pinned.warning:
        say(f"warning: {printable(pinned.warning)}")


@connected
def unpin(client: Client, device: DeviceId, *, deployment: Deployment = None) -> None:
    """Let rollouts have a device again."""
    client.pins.remove(device, deployment=deployment)
    say(f"{device} is pinned no longer")


@connected
def pins(client: Client, as_json: AsJson = False) -> None:
    """Which devices are pinned, by whom and why."""
    found = list(client.pins.every())
    if as_json:
        print_json(found)
        return
    print_table(
        ("device", "deployment", "to", "until", "by", "reason"),
        [
            (
                one.device_id,
                one.deployment or "all",
                short_digest(one.digest) or "what it runs",
                one.until,
                one.pinned_by,
                one.reason or None,
            )
            for one in found
        ],
        empty="no pins",
    )


@connected
def label(
    client: Client,
    device: DeviceId,
    labels: Annotated[list[str], typer.Argument(metavar="KEY=VALUE|KEY-", help="KEY- takes a label away.")],
    as_json: AsJson = False,
) -> None:
    """Give a device labels, by which selectors find it: `label.site=plant-1`."""
    wanted: dict[str, str] = {}
    without: list[str] = []
    for text in labels:
        key, equals, value = text.partition("=")
        if equals and key:
            wanted[key] = value
        elif text.endswith("-") and len(text) > 1:
            without.append(text[:-1])
        else:
            raise typer.BadParameter(f"{text!r} is no label; write KEY=VALUE, or KEY- to take it away")
    labelled = client.label_device(device, wanted, without=without)
    if as_json:
        print_json(labelled)
        return
    print(", ".join(f"{key}={value}" for key, value in sorted(labelled.labels.items())) or "no labels")


def _digest(client: Client, to: str, variant: str) -> str:
    """The artifact that a person names, by digest."""
    if to.startswith("sha256:"):
        return to
    reference = parse_model_version(to)
    version = client.version(reference.model, reference.version)
    found = next((one.digest for one in version.artifacts if one.variant == variant), None)
    if found is None:
        known = ", ".join(one.variant for one in version.artifacts)
        raise typer.BadParameter(f"{to} has no variant {variant!r}; there are: {known}")
    return found
