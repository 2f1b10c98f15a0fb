"""`edgeops model`: what was trained, how good it is, and whether devices may run it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Alias, Artifact, Version
from edgeops.artifact.manifest import Task, Variant
from edgeops.cli import card, choice, completion, gate, key_changes
from edgeops.cli.benchmark import print_benchmarks
from edgeops.cli.connection import Data, Token, Url, connect, connected
from edgeops.cli.live import follow, say
from edgeops.cli.options import AsJson, Keys, ModelName, ModelOrVersion, Reference, Timeout
from edgeops.cli.output import abridged, print_facts, print_json, print_table, printable, size
from edgeops.cli.reference import ModelVersion, parse_model_version
from edgeops.errors import ConflictError
from edgeops.learning.retraining import RetrainingState
from edgeops.local.endpoints import default_data, keys_folder

app = typer.Typer(help="Trained models and their versions.", no_args_is_help=True)

#: States of a retraining that a signature lets go on, or has let.
_GOES_ON = frozenset({RetrainingState.AWAITING_SIGNATURE, RetrainingState.ROLLING_OUT})


app.command()(choice.choose)
app.command("gate")(gate.gate)
app.command("card")(card.card)
app.command("bom")(card.bom)


@app.command("list")
@connected
def list_(client: Client, as_json: AsJson = False) -> None:
    """All models."""
    models = list(client.models())
    if as_json:
        print_json(models)
        return
    print_table(
        ("model", "task", "latest>", "champion>", "challenger>", "created"),
        [(one.name, one.task, one.latest_version, one.champion, one.challenger, one.created_at) for one in models],
        empty="no models; train one: edgeops train DATASET",
    )


@app.command()
@connected
def show(
    client: Client,
    name: ModelOrVersion,
    as_json: AsJson = False,
) -> None:
    """One model with all its versions, or one version with its artifacts."""
    if "@" in name:
        reference = parse_model_version(name)
        version = client.version(reference.model, reference.version)
        if as_json:
            print_json(version)
        else:
            print_version(version)
            print_needs(version)
        return
    model = client.model(name)
    if as_json:
        print_json(model)
        return
    print_facts(
        {
            "model": model.name,
            "task": model.task,
            "created": model.created_at,
            "champion": model.champion,
            "challenger": model.challenger,
        }
    )
    worth = _headline(model.task, [one for version in model.versions or () for one in version.artifacts])
    print_table(
        ("version>", "variant", worth, "size>", "state", "created"),
        [
            (
                version.version,
                one.variant,
                _worth(one),
                size(one.size_bytes),
                _standing(one),
                one.created_at,
            )
            for version in model.versions or ()
            for one in version.artifacts
        ],
    )


@app.command()
def request(
    model: Reference,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The file.  [default: MODEL-VERSION.change]")
    ] = None,
    variant: Annotated[Variant | None, typer.Option(help="Only this one.  [default: all]")] = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Write what must be signed of a version into a file, for whoever holds a targets key and reaches no server."""
    from edgeops.local import ceremony, signing  # noqa: PLC0415 - they load tuf and numpy, which others do not need

    folder = keys_folder(data or default_data())
    with connect(url, token, data) as client:
        draft = ceremony.begin(client, folder, datetime.now(UTC))
        draft.list(signing.read_for_signing(client, model.model, model.version, variant))
        change = draft.finish()
        if change.is_empty:
            raise ConflictError(f"{model} is listed as it is; nothing is to be signed")
        file = out or Path(f"{model.model}-{model.version}.change")
        outcome = ceremony.complete(client, change, keys=folder, out=file, name="", now=datetime.now(UTC))
    key_changes.tell(outcome, as_json=as_json)


@app.command()
def sign(
    model: Annotated[
        ModelVersion | None,
        typer.Argument(
            metavar="MODEL@VERSION",
            parser=parse_model_version,
            autocompletion=completion.versions,
            help="For example digits@1.",
        ),
    ] = None,
    *,
    offline: Annotated[
        Path | None,
        typer.Option("--offline", metavar="FILE", help="Sign this file that `model request` wrote; needs no server."),
    ] = None,
    artifacts: Annotated[
        list[Path] | None,
        typer.Option("--artifact", metavar="FILE", help="With --offline: hold a model file against it; repeatable."),
    ] = None,
    yes: key_changes.Yes = False,
    variant: Annotated[Variant | None, typer.Option(help="Only this one.  [default: all]")] = None,
    out: key_changes.Out = None,
    keys: Keys = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Sign a version that awaits it with the offline targets key, after its files were held against what they claim."""
    from edgeops.local import ceremony, signing  # noqa: PLC0415 - they load tuf and numpy, which others do not need

    folder = keys or keys_folder(data or default_data())
    if (model is None) == (offline is None):
        raise typer.BadParameter("name MODEL@VERSION, or a file with --offline")
    if model is None:
        assert offline is not None
        key_changes.sign_file(
            offline, keys=folder, yes=yes, as_json=as_json, models_only=True, artifacts=tuple(artifacts or ())
        )
        return
    with connect(url, token, data) as client:
        draft = ceremony.begin(client, folder, datetime.now(UTC))
        draft.list(signing.read_for_signing(client, model.model, model.version, variant))
        change = draft.finish()
        if not change.is_empty:
            name = f"{model.model}-{model.version}"
            outcome = ceremony.complete(client, change, keys=folder, out=out, name=name, now=datetime.now(UTC))
            key_changes.tell(outcome, as_json=as_json)
            if as_json or isinstance(outcome, ceremony.Waiting):
                return
        version = client.version(model.model, model.version)
        print_version(version)
        made = (one for one in client.retrainings(model.model) if one.version == model.version)
        waits = next((one for one in made if one.state in _GOES_ON), None)
    if waits is None:
        say(f"next: {rollout_of(version)}")
    else:
        say(f"the retraining that made it rolls it out by itself: edgeops retrain show {waits.id} --follow")


@app.command()
def withdraw(
    model: Reference,
    *,
    variant: Annotated[Variant | None, typer.Option(help="Only this one.  [default: all]")] = None,
    out: key_changes.Out = None,
    keys: Keys = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Take a version off the list that devices trust; none will install or activate it any more."""
    with connect(url, token, data) as client:
        if keys is None:
            job = client.withdraw(model.model, model.version, variant=variant)
        else:
            from edgeops.local import ceremony, signing  # noqa: PLC0415 - as in `sign`

            draft = ceremony.begin(client, keys, datetime.now(UTC))
            signing.withdraw(client, draft, model.model, model.version, variant)
            change = draft.finish()
            if not change.is_empty:
                name = f"withdraw-{model.model}-{model.version}"
                outcome = ceremony.complete(client, change, keys=keys, out=out, name=name, now=datetime.now(UTC))
                if isinstance(outcome, ceremony.Waiting):
                    key_changes.tell(outcome, as_json=as_json)
                    return
            job = client.withdraw(model.model, model.version, variant=variant)
        job = follow(client, job, what=f"withdraw {model}", timeout=timeout)
    if as_json:
        print_json(job)
    else:
        say(f"{model} is withdrawn; devices that run it go on until another version is rolled out")


@app.command()
@connected
def promote(
    client: Client,
    model: Reference,
    *,
    alias: Annotated[Alias, typer.Option("--as", help="Which alias it gets.")] = Alias.CHAMPION,
    remark: Annotated[str, typer.Option(help="Why; stays in the history and the audit trail.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a version champion (what new ones are compared with) or challenger; a finished rollout does so by itself."""
    change = client.set_alias(model.model, alias, model.version, remark=remark)
    if as_json:
        print_json(change)
        return
    say(f"{model} is {change.alias}; devices run what a rollout brings them: edgeops rollout create {model}")


@app.command()
@connected
def aliases(
    client: Client,
    name: ModelName,
    as_json: AsJson = False,
) -> None:
    """How champion and challenger of a model changed, and why."""
    changes = list(client.aliases(name))
    if as_json:
        print_json(changes)
        return
    print_table(
        ("alias", "version>", "since", "by", "why"),
        [(one.alias, one.version, one.at, one.actor, one.reason) for one in changes],
        empty="no version was ever champion or challenger; a finished rollout makes it so",
    )


def rollout_of(version: Version) -> str:
    """The command that brings devices what is published of a version; it takes int8 unless told otherwise."""
    published = [one.variant for one in version.artifacts if one.is_listed]
    chosen = "" if Variant.INT8 in published or not published else f" --variant {published[0]}"
    return f"edgeops rollout create {version.model}@{version.version}{chosen} --deployment NAME --to all --watch"


def print_version(version: Version) -> None:
    """One version for people."""
    print_facts(
        {
            "model": f"{version.model}@{version.version}",
            "run": version.run_id,
            "created": version.created_at,
            "task": version.task,
            "labels": ", ".join(version.labels or ()) or None,
            "units": version.units or None,
            "inputs": abridged(version.columns or ()),
            "channels": abridged(version.channels or ()),
        }
    )
    worth = _headline(version.task, version.artifacts)
    print_table(
        ("variant", worth, "file>", "tflite>", "p50 ms>", "p95 ms>", "state", "digest"),
        [
            (
                one.variant,
                _worth(one, version.units or ""),
                size(one.size_bytes),
                size(one.tflite_bytes),
                one.latency_p50_ms,
                one.latency_p95_ms,
                _standing(one),
                one.digest,
            )
            for one in version.artifacts
        ],
    )
    for one in version.artifacts:
        for rule in one.promotion.rules:
            if not rule.passed:
                print(printable(f"{one.variant}, promotion gate: {rule.name} failed: {rule.reason}"))
        if override := one.promotion.override:
            print(printable(f"{one.variant}, promotion gate: overridden by {override.by}: {override.remark}"))
    print_benchmarks(version.benchmarks or ())
    for warning in version.warnings or ():
        print(printable(f"warning: {warning}"))


def how_to_publish(version: Version) -> str:
    """What to do with a version that is new: publish what its promotion gates let pass."""
    name = f"{version.model}@{version.version}"
    refused = [one.variant for one in version.artifacts if not one.promotion.may_be_listed]
    passed = [one.variant for one in version.artifacts if one.promotion.may_be_listed]
    if not refused:
        return f"next: edgeops publish {name}"
    see = f"see why: edgeops model gate {name}"
    if not passed:
        return f"no variant passed its promotion gate, so none can be published; {see}"
    return f"next: edgeops publish {name} --variant {' or '.join(passed)}; {', '.join(refused)} did not pass, {see}"


def print_needs(version: Version) -> None:
    """What devices must offer to run its files."""
    for one in version.artifacts:
        needed = one.requirements
        operations = ", ".join(f"{name} {number}" for name, number in needed.ops.items())
        least = f"TensorFlow Lite from {needed.minimal_runtime} on" if needed.minimal_runtime else "a runtime that has"
        print(printable(f"{one.variant} needs {least}: {operations}"))


def _headline(task: str | None, artifacts: Sequence[Artifact]) -> str:
    """The heading over what `_worth` shows."""
    match task:
        case Task.REGRESSION:
            return "mean error>"
        case Task.ANOMALY:
            return "alarms, false>"
        case _:
            return "accuracy, balanced>" if any(map(_is_lopsided, artifacts)) else "accuracy>"


def _worth(artifact: Artifact, units: str = "") -> float | str | None:
    """The one figure that a person asks for first."""
    alarms, error = artifact.metrics.get("alarm-rate"), artifact.metrics.get("mae")
    if alarms is not None:
        return f"{alarms:.1%}, {artifact.metrics['false-alarm-rate']:.1%}"
    if error is not None:
        return f"{error:.4g} {units}".rstrip()
    if _is_lopsided(artifact):
        return f"{artifact.metrics['accuracy']:.4f}, {artifact.metrics['balanced-accuracy']:.4f}"
    return artifact.metrics.get("accuracy")


def _is_lopsided(artifact: Artifact) -> bool:
    """Whether most rows that judge are of one class: then the share of right answers alone tells too little."""
    return artifact.metrics.get("majority", 0.0) > 0.5


def _standing(artifact: Artifact) -> str:
    return artifact.standing.replace("-", " ")
