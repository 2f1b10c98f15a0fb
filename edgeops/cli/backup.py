"""`edgeops backup` and `edgeops restore`: what the server on this machine knows, kept and brought back."""

from pathlib import Path
from typing import Annotated

import typer

from edgeops.cli.connection import Data
from edgeops.cli.options import AsJson
from edgeops.local import backup as local
from edgeops.local.endpoints import default_data


def backup(
    place: Annotated[Path, typer.Argument(metavar="PLACE", help="A folder of backups, or a .tar file; another disk.")],
    *,
    with_online_keys: Annotated[
        bool,
        typer.Option(
            "--with-online-keys",
            help="The private keys that the server itself needs, readable; never root and targets.",
        ),
    ] = False,
    keep: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Remove all but the newest N backups of the folder.")
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Copy everything that the server on this machine knows, while it runs."""
    options = [
        *(["--with-online-keys"] if with_online_keys else []),
        *(["--keep", str(keep)] if keep is not None else []),
        *(["--json"] if as_json else []),
    ]
    raise typer.Exit(local.run("backup", place, data or default_data(), *options))


def restore(
    place: Annotated[Path, typer.Argument(metavar="PLACE", help="What `edgeops backup` wrote.")],
    *,
    data: Annotated[Path, typer.Option(metavar="DIR", help="The data folder to make; empty, or not there yet.")],
    backup_id: Annotated[
        str | None, typer.Option("--backup", metavar="ID", help="Which backup of a folder.  [default: the newest]")
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--keys",
            metavar="DIR",
            help="Where root.pem and targets.pem lie: the server gets new keys, signed with them. Several persons' "
            "keys: several times.",
        ),
    ] = None,
    root_version: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --keys, where the root changed since the backup, also by a restore: the root's version that "
            "`edgeops-agent status` says on a device.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a data folder out of a backup; every file is verified, and no device changes its model because of it."""
    options = [
        *(["--backup", backup_id] if backup_id is not None else []),
        *(word for folder in keys or () for word in ("--keys", str(folder))),
        *(["--root-version", str(root_version)] if root_version is not None else []),
        *(["--json"] if as_json else []),
    ]
    raise typer.Exit(local.run("restore", place, data, *options))
