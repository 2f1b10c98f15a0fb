"""Which server a command speaks to, and as whom.

The address: `--url`, `EDGEOPS_URL`, else what `edgeops up` wrote into the data folder. The token: `--token`,
`EDGEOPS_TOKEN`, else the administrator's token of that folder, which is sent to the server of that
folder only. Over HTTPS its certificate must come from the CAs in the file `EDGEOPS_CA`, else from those of that folder,
else from the system's; nothing turns the check off, but the owner of the folder gets in also when what its server shows
has ended. `connected` gives these options to every command that needs a
server.
"""

import inspect
import os
import ssl
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from edgeops.api.client import Client
from edgeops.errors import AccessError, ConfigError, UnreachableError
from edgeops.local.endpoints import VARIABLE, admin_token_file, authorities_file, default_data, read_endpoints
from edgeops.trust.transport import believing

Url = Annotated[
    str | None, typer.Option("--url", envvar="EDGEOPS_URL", help="Address of the server.", rich_help_panel="Server")
]
Token = Annotated[
    str | None, typer.Option("--token", envvar="EDGEOPS_TOKEN", help="Bearer token.", rich_help_panel="Server")
]
Data = Annotated[
    Path | None,
    typer.Option("--data", envvar=VARIABLE, help="Data folder of a server on this machine.", rich_help_panel="Server"),
]

_P = ParamSpec("_P")


def connect(url: str | None, token: str | None, data: Path | None) -> Client:
    """A client of the server that the options, or the data folder, name.

    Raises:
        UnreachableError: no server is named anywhere.
        ConfigError: the address is none.
        AccessError: a server, but no token.
    """
    folder = data or default_data()
    local = local_url(folder)
    address = url.rstrip("/") if url else local
    if address is None:
        raise UnreachableError(
            f"no server: {folder} has none; start one with `edgeops up`, or name one with --url or EDGEOPS_URL"
        )
    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"{address!r} is no address of a server; expected for example http://127.0.0.1:8470")
    if token is None and address == local:
        token = _read_admin_token(folder)
    if token is None:
        raise AccessError(
            f"no token for {address}; name one with --token or EDGEOPS_TOKEN (its administrator makes one: "
            "edgeops token create NAME --role operator)"
        )
    return Client(address, token, context=_context(folder, is_local=address == local))


def _context(folder: Path, *, is_local: bool) -> ssl.SSLContext:
    """Whom to believe over HTTPS.

    Raises:
        ConfigError: the file with CAs cannot be read.
    """
    named = os.environ.get("EDGEOPS_CA")
    if named:
        return believing(Path(named))
    own = authorities_file(folder)
    return believing(own, judges_time=not is_local) if own.exists() else believing(None)


def local_url(folder: Path) -> str | None:
    """Where the server of this data folder listens, or listened last."""
    endpoints = read_endpoints(folder)
    return None if endpoints is None else endpoints.url


def connected(command: Callable[Concatenate[Client, _P], None]) -> Callable[..., None]:
    """Give a command --url, --token and --data, and call it with a connected client first."""

    @wraps(command)
    def run(*arguments: Any, url: str | None, token: str | None, data: Path | None, **options: Any) -> None:
        with connect(url, token, data) as client:
            command(client, *arguments, **options)

    own = list(inspect.signature(command).parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in (("url", Url), ("token", Token), ("data", Data))
    ]
    # typer learns the options from here; a function has no such attribute of its own.
    setattr(run, "__signature__", inspect.Signature([*own, *common]))  # noqa: B010 - unknown to the type of a function
    return run


def _read_admin_token(folder: Path) -> str | None:
    try:
        return admin_token_file(folder).read_text().strip() or None
    except OSError:
        return None
