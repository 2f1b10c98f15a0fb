"""`edgeops rollout`: bring a published version to devices, wave by wave, and watch it arrive."""

from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Installation, Rollout
from edgeops.artifact.manifest import Variant
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.evidence import print_findings, print_words
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Limit, Reference, Timeout, parse_moment, parse_object, parse_span
from edgeops.cli.output import print_facts, print_json, print_json_line, print_table, printable
from edgeops.cli.preview import show_preview
from edgeops.cli.watch import FINISHED, PROOF, follow_rollout, headline, require_good_end, standing, unproven
from edgeops.protocol.messages import Intent
from edgeops.rollout.waves import split_waves

app = typer.Typer(help="Models on their way to devices.", no_args_is_help=True)

RolloutId = Annotated[str, typer.Argument(metavar="ROLLOUT", autocompletion=completion.rollouts)]
Watch = Annotated[
    bool, typer.Option("--watch", help="Follow it until it ends or waits for a person; exit 7 when that is a bad end.")
]


class Switch(StrEnum):
    """What a setting is to be."""

    ON = "on"
    OFF = "off"


@app.command()
@connected
def create(
    client: Client,
    model: Reference,
    *,
    deployment: Annotated[
        str, typer.Option(autocompletion=completion.deployments, help="Which deployment of the devices shall run it.")
    ],
    to: Annotated[
        str, typer.Option(help="Which devices, as in `label.site=plant-1 and memory>=512MiB`; docs/rollouts.md.")
    ] = "all",
    variant: Annotated[Variant, typer.Option(help="Which artifact of the version.")] = Variant.INT8,
    waves: Annotated[str, typer.Option(help="Cumulative sizes, numbers or percentages; or selectors.")] = "1,100%",
    intent: Annotated[Intent, typer.Option(help="heal: the prediction mix is expected to change.")] = Intent.IMPROVE,
    bake: Annotated[str | None, typer.Option(metavar="SPAN", help="How long each wave shows itself.")] = None,
    max_in_flight: Annotated[int | None, typer.Option(min=1, help="Devices that are at it at the same time.")] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="Devices asked per minute.")] = None,
    retries: Annotated[int | None, typer.Option(min=0, help="Times a device is asked again that may succeed.")] = None,
    max_failure: Annotated[float | None, typer.Option(min=0, max=1, help="Share of devices that may fail.")] = None,
    min_rows: Annotated[int | None, typer.Option(min=1, help="Inputs before the health gate judges a wave.")] = None,
    window: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WINDOW",
            help="When devices may turn to it, as in `sat,sun 22:00-05:00 Europe/Berlin`; repeatable.",
        ),
    ] = None,
    policy: Annotated[
        dict[str, Any] | None,
        typer.Option(metavar="JSON", parser=parse_object, help='The rest of the policy, as in {"offer_timeout": 600}.'),
    ] = None,
    start: Annotated[
        datetime | None, typer.Option(metavar="MOMENT", parser=parse_moment, help="Not before this.")
    ] = None,
    needs_approval: Annotated[bool, typer.Option("--needs-approval", help="Begins when somebody approved it.")] = False,
    continuous: Annotated[
        bool, typer.Option("--continuous", help="Goes on with devices that join the fleet later and match.")
    ] = False,
    draft: Annotated[bool, typer.Option("--draft", help="Only write it down; begin it with: rollout submit.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Start nothing; name every device, its wave, or why it is left out.")
    ] = False,
    limit: Limit = 100,
    watch: Watch = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Start a rollout: the first wave is the canary, each next one needs proof."""
    order = {
        "model": model.model,
        "version": model.version,
        "variant": variant,
        "deployment": deployment,
        "to": to,
        "waves": split_waves(waves),
        "intent": intent,
        "policy": _policy(
            policy or {},
            maintenance=window or None,
            bake=None if bake is None else _seconds(bake),
            max_in_flight=max_in_flight,
            rate_per_minute=rate,
            retries=retries,
            max_failure=max_failure,
            min_rows=min_rows,
        ),
        "starts_at": None if start is None else start.isoformat(),
        "needs_approval": needs_approval,
        "continuous": continuous,
        "draft": draft,
    }
    if dry_run:
        show_preview(client, order, limit=limit, as_json=as_json)
        return
    rollout = client.order_rollout(order)
    if watch:
        _watch(client, rollout.id, timeout=timeout, as_json=as_json)
    elif as_json:
        print_json(rollout)
    else:
        print(headline(rollout))
        if rollout.reason:
            say(f"{rollout.state}: {standing(rollout)}")
        say(f"next: edgeops rollout status {rollout.id} --watch")


@app.command("list")
@connected
def list_(client: Client, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Rollouts, newest first."""
    _list(list(islice(client.rollouts(), limit)), as_json=as_json)


def _list(rollouts: list[Rollout], *, as_json: bool) -> None:
    if as_json:
        print_json(rollouts)
        return
    print_table(
        ("rollout", "model", "variant", "deployment", "to", "state", "wave>", "created", "by"),
        [
            (
                one.id,
                f"{one.model}@{one.version}",
                one.variant,
                one.deployment,
                one.selector,
                one.state,
                one.wave + 1,
                one.created_at,
                one.created_by,
            )
            for one in rollouts
        ],
        empty="no rollouts",
    )


@app.command()
@connected
def status(
    client: Client, rollout: RolloutId, watch: Watch = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Where a rollout stands: its waves and every device in it."""
    if watch:
        _watch(client, rollout, timeout=timeout, as_json=as_json)
        return
    found = client.rollout(rollout)
    installations = list(client.installations(rollout))
    if as_json:
        print_json({**found.model_dump(mode="json"), "installations": installations})
        return
    _print(found, installations)
    print_words(client.evidence(rollout))


@app.command()
@connected
def evidence(client: Client, rollout: RolloutId, as_json: AsJson = False) -> None:
    """What each wave has shown: every kind of evidence with its figures and limits."""
    shown = client.evidence(rollout)
    if as_json:
        print_json(shown)
        return
    print_findings(shown)
    print_words(shown)


Remark = Annotated[str, typer.Option("--remark", metavar="TEXT", help="Why; it is kept in the audit trail.")]
Seen = Annotated[
    int | None, typer.Option("--revision", metavar="N", help="Only if it is still as `status` showed it, at this one.")
]


@app.command()
@connected
def submit(
    client: Client, rollout: RolloutId, *, remark: Remark = "", revision: Seen = None, as_json: AsJson = False
) -> None:
    """Begin a draft, or have it approved first."""
    _tell(client.direct_rollout(rollout, "submit", edition=revision, remark=remark), as_json=as_json)


@app.command()
@connected
def approve(
    client: Client, rollout: RolloutId, *, remark: Remark = "", revision: Seen = None, as_json: AsJson = False
) -> None:
    """Let a rollout begin that awaits approval."""
    _tell(client.direct_rollout(rollout, "approve", edition=revision, remark=remark), as_json=as_json)


@app.command()
@connected
def deny(
    client: Client, rollout: RolloutId, *, remark: Remark = "", revision: Seen = None, as_json: AsJson = False
) -> None:
    """End a rollout that awaits approval."""
    _tell(client.direct_rollout(rollout, "deny", edition=revision, remark=remark), as_json=as_json)


@app.command()
@connected
def pause(
    client: Client, rollout: RolloutId, *, remark: Remark = "", revision: Seen = None, as_json: AsJson = False
) -> None:
    """Ask no further device; those that are at it go on."""
    _tell(client.direct_rollout(rollout, "pause", edition=revision, remark=remark), as_json=as_json)


@app.command()
@connected
def resume(
    client: Client, rollout: RolloutId, *, remark: Remark = "", revision: Seen = None, as_json: AsJson = False
) -> None:
    """Ask devices again; a wave gets its time for evidence once more."""
    _tell(client.direct_rollout(rollout, "resume", edition=revision, remark=remark), as_json=as_json)


@app.command()
@connected
def advance(
    client: Client,
    rollout: RolloutId,
    *,
    remark: Annotated[str, typer.Option("--remark", metavar="TEXT", help="Why this wave may pass without proof.")],
    revision: Seen = None,
    as_json: AsJson = False,
) -> None:
    """Let the present wave pass without proof: an override, kept with your name and remark."""
    _tell(client.direct_rollout(rollout, "advance", edition=revision, remark=remark), as_json=as_json)


@app.command()
@connected
def abort(
    client: Client,
    rollout: RolloutId,
    *,
    roll_back: Annotated[bool, typer.Option("--roll-back", help="Take it back from devices that have it.")] = False,
    remark: Remark = "",
    revision: Seen = None,
    as_json: AsJson = False,
) -> None:
    """Offer the version to no further device; those that have it keep it, unless it is taken back."""
    _tell(
        client.direct_rollout(rollout, "abort", edition=revision, remark=remark, roll_back=roll_back), as_json=as_json
    )


@app.command()
@connected
def undo(
    client: Client,
    rollout: RolloutId,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="ROLLOUT",
            autocompletion=completion.rollouts,
            help="An earlier one.  [default: the last that finished]",
        ),
    ] = None,
    waves: Annotated[str, typer.Option(help="As of create.")] = "100%",
    remark: Remark = "",
    revision: Seen = None,
    as_json: AsJson = False,
) -> None:
    """Bring what an earlier rollout brought to the same devices, as a new rollout."""
    begun = client.direct_rollout(rollout, "undo", edition=revision, to=to, waves=split_waves(waves), remark=remark)
    _tell(begun, as_json=as_json)


@app.command()
@connected
def retry(
    client: Client, rollout: RolloutId, *, remark: Remark = "", revision: Seen = None, as_json: AsJson = False
) -> None:
    """Ask those again that ended badly, and nobody else; of a rollout that has ended, as a new one."""
    _tell(client.direct_rollout(rollout, "retry", edition=revision, remark=remark), as_json=as_json)


@app.command()
@connected
def history(
    client: Client,
    deployment: Annotated[str, typer.Argument(metavar="DEPLOYMENT", autocompletion=completion.deployments)],
    *,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """What was brought to a deployment, newest first."""
    _list(list(islice(client.rollouts(deployment=deployment), limit)), as_json=as_json)


@app.command()
@connected
def freeze(client: Client, *, remark: Remark = "", as_json: AsJson = False) -> None:
    """Ask no device of the fleet for anything new; what is taken back is taken back."""
    found = client.freeze(remark=remark)
    print_json(found) if as_json else print("the fleet is frozen")


@app.command()
@connected
def frozen(client: Client, *, as_json: AsJson = False) -> None:
    """Say whether the fleet is frozen, and by whom."""
    found = client.freezing()
    if as_json:
        print_json(found)
    elif found.freeze is None:
        print("devices are asked")
    else:
        told = {"frozen by": found.freeze.by, "since": found.freeze.at, "remark": printable(found.freeze.remark)}
        print_facts({name: value for name, value in told.items() if value})


@app.command()
@connected
def thaw(client: Client, *, as_json: AsJson = False) -> None:
    """Ask devices again."""
    found = client.thaw()
    print_json(found) if as_json else print("devices are asked again")


@app.command(name="four-eyes")
@connected
def four_eyes(
    client: Client,
    wanted: Annotated[Switch | None, typer.Argument(help="Demand them or not; else say whether they are.")] = None,
    *,
    remark: Remark = "",
    as_json: AsJson = False,
) -> None:
    """Have nobody approve a rollout that they began, or override a gate of it."""
    match wanted:
        case Switch.ON:
            found = client.demand_four_eyes(remark=remark)
        case Switch.OFF:
            found = client.waive_four_eyes()
        case None:
            found = client.four_eyes()
    if as_json:
        print_json(found)
    else:
        told = "not demanded" if found.demand is None else f"demanded by {found.demand.by}"
        print(f"four eyes are {told}")


def _tell(rollout: Rollout, *, as_json: bool) -> None:
    if as_json:
        print_json(rollout)
    else:
        print(f"{rollout.id} is {rollout.state}: {standing(rollout)}")


def _seconds(text: str) -> float:
    """A span that may be nothing."""
    return 0.0 if text.rstrip("smhd") == "0" else parse_span(text).total_seconds()


def _policy(policy: dict[str, Any], *, min_rows: int | None, **named: object) -> dict[str, Any]:
    """The policy of the order: the document, and over it what options name."""
    policy = {**policy, **{key: value for key, value in named.items() if value is not None}}
    health = policy.get("health", {})
    if min_rows is not None and isinstance(health, dict):  # the server objects to what is none
        policy["health"] = {**health, "min_rows": min_rows}
    return policy


def _watch(client: Client, rollout_id: str, *, timeout: timedelta | None, as_json: bool) -> None:
    news = follow_rollout(client, rollout_id, timeout=timeout)
    for change in news:
        if as_json:
            print_json_line({**change.rollout.model_dump(mode="json"), "installations": change.installations})
        else:
            for line in change.lines:
                print(line, flush=True)
    require_good_end(client.rollout(rollout_id))


def _print(rollout: Rollout, installations: list[Installation]) -> None:
    print_facts(
        {
            "rollout": rollout.id,
            "model": f"{rollout.model}@{rollout.version} {rollout.variant}",
            "deployment": rollout.deployment,
            "to": rollout.selector,
            "state": rollout.state,
            "proof": PROOF if rollout.state == FINISHED and not unproven(rollout) else None,
            "reason": printable(unproven(rollout) or ("" if rollout.state == FINISHED else rollout.reason)) or None,
            "waits for": rollout.waits_for or None,
            "starts": rollout.starts_at,
            "deadline": rollout.deadline_at,
            "approved by": rollout.approved_by,
            "created": rollout.created_at,
            "by": rollout.created_by,
            "finished": rollout.finished_at,
            "revision": rollout.revision,
        }
    )
    print_table(
        ("wave>", "devices>", "offered>", "committed>", "failed>", "inconclusive>", "finished"),
        [
            (one.position + 1, one.size, one.offered, one.committed, one.failed, one.inconclusive, one.finished_at)
            for one in rollout.waves
        ],
    )
    print_table(
        ("device", "wave>", "state", "reason", "inferences>", "errors>", "p95 us>"),
        [
            (
                one.device_id,
                one.wave + 1,
                one.state,
                one.detail or one.reason or None,
                *((one.evidence or {}).get(name) for name in ("inferences", "errors", "latency_p95_us")),
            )
            for one in installations
        ],
    )
