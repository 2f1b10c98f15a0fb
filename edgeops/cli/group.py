"""`edgeops group`: devices under a name, for selectors (`group=canaries`)."""

from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson
from edgeops.cli.output import abridged, print_facts, print_json, print_table

app = typer.Typer(help="Devices under names.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="GROUP", autocompletion=completion.groups, help="For example canaries.")]


@app.command("set")
@connected
def set_(
    client: Client,
    name: Name,
    selector: Annotated[
        str | None, typer.Argument(help="Who is in it, as in `label.site=plant-1 and memory>=512MiB`.")
    ] = None,
    *,
    devices: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.listed_devices, help="A fixed list instead: ids of devices, with commas."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a group, or make one of this name another."""
    if (selector is None) == (devices is None):
        raise typer.BadParameter("give a selector or --devices, not both")
    ids = [] if devices is None else [one.strip() for one in devices.split(",")]
    group = client.groups.put(name, selector=selector, device_ids=ids)
    if as_json:
        print_json(group)
        return
    print(f"{group.name}: {group.selector or abridged(group.device_ids)}")
    say(f"who is in it now: edgeops group show {group.name}")


@app.command("list")
@connected
def list_(client: Client, as_json: AsJson = False) -> None:
    """All groups and whom they mean."""
    groups = list(client.groups.every())
    if as_json:
        print_json(groups)
        return
    print_table(
        ("group", "means", "changed", "by"),
        [(one.name, one.selector or abridged(one.device_ids), one.updated_at, one.updated_by) for one in groups],
        empty="no groups; make one: edgeops group set NAME SELECTOR",
    )


@app.command()
@connected
def show(client: Client, name: Name, as_json: AsJson = False) -> None:
    """One group and the devices that are in it now."""
    group = client.groups.get(name)
    if as_json:
        print_json(group)
        return
    print_facts(
        {
            "group": group.name,
            "means": group.selector or "a list of devices",
            "devices": abridged(group.members or ()) or "none now",
            "changed": group.updated_at,
            "by": group.updated_by,
        }
    )


@app.command()
@connected
def remove(client: Client, name: Name) -> None:
    """Take a group away; one that a rollout names stays until that has ended."""
    client.groups.remove(name)
    say(f"group {name} is gone")
