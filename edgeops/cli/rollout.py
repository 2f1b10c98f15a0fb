"""`edgeops rollout`: bring a published version to devices, wave by wave, and watch it arrive."""

from datetime import timedelta
from itertools import islice
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Installation, Rollout
from edgeops.artifact.manifest import Variant
from edgeops.cli.connection import connected
from edgeops.cli.evidence import print_findings, print_words
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Limit, Reference, Timeout
from edgeops.cli.output import print_facts, print_json, print_json_line, print_table
from edgeops.cli.preview import show_preview
from edgeops.cli.watch import FINISHED, PROOF, follow_rollout, headline, require_good_end
from edgeops.protocol.messages import Intent
from edgeops.rollout.waves import split_waves

app = typer.Typer(help="Models on their way to devices.", no_args_is_help=True)

RolloutId = Annotated[str, typer.Argument(metavar="ROLLOUT")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it to its end; exit 7 when that is a bad one.")]


@app.command()
@connected
def create(
    client: Client,
    model: Reference,
    *,
    deployment: Annotated[str, typer.Option(help="Which deployment of the devices shall run it.")],
    to: Annotated[
        str, typer.Option(help="Which devices, as in `label.site=plant-1 and memory>=512MiB`; docs/rollouts.md.")
    ] = "all",
    variant: Annotated[Variant, typer.Option(help="Which artifact of the version.")] = Variant.INT8,
    waves: Annotated[str, typer.Option(help="Cumulative sizes, numbers or percentages; or selectors.")] = "1,100%",
    intent: Annotated[Intent, typer.Option(help="heal: the prediction mix is expected to change.")] = Intent.IMPROVE,
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
        say(f"next: edgeops rollout status {rollout.id} --watch")


@app.command("list")
@connected
def list_(client: Client, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Rollouts, newest first."""
    rollouts = list(islice(client.rollouts(), limit))
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


@app.command()
@connected
def abort(client: Client, rollout: RolloutId, as_json: AsJson = False) -> None:
    """Offer the version to no further device; those that have it keep it."""
    aborted = client.abort_rollout(rollout)
    if as_json:
        print_json(aborted)
    else:
        print(f"{aborted.id} is {aborted.state}")


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
            "proof": PROOF if rollout.state == FINISHED else None,
            "reason": rollout.reason if rollout.state != FINISHED else None,
            "created": rollout.created_at,
            "by": rollout.created_by,
            "finished": rollout.finished_at,
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
