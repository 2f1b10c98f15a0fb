"""`edgeops retrain`: heal a model, say when it may heal itself, and see what came of it."""

import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Annotated, Any

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Retraining, RetrainingPolicy
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Limit, ModelName, Timeout, parse_object, parse_span
from edgeops.cli.output import print_facts, print_json, print_json_line, print_table, printable
from edgeops.errors import ServerError, WaitTimeoutError
from edgeops.exits import GateRefusedError
from edgeops.learning.retraining import WAITS_FOR, RetrainingState
from edgeops.learning.triggers import Mode
from edgeops.rollout.waves import split_waves

app = typer.Typer(help="Models that are healed with a few labels.", no_args_is_help=True)

RetrainingId = Annotated[str, typer.Argument(metavar="RETRAINING", autocompletion=completion.retrainings)]

_POLL_S = 0.5
#: Waiting for these may take days, and only the person who looks can end it.
_FOR_A_PERSON = {RetrainingState.PROPOSED, RetrainingState.AWAITING_SIGNATURE}


def _parse_rest(text: str) -> timedelta:
    return timedelta(0) if text.strip() == "0" else parse_span(text)


@app.command()
@connected
def run(
    client: Client,
    model: ModelName,
    *,
    labels: Annotated[
        int | None, typer.Option(min=0, help="Labels to buy; 0: learn from those there are.  [default: the policy's]")
    ] = None,
    random_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of the labels, drawn at random.  [default: the policy's]")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEVICE",
            autocompletion=completion.devices,
            help="Leave out all that ever came from this device; repeatable.",
        ),
    ] = None,
    deployment: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.deployments,
            help="Where.  [default: where drift was found, else where the champion runs]",
        ),
    ] = None,
    remark: Annotated[str | None, typer.Option(help="Why, for the audit trail.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show each step to the end, or until it needs you.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Retrain a model now, or approve what is proposed."""
    retraining = client.retrain(
        model,
        labels=labels,
        random_share=random_share,
        without_devices=without or (),
        deployment=deployment,
        remark=remark,
    )
    if follow:
        _follow(client, retraining, timeout=timeout, as_json=as_json)
    elif as_json:
        print_json(retraining)
    else:
        print(f"{retraining.id} is {retraining.state}: {printable(retraining.detail or retraining.reason)}")
        say(f"next: edgeops retrain show {retraining.id}, edgeops label queue {model}")


@app.command()
@connected
def policy(
    client: Client,
    model: ModelName,
    *,
    mode: Annotated[Mode | None, typer.Option(help="propose: ask a person; auto: run by itself; off.")] = None,
    labels: Annotated[int | None, typer.Option(min=0, help="Labels bought in one retraining.")] = None,
    random_share: Annotated[float | None, typer.Option(min=0, max=1, help="Of the labels, drawn at random.")] = None,
    min_labels: Annotated[int | None, typer.Option(min=0, help="The fewest that are learnt from.")] = None,
    label_timeout: Annotated[
        timedelta | None, typer.Option(metavar="SPAN", parser=parse_span, help="How long labels are waited for.")
    ] = None,
    cooldown: Annotated[
        timedelta | None, typer.Option(metavar="SPAN", parser=_parse_rest, help="Rest after one ended; 0: none.")
    ] = None,
    retrainings_per_week: Annotated[int | None, typer.Option(min=0, help="The most in 7 days.")] = None,
    labels_per_month: Annotated[int | None, typer.Option(min=0, help="The most asked for in 30 days.")] = None,
    new_labels: Annotated[
        int | None, typer.Option(min=0, help="So many that come by themselves fire; 0: they never do.")
    ] = None,
    label_weight: Annotated[
        float | None, typer.Option(min=0, max=1_000, help="What a bought row weighs against an old one.")
    ] = None,
    waves: Annotated[str | None, typer.Option(help="Of the rollout: numbers or percentages.")] = None,
    to: Annotated[str | None, typer.Option(help="Of the rollout: which devices.")] = None,
    rollout_policy: Annotated[
        dict[str, Any] | None,
        typer.Option(metavar="JSON", parser=parse_object, help='Of the rollout: its policy, as in {"bake": 3600}.'),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of chance and training.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show when and how a model is retrained; with options, change it."""
    asked = {
        "mode": mode,
        "labels": labels,
        "random_share": random_share,
        "min_labels": min_labels,
        "label_timeout": None if label_timeout is None else label_timeout.total_seconds(),
        "cooldown": None if cooldown is None else cooldown.total_seconds(),
        "retrainings_per_week": retrainings_per_week,
        "labels_per_month": labels_per_month,
        "new_labels": new_labels,
        "label_weight": label_weight,
        "waves": None if waves is None else split_waves(waves),
        "selector": to,
        "rollout_policy": rollout_policy,
        "seed": seed,
    }
    changes = {name: value for name, value in asked.items() if value is not None}
    found = client.retraining_policy(model)
    if changes:
        values = {**found.model_dump(mode="json", exclude={"edition"}), **changes}
        values["new_labels"] = values["new_labels"] or None
        # What somebody else changed since it was read is not put back.
        found = client.set_retraining_policy(model, values, edition=found.edition)
    if as_json:
        print_json(found)
    else:
        _print_policy(found)


@app.command()
@connected
def history(
    client: Client,
    model: Annotated[
        str | None, typer.Argument(autocompletion=completion.models, help="Name of the model.  [default: all]")
    ] = None,
    *,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Every firing of a trigger, also of those that came to nothing, newest first."""
    retrainings = list(islice(client.retrainings(model), limit))
    if as_json:
        print_json(retrainings)
        return
    print_table(
        ("retraining", "model", "trigger", "decision", "state", "labels>", "version>", "created", "why"),
        [
            (
                one.id,
                one.model,
                one.trigger,
                one.decision,
                one.state,
                one.labels_wanted or None,
                one.version,
                one.created_at,
                one.detail or one.reason,
            )
            for one in retrainings
        ],
        empty="nothing fired",
    )


@app.command()
@connected
def show(
    client: Client,
    retraining: RetrainingId,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Show each step to the end, or until it needs you.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """One retraining: what it stands on, how far it came, and what it waits for."""
    found = client.retraining(retraining)
    if follow:
        _follow(client, found, timeout=timeout, as_json=as_json)
    elif as_json:
        print_json(found)
    else:
        _print(found)


@app.command()
@connected
def cancel(client: Client, retraining: RetrainingId, as_json: AsJson = False) -> None:
    """End a retraining; the model that runs goes on."""
    ended = client.cancel_retraining(retraining)
    if as_json:
        print_json(ended)
    else:
        print(f"{ended.id} is {ended.state}")


def _follow(client: Client, retraining: Retraining, *, timeout: timedelta | None, as_json: bool) -> None:
    """Show every change until it ended or needs a person.

    Raises:
        GateRefusedError: the promotion gate refused the new version.
        ServerError: it failed or was cancelled.
        WaitTimeoutError: it still goes on.
    """
    for one in _changes(client, retraining.id, timeout):
        retraining = one
        if as_json:
            print_json_line(one)
        else:
            print(f"{one.state}: {printable(one.detail or one.reason)}", flush=True)
    state = RetrainingState(retraining.state)
    if state in _FOR_A_PERSON:
        say(f"it waits for {WAITS_FOR[state]}")
    elif state is RetrainingState.REFUSED:
        raise GateRefusedError(f"{retraining.id}: the promotion gate refused version {retraining.version}")
    elif state is not RetrainingState.HEALED:
        raise ServerError(f"{retraining.id} {state}: {retraining.detail}")


def _changes(client: Client, retraining_id: str, timeout: timedelta | None) -> Iterator[Retraining]:
    deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
    before: tuple[str, str] | None = None
    while True:
        one = client.retraining(retraining_id)
        if (one.state, one.detail) != before:
            before = (one.state, one.detail)
            yield one
        if one.ended or one.state in _FOR_A_PERSON:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise WaitTimeoutError(f"{retraining_id} is still {one.state} after {timeout}; it goes on by itself")
        time.sleep(_POLL_S)


def _print(one: Retraining) -> None:
    state = RetrainingState(one.state)
    print_facts(
        {
            "retraining": one.id,
            "model": one.model,
            "deployment": one.deployment,
            "artifact": one.digest,
            "trigger": f"{one.trigger}: {one.evidence.get('why', '')}",
            "finding": one.evidence.get("finding"),
            "decision": f"{one.decision}: {one.reason}",
            "without": ", ".join(one.without_devices) or None,
            "state": one.state,
            "detail": one.detail or None,
            "waits for": WAITS_FOR.get(state),
            "labels": ", ".join(f"{count} {name}" for name, count in one.queue.items()) or None,
            "job": one.job_id,
            "snapshot": one.snapshot,
            "version": one.version,
            "rollout": one.rollout_id,
            "created": one.created_at,
            "by": one.created_by,
            "finished": one.finished_at,
        }
    )
    if one.nominations:
        print_table(
            ("device", "asked for>", "samples>", "asked", "answered", "remark"),
            [
                (each.device_id, each.count, each.samples, each.asked_at, each.answered_at, each.detail or None)
                for each in one.nominations
            ],
        )


def _print_policy(policy: RetrainingPolicy) -> None:
    print_facts(
        {
            "mode": policy.mode,
            "labels": f"{policy.labels}, {policy.random_share:.0%} of them at random; at least {policy.min_labels}",
            "label timeout": policy.label_timeout,
            "cooldown": policy.cooldown,
            "budget": f"{policy.retrainings_per_week} in 7 days, {policy.labels_per_month} labels in 30",
            "new labels": policy.new_labels or "never fire",
            "label weight": policy.label_weight,
            "rollout": f"to {policy.selector} in waves {','.join(policy.waves)}",
            "seed": policy.seed,
        }
    )
