"""`edgeops key`: which keys the fleet trusts, where they lie, and what the server's own may sign.

`delegate`, `undelegate` and `move-offline` sign or move keys on this machine; nothing private goes over the network.
Who may sign at all is changed by the commands of `edgeops.cli.key_changes`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.shapes import Key
from edgeops.cli import completion, key_ca, key_changes
from edgeops.cli.connection import Data, Token, Url, connect, local_url
from edgeops.cli.live import confirm, say
from edgeops.cli.options import AsJson, Keys, ModelName
from edgeops.cli.output import print_facts, print_json, print_table
from edgeops.local.endpoints import default_data, keys_folder
from edgeops.trust.expiry import advice, alert_stage

if TYPE_CHECKING:
    from edgeops.local.signing import Proposal
    from edgeops.trust.draft import Draft

app = typer.Typer(help="Keys that the fleet trusts.", no_args_is_help=True)
app.add_typer(key_ca.app, name="ca")
for _name, _command in (
    ("make", key_changes.make),
    ("trust", key_changes.trust),
    ("revoke", key_changes.revoke),
    ("rotate", key_changes.rotate),
    ("renew", key_changes.renew),
    ("sign", key_changes.sign),
    ("submit", key_changes.submit),
    ("begin-again", key_changes.begin_again),
):
    app.command(_name)(_command)


@app.command("list")
def list_(url: Url = None, token: Token = None, data: Data = None, as_json: AsJson = False) -> None:
    """All keys: what each signs and until when, and where its private half lies."""
    folder = data or default_data()
    with connect(url, token, data) as client:
        keys = client.keys()
        on_server = f"{keys_folder(folder.absolute())}" if client.url == local_url(folder) else "on the server"
    private = {key.key_id: on_server if key.on_server else "offline" for key in keys}
    if as_json:
        print_json([{**key.model_dump(mode="json"), "private": private[key.key_id]} for key in keys])
        return
    print_table(
        ("role", "of", "key id", "public (Ed25519)", "expires", "private half"),
        [(key.role, _of(key, keys), key.key_id, key.public_hex, key.expires_at, private[key.key_id]) for key in keys],
    )
    # Several keys of one role end together: it is told once.
    for warning in dict.fromkeys(filter(None, map(_warning, keys))):
        say(warning)


@app.command()
def delegate(
    model: ModelName,
    *,
    floor: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Share of all inputs that must be right.  [default: 0.05 below today's model]"
        ),
    ] = None,
    class_floor: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Share of each class's inputs.  [default: 0.15 below today's model, per class]"
        ),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Today's model.  [default: the champion, else the newest published]")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.datasets,
            help="Whose evaluation rows are taken.  [default: the one it was trained on]",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the acceptance set and sign nothing.")] = False,
    yes: key_changes.Yes = False,
    out: key_changes.Out = None,
    keys: Keys = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let the server sign retrained versions of a model, within an acceptance set that every device runs first."""
    from edgeops.local import ceremony, signing  # noqa: PLC0415 - they load tuf and numpy, which others do not need

    folder = keys or keys_folder(data or default_data())
    with connect(url, token, data) as client:
        draft = ceremony.begin(client, folder, datetime.now(UTC))
        proposal = signing.propose_acceptance(
            client, model, version=version, dataset=dataset, floor=floor, class_floor=class_floor
        )
        if not as_json:
            _print_proposal(proposal)
        if dry_run:
            if as_json:
                print_json({"model": model, "delegation": None, "acceptance": _acceptance(proposal)})
            say("nothing is signed")
            return
        if not yes:
            confirm(f"Sign this, and let the server sign versions of {model} for {limits.DELEGATION_LIFE.days} days?")
        delegation = signing.delegate(client, draft, proposal)
        outcome = ceremony.complete(
            client, draft.finish(), keys=folder, out=out, name=f"delegate-{model}", now=datetime.now(UTC)
        )
    if as_json:
        published = isinstance(outcome, ceremony.Published)
        signed = {"key_id": delegation.key_id, "published": published, "expires_at": _text(delegation.expires)}
        print_json({"model": model, "delegation": signed, "acceptance": _acceptance(proposal)})
        return
    key_changes.tell(outcome, as_json=False)
    say(
        f"until {delegation.expires:%Y-%m-%d} the server may sign versions of {model} that the fleet retrained by "
        f"itself, once this is published; take it back with: edgeops key undelegate {model}"
    )


@app.command()
def undelegate(
    model: ModelName,
    *,
    out: key_changes.Out = None,
    keys: Keys = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let the server sign no more versions of a model; those it signed are listed no longer and install nowhere."""
    from edgeops.local import ceremony, signing  # noqa: PLC0415 - they load tuf and numpy, which others do not need

    def change(_client: Client, draft: "Draft") -> None:
        signing.undelegate(draft, model)

    outcome = key_changes.change(
        change, name=f"undelegate-{model}", out=out, keys=keys, server=(url, token, data), as_json=as_json
    )
    if isinstance(outcome, ceremony.Published):
        say(f"{model} has no delegation any more; devices that run what its key signed go on")


@app.command("move-offline")
def move_offline(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the keys shall lie; not on the server's disk.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Move the root and targets keys off the server, which can then sign no new model but delegated ones."""
    from edgeops.local import signing  # noqa: PLC0415 - it loads tuf and numpy, which other commands do not need

    place = data or default_data()
    moved = signing.move_offline(place, folder, datetime.now(UTC))
    if as_json:
        print_json({"moved": [str(path.absolute()) for path in moved], "server": str(keys_folder(place.absolute()))})
        return
    for path in moved:
        print(path.absolute())
    say(
        "the server goes on listing what is listed and signs no new version but of delegated models; sign others with: "
        f"edgeops model sign MODEL@VERSION --keys {folder}"
    )
    say(f"sign anything with these keys within {limits.TARGETS_LIFE.days} days, or devices stop installing")


def _warning(key: Key) -> str | None:
    """What to do about a key whose signatures end soon; None = nothing."""
    if key.expires_at is None:
        return None
    now = datetime.now(UTC)
    stage = alert_stage(key.expires_at, life=limits.SIGNED_LIFE[key.role], now=now)
    if stage is None:
        return None
    when = f"ends on {key.expires_at:%Y-%m-%d}" if stage else f"ended on {key.expires_at:%Y-%m-%d}"
    return f"what {key.role}{f' ({key.model})' if key.model else ''} signed {when}: {advice(key.role, key.model)}"


def _of(key: Key, keys: Sequence[Key]) -> str | None:
    """Whose, or when, or how many of them must sign."""
    if key.epoch is not None:
        return f"epoch {key.epoch}"
    siblings = [one for one in keys if one.role == key.role and one.model == key.model]
    return key.model if len(siblings) == 1 else f"{key.threshold} of {len(siblings)}"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _acceptance(proposal: "Proposal") -> dict[str, Any]:
    acceptance, reached = proposal.acceptance, proposal.reached
    counts = [acceptance.classes.count(place) for place in range(len(acceptance.labels))]
    return {
        "inputs": len(acceptance),
        "dataset": proposal.dataset,
        "version": proposal.version,
        "accuracy": reached.accuracy,
        "floor": acceptance.floors.overall,
        "classes": [
            {"label": label, "inputs": count, "accuracy": reached.per_class.get(label), "floor": floor}
            for label, count, floor in zip(acceptance.labels, counts, acceptance.floors.per_class, strict=True)
        ],
    }


def _print_proposal(proposal: "Proposal") -> None:
    shown = _acceptance(proposal)
    print_facts(
        {
            "acceptance set": f"{shown['inputs']} evaluation rows of {proposal.dataset}",
            "today": f"{proposal.model}@{proposal.version} gets {shown['accuracy']:.1%} of them right",
            "floor": f"{shown['floor']:.1%}",
        }
    )
    print_table(
        ("class", "inputs>", "today>", "floor>"),
        [(one["label"], one["inputs"], one["accuracy"], one["floor"]) for one in shown["classes"]],
    )
