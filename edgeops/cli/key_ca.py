"""`edgeops key ca`: the fleet's certificate authorities, which devices believe when a server shows its certificate."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from edgeops import limits
from edgeops.api.client import Client
from edgeops.cli import completion, key_changes
from edgeops.cli.connection import Data, Token, Url, connected
from edgeops.cli.key_changes import Out
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Keys
from edgeops.cli.output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from edgeops.trust.draft import Draft

app = typer.Typer(help="Certificate authorities (CAs) of the fleet.", no_args_is_help=True)


@app.command()
@connected
def show(
    client: Client,
    pem: Annotated[bool, typer.Option("--pem", help="Print the certificates, for EDGEOPS_CA elsewhere.")] = False,
    as_json: AsJson = False,
) -> None:
    """The CAs by their fingerprints, and the certificate that the server shows."""
    found = client.authorities()
    if pem:
        print("".join(one.pem for one in found.authorities), end="")
        return
    if as_json:
        print_json(found)
        return
    print_table(
        ("fingerprint", "begins", "ends", "signs", "private half"),
        [
            (
                one.fingerprint,
                one.begins_at,
                one.ends_at,
                "now" if one.signs else None,
                "on the server" if one.on_server else "elsewhere",
            )
            for one in found.authorities
        ],
        empty="no CA; make one: edgeops key ca renew",
    )
    if found.certificate is not None:
        print_facts({"server's certificate": ", ".join(found.certificate.names), "ends": found.certificate.ends_at})


@app.command()
def renew(
    *,
    out: Out = None,
    keys: Keys = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List a new CA beside the present one; devices learn it before the server shows a certificate of it."""
    from edgeops.local import ca  # noqa: PLC0415 - it loads tuf, which other commands do not need

    def change(client: Client, draft: "Draft") -> None:
        ca.renew(client, draft)

    key_changes.change(change, name="renew-ca", out=out, keys=keys, server=(url, token, data), as_json=as_json)
    signs_on = datetime.now(UTC) + limits.CA_OVERLAP
    say(
        "once it is published, devices learn it within a day of contact; the server shows a certificate of it from "
        f"{signs_on:%Y-%m-%d} on (before, if no other CA is left that has not ended), or now: edgeops key ca switch"
    )


@app.command()
@connected
def switch(client: Client, as_json: AsJson = False) -> None:
    """Let the newest CA sign the server's certificate now; devices that do not know it yet ask for it and go on."""
    signing = client.switch_authority()
    if as_json:
        print_json(signing)
        return
    print(signing.fingerprint)
    say("shown within seconds; the CA before goes with: edgeops key ca retire FINGERPRINT")


@app.command()
def retire(
    fingerprint: Annotated[
        str,
        typer.Argument(
            metavar="FINGERPRINT",
            autocompletion=completion.authorities,
            help="As `key ca show` shows it, or its begin.",
        ),
    ],
    *,
    out: Out = None,
    keys: Keys = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take a CA off the list; its key is deleted, and devices forget it within a day of contact."""
    from edgeops.local import ca  # noqa: PLC0415 - it loads tuf, which other commands do not need

    def change(client: Client, draft: "Draft") -> None:
        ca.retire(client, draft, fingerprint)

    key_changes.change(change, name="retire-ca", out=out, keys=keys, server=(url, token, data), as_json=as_json)
