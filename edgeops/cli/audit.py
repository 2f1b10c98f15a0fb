"""`edgeops audit`: who decided what, and whether that list is whole."""

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from edgeops.api.client import Client
from edgeops.api.shapes import audit_check
from edgeops.cli.connection import Data, Token, Url, connect, connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Limit
from edgeops.cli.output import print_json, print_table
from edgeops.errors import InputError
from edgeops.exits import Exit
from edgeops.trust.trail import Entry, check_trail

app = typer.Typer(help="Who decided what: the audit trail.", no_args_is_help=True)


@app.command("list")
@connected
def list_(client: Client, *, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Decisions of people and policies, newest first."""
    found = list(islice(client.audit.entries(), limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("entry>", "at", "who", "what", "of what", "remark"),
        [(one.id, one.at, one.actor, one.action, one.subject, one.remark or None) for one in found],
        empty="nobody decided anything",
    )


@app.command()
@connected
def export(client: Client) -> None:
    """The whole trail to standard output, oldest first, one JSON document a line."""
    for part in client.audit.export():
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


@app.command()
def verify(
    *,
    export_file: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Check this export, here, instead of asking.")
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With --export: a kept root.json and timestamp.json, which name the head that the export must hold.",
        ),
    ] = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Whether the chain holds; exit code 1 when it does not.

    Without --export the server checks its own trail. With it nobody is asked: a device keeps `root.json` and
    `timestamp.json` in its state folder, and a trail that was cut or written anew does not lead to what they name.
    """
    if export_file is None:
        if metadata is not None:
            raise InputError("--metadata is held against an export; name one with --export FILE")
        with connect(url, token, data) as client:
            told = client.audit.verify().model_dump(mode="json", exclude_none=True)
    else:
        told = _checked(export_file, metadata)
    if as_json:
        print_json(told)
    else:
        print(told["detail"])
        if not told.get("signed_entries"):
            say("nothing signed says how long the trail must be: a tail that was cut off would not be seen")
    if not told["sound"]:
        raise typer.Exit(Exit.FAILED)


def _checked(file: Path, metadata: Path | None) -> dict[str, object]:
    # Imports tuf, which no other command of this noun needs.
    from edgeops.trust.anchor import read_anchor  # noqa: PLC0415

    anchor, version = (None, 0) if metadata is None else read_anchor(metadata)
    told = audit_check(check_trail(_read(file), anchor), anchor).model_dump(mode="json", exclude_none=True)
    return told if anchor is None else told | {"timestamp": version}


def _read(file: Path) -> list[Entry]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{file}, line {number} is no entry of an audit trail: {error}") from error
    return entries
