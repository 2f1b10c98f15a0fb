"""`edgeops apply`: make a fleet as its file says, after showing what would change."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from edgeops.api.client import Client
from edgeops.cli.connection import connected
from edgeops.cli.live import confirm, say
from edgeops.cli.options import AsJson
from edgeops.cli.output import print_json, printable
from edgeops.errors import EdgeOpsError
from edgeops.fleet_file.applying import carry_out, present_of
from edgeops.fleet_file.document import read_document
from edgeops.fleet_file.plan import Act, Change, Present, plan
from edgeops.fleet_file.rehearsal import objections_to
from edgeops.fleet_file.source import read_source
from edgeops.written import read_written

_SIGNS = {Act.CREATE: "+", Act.CHANGE: "~", Act.REMOVE: "-", Act.DIFFERS: "!"}

#: What a thing says that says nothing.
_NOTHING = frozenset({"", "null", "[]"})


@connected
def apply(
    client: Client,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="For example fleet.yaml.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where nobody can answer.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove groups and pins that the file does not name, where it names some.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make groups, pins, policies and rollouts as a file says; a second time there is nothing to change."""
    source = read_source(read_written(file), name=str(file))
    document = read_document(source)
    present = present_of(client, document)
    changes = plan(document, present, prune=prune)
    deeds = [change for change in changes if change.act is not Act.DIFFERS]
    if not as_json:
        for change in changes:
            print("\n".join(_lines(change)))
    objections = [*present.missing, *objections_to(client, document, deeds)]
    if objections:
        raise source.refusal(objections)
    applied = bool(deeds) and not dry_run
    if applied:
        if not yes:
            confirm(f"make {len(deeds)} changes?")
        _carry_out_all(client, deeds, present)
    if as_json:
        print_json({"changes": [msgspec.to_builtins(change) for change in changes], "applied": applied})
    elif not changes:
        say("nothing to change: the fleet is as the file says")
    elif not deeds:
        say("nothing to change: what differs is not changed by a file")


def _carry_out_all(client: Client, deeds: Sequence[Change], present: Present) -> None:
    """One after the other; where one is refused after all, say first what was made before it and what was not."""
    for number, change in enumerate(deeds):
        try:
            said = carry_out(client, change, present.editions)
        except EdgeOpsError:
            rest = ", ".join(f"{one.noun} {printable(one.name)}" for one in deeds[number:])
            say(f"{number} of {len(deeds)} changes are made and stay; not made: {rest}")
            say("applying the file again is safe, and makes what is missing")
            raise
        say(said)


def _lines(change: Change) -> Iterator[str]:
    """One change as a diff."""
    yield f"{_SIGNS[change.act]} {change.noun} {printable(change.name)}"
    before, after = dict(_flat(change.before or {})), dict(_flat(change.after or {}))
    for field in sorted({*before, *after}):
        if before.get(field) == after.get(field):
            continue
        if field in before and change.before is not None and before[field] not in _NOTHING:
            yield f"    - {field}: {printable(before[field])}"
        if field in after and after[field] not in _NOTHING:
            yield f"    + {field}: {printable(after[field])}"
    if change.remark:
        yield f"    {change.remark}"


def _flat(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{name}.")
        else:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            yield f"{place}{name}", text
