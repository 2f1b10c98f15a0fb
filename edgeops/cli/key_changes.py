"""`edgeops key make|trust|revoke|rotate|renew|sign|submit|begin-again`: who may sign for the fleet.

Each but `make` makes a change, signs it with the keys at hand and publishes it; where more people must sign, it ends as
a file. Nothing private goes over the network.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeops.api.client import Client
from edgeops.cli import completion
from edgeops.cli.connection import Data, Token, Url, connect
from edgeops.cli.live import confirm, say
from edgeops.cli.options import AsJson, Keys
from edgeops.cli.output import print_json, printable
from edgeops.digest import digest_bytes
from edgeops.local.endpoints import default_data, keys_folder

if TYPE_CHECKING:
    from edgeops.local.ceremony import Published, Waiting
    from edgeops.trust.change import Change
    from edgeops.trust.draft import Draft

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write the change into a file for others, and do not publish it."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; needed where nobody can answer.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A change that somebody made.")]

_Threshold = Annotated[int | None, typer.Option(min=1, help="So many keys of the role must sign.  [default: as now]")]
_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where the key shall lie; one folder is one person's.")]


def make(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="root or targets.")],
    folder: _Folder,
    as_json: AsJson = False,
) -> None:
    """Make a key to hold; its public half is printed, and lies in DIR/ROLE.pub to be sent to whoever trusts it."""
    from edgeops.local import ceremony  # noqa: PLC0415 - it loads tuf, which other commands do not need

    public = ceremony.make_key(folder, role)
    if as_json:
        print_json({"role": role, "public_hex": public.hex})
        return
    print(public.hex)
    say(f"nobody trusts it yet: edgeops key trust {role} {folder / role}.pub")


def trust(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="root or targets.")],
    publics: Annotated[
        list[str] | None, typer.Argument(metavar="PUBLIC", help="A .pub file, or its 64 hex characters.")
    ] = None,
    *,
    threshold: _Threshold = None,
    replaces: Annotated[
        str | None,
        typer.Option(
            "--replaces",
            metavar="KEY",
            autocompletion=completion.keys,
            help="Id of a key that signs no more from then on.",
        ),
    ] = None,
    out: Out = None,
    keys: Keys = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let more keys sign for root or targets, and say how many of them must."""
    from edgeops.local import ceremony  # noqa: PLC0415 - it loads tuf, which other commands do not need

    def make_change(_client: Client, draft: "Draft") -> None:
        draft.trust(role, [ceremony.read_public(one) for one in publics or ()], threshold=threshold, replaces=replaces)

    change(make_change, name=f"trust-{role}", out=out, keys=keys, server=(url, token, data), as_json=as_json)


def revoke(
    key_id: Annotated[
        str,
        typer.Argument(
            metavar="KEY", autocompletion=completion.keys, help="Its id, as `key list` shows it, or its beginning."
        ),
    ],
    *,
    threshold: _Threshold = None,
    out: Out = None,
    keys: Keys = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let a key of root or targets sign no more; what it signed alone is refused from then on."""

    def make_change(_client: Client, draft: "Draft") -> None:
        draft.revoke(key_id, threshold=threshold)

    change(make_change, name=f"revoke-{key_id[:8]}", out=out, keys=keys, server=(url, token, data), as_json=as_json)


def rotate(
    roles: Annotated[
        list[str], typer.Argument(metavar="ROLE...", help="root, targets, snapshot, timestamp, fleet; several at once.")
    ],
    *,
    out: Out = None,
    keys: Keys = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Replace keys by new ones: your own of root or targets, or the server's."""
    from edgeops.local import ceremony  # noqa: PLC0415 - it loads tuf, which other commands do not need

    def make_change(client: Client, draft: "Draft") -> None:
        ceremony.rotate(client, draft, roles, keys=_folder(keys, data))

    change(
        make_change, name=f"rotate-{'-'.join(roles)}", out=out, keys=keys, server=(url, token, data), as_json=as_json
    )


def renew(
    roles: Annotated[
        list[str] | None, typer.Argument(metavar="[ROLE...]", help="root, targets.  [default: both]")
    ] = None,
    *,
    out: Out = None,
    keys: Keys = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Begin a new life of what root and targets signed, and change nothing; also after it has ended."""

    def make_change(_client: Client, draft: "Draft") -> None:
        draft.renew(roles or ("root", "targets"))

    change(make_change, name="renew", out=out, keys=keys, server=(url, token, data), as_json=as_json)


def sign(file: File, *, keys: Keys = None, yes: Yes = False, data: Data = None, as_json: AsJson = False) -> None:
    """Sign a change that somebody else made, after it was checked and shown; needs no server."""
    sign_file(file, keys=_folder(keys, data), yes=yes, as_json=as_json)


def submit(file: File, *, url: Url = None, token: Token = None, data: Data = None, as_json: AsJson = False) -> None:
    """Have the server publish a change that enough people signed; harmless to repeat."""
    from edgeops.local import ceremony  # noqa: PLC0415 - it loads tuf, which other commands do not need

    with connect(url, token, data) as client:
        said = ceremony.submit_file(client, file)
    if as_json:
        print_json(said)
        return
    for path in said.unlisted:
        print(path)
    say("published" if said.published else "nothing to do: it was published before")


def begin_again(folder: _Folder, *, yes: Yes = False, data: Data = None, as_json: AsJson = False) -> None:
    """Trust new root and targets keys although the old ones are lost; on the server, and then at every device."""
    from edgeops.local import signing  # noqa: PLC0415 - it loads tuf and numpy, which other commands do not need

    if not yes:
        confirm("No device will install anything until somebody told it the new root there. Go on?")
    root = signing.begin_again(data or default_data(), folder, datetime.now(UTC))
    fingerprint = digest_bytes(root)
    if as_json:
        print_json({"root": str(folder / "root.json"), "fingerprint": fingerprint})
        return
    print(fingerprint)
    say(
        f"take {folder / 'root.json'} to every device, and there, with its agent stopped: "
        f"edgeops-agent repin root.json --fingerprint {fingerprint}"
    )


def sign_file(
    file: Path, *, keys: Path, yes: bool, as_json: bool, models_only: bool = False, artifacts: tuple[Path, ...] = ()
) -> None:
    """Show a change, ask, and sign it; `models_only` refuses what does more than to list models."""
    from edgeops.local import ceremony  # noqa: PLC0415 - it loads tuf, which other commands do not need

    asked = ceremony.read_file(file, keys=keys, now=datetime.now(UTC))
    if models_only:
        ceremony.hold_against(asked, artifacts)
    _show(asked)
    if not yes:
        confirm("Sign this?")
    tell(ceremony.sign_file(file, keys=keys, now=datetime.now(UTC)), as_json=as_json, shown=True)


def tell(outcome: "Published | Waiting", *, as_json: bool, shown: bool = False) -> None:
    """What came of a change."""
    from edgeops.local.ceremony import Published  # noqa: PLC0415 - as above
    from edgeops.trust.review import describe  # noqa: PLC0415 - as above

    if as_json:
        answer: dict[str, Any] = {"changes": list(describe(outcome.change))}
        if isinstance(outcome, Published):
            print_json({**answer, "published": True, "unlisted": list(outcome.unlisted)})
        else:
            missing = {one.what: one.missing for one in outcome.lacking}
            print_json({**answer, "published": False, "file": str(outcome.file), "missing": missing})
        return
    if not shown:
        _show(outcome.change)
    if isinstance(outcome, Published):
        for path in outcome.unlisted:
            print(path)
        say("published")
        for role in outcome.promoted:
            say(f"the {role} key before lies in {role}.old.pem and signs nothing any more; destroy it")
        return
    print(outcome.file)
    if outcome.lacking:
        lacking = ", ".join(f"{one.what}: {one.missing} more of {len(one.unsigned)}" for one in outcome.lacking)
        say(f"more must sign ({lacking}): edgeops key sign {outcome.file} --keys DIR")
    else:
        say(f"signed by enough; where the server can be reached: edgeops key submit {outcome.file}")


def change(
    make_change: Callable[[Client, "Draft"], None],
    *,
    name: str,
    out: Path | None,
    keys: Path | None,
    server: tuple[Any, Any, Any],
    as_json: bool,
) -> "Published | Waiting":
    """Make a change, sign it, publish it or write it down, and tell what came of it."""
    from edgeops.local import ceremony  # noqa: PLC0415 - as above

    folder = _folder(keys, server[2])
    with connect(*server) as client:
        draft = ceremony.begin(client, folder, datetime.now(UTC))
        make_change(client, draft)
        outcome = ceremony.complete(client, draft.finish(), keys=folder, out=out, name=name, now=datetime.now(UTC))
    tell(outcome, as_json=as_json)
    return outcome


def _show(shown: "Change") -> None:
    from edgeops.trust.review import describe  # noqa: PLC0415 - as above

    for line in describe(shown):
        say(printable(line))


def _folder(keys: Path | None, data: Path | None) -> Path:
    return keys or keys_folder(data or default_data())
