"""`edgeops key ca`: the fleet's certificate authorities, which devices believe when a server shows its certificate.

All of it works in the data folder on the server's machine; private keys stay where they are.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from edgeops import limits
from edgeops.cli.connection import Data
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Keys
from edgeops.cli.output import print_facts, print_json, print_table
from edgeops.local.endpoints import default_data

app = typer.Typer(help="Certificate authorities (CAs) of the fleet.", no_args_is_help=True)


@app.command()
def show(
    data: Data = None,
    pem: Annotated[bool, typer.Option("--pem", help="Print the CA certificates, for EDGEOPS_CA elsewhere.")] = False,
    as_json: AsJson = False,
) -> None:
    """The CAs by their fingerprints, and the certificate that the server shows."""
    from edgeops.local import ca, signing  # noqa: PLC0415 - it loads tuf, which other commands do not need
    from edgeops.trust.authorities import names_in  # noqa: PLC0415

    folder = data or default_data()
    situation = ca.look(folder, signing.open_repository(folder, None))
    certificate = situation.certificate
    if pem:
        print("".join(one.authority.pem for one in situation.authorities), end="")
        return
    names = names_in(certificate) if certificate is not None else ()
    if as_json:
        print_json(
            {
                "authorities": [
                    {
                        "fingerprint": one.authority.fingerprint,
                        "begins_at": _text(one.authority.begins),
                        "ends_at": _text(one.authority.ends),
                        "signs": one.signs,
                        "on_server": one.at_hand,
                    }
                    for one in situation.authorities
                ],
                "certificate": None
                if certificate is None
                else {"names": names, "ends_at": _text(certificate.not_valid_after_utc)},
            }
        )
        return
    print_table(
        ("fingerprint", "begins", "ends", "signs", "private half"),
        [
            (
                one.authority.fingerprint,
                one.authority.begins,
                one.authority.ends,
                "now" if one.signs else "-",
                "on the server" if one.at_hand else "not here",
            )
            for one in situation.authorities
        ],
        empty="no CA; make one: edgeops key ca renew",
    )
    if certificate is not None:
        print_facts({"server's certificate": ", ".join(names), "ends": certificate.not_valid_after_utc})


@app.command()
def renew(keys: Keys = None, data: Data = None, as_json: AsJson = False) -> None:
    """Make a new CA beside the present one; devices learn it before the server shows a certificate of it."""
    from edgeops.local import ca, signing  # noqa: PLC0415 - it loads tuf, which other commands do not need

    folder = data or default_data()
    now = datetime.now(UTC)
    made = ca.renew(folder, signing.open_repository(folder, keys), now)
    if as_json:
        print_json({"fingerprint": made.fingerprint, "ends_at": _text(made.ends)})
        return
    print(made.fingerprint)
    say(
        f"devices learn it within {_hours(limits.AUTHORITIES_REFRESH_AFTER)} hours of contact; the server shows a "
        f"certificate of it from {now + limits.CA_OVERLAP:%Y-%m-%d} on (before, if no other CA is left that has not "
        "ended), or now: edgeops key ca switch"
    )


@app.command()
def switch(data: Data = None, as_json: AsJson = False) -> None:
    """Let the newest CA sign the server's certificate now; devices that do not know it yet ask for it and go on."""
    from edgeops.local import ca, signing  # noqa: PLC0415 - it loads tuf, which other commands do not need

    folder = data or default_data()
    signing_now = ca.switch(folder, signing.open_repository(folder, None), datetime.now(UTC))
    if as_json:
        print_json({"fingerprint": signing_now.fingerprint})
        return
    print(signing_now.fingerprint)
    say("a running server shows the new certificate within seconds; the CA before goes with: edgeops key ca retire")


@app.command()
def retire(
    fingerprint: Annotated[str, typer.Argument(metavar="FINGERPRINT", help="As `key ca show` shows it, or its begin.")],
    *,
    keys: Keys = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take a CA off the list and delete its key; it must not be the one that signs now."""
    from edgeops.local import ca, signing  # noqa: PLC0415 - it loads tuf, which other commands do not need

    folder = data or default_data()
    gone = ca.retire(folder, signing.open_repository(folder, keys), fingerprint, datetime.now(UTC))
    if as_json:
        print_json({"fingerprint": gone.fingerprint})
        return
    print(gone.fingerprint)
    say(f"devices forget it within {_hours(limits.AUTHORITIES_REFRESH_AFTER)} hours of contact")


def _hours(span: timedelta) -> int:
    return round(span / timedelta(hours=1))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
