"""`edgeops model`: what was trained, how good it is, and whether devices may run it."""

from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Artifact, Version
from edgeops.artifact.manifest import Variant
from edgeops.cli.connection import connected
from edgeops.cli.live import follow, say
from edgeops.cli.options import AsJson, Reference, Timeout
from edgeops.cli.output import abridged, print_facts, print_json, print_table, size
from edgeops.cli.reference import parse_model_version

app = typer.Typer(help="Trained models and their versions.", no_args_is_help=True)


@app.command("list")
@connected
def list_(client: Client, as_json: AsJson = False) -> None:
    """All models."""
    models = list(client.models())
    if as_json:
        print_json(models)
        return
    print_table(
        ("model", "task", "latest>", "created"),
        [(one.name, one.task, one.latest_version, one.created_at) for one in models],
        empty="no models; train one: edgeops train DATASET",
    )


@app.command()
@connected
def show(
    client: Client,
    name: Annotated[str, typer.Argument(metavar="MODEL[@VERSION]", help="A model, or one version of it.")],
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
        return
    model = client.model(name)
    if as_json:
        print_json(model)
        return
    print_facts({"model": model.name, "task": model.task, "created": model.created_at})
    print_table(
        ("version>", "variant", "accuracy>", "size>", "state", "created"),
        [
            (
                version.version,
                one.variant,
                one.metrics.get("accuracy"),
                size(one.size_bytes),
                _standing(one),
                one.created_at,
            )
            for version in model.versions or ()
            for one in version.artifacts
        ],
    )


@app.command()
@connected
def withdraw(
    client: Client,
    model: Reference,
    *,
    variant: Annotated[Variant | None, typer.Option(help="Only this one.  [default: all]")] = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Take a version off the list that devices trust; none will install or activate it any more."""
    job = client.withdraw(model.model, model.version, variant=variant)
    job = follow(client, job, what=f"withdraw {model}", timeout=timeout)
    if as_json:
        print_json(job)
    else:
        say(f"{model} is withdrawn; devices that run it go on until another version is rolled out")


def print_version(version: Version) -> None:
    """One version for people."""
    print_facts(
        {
            "model": f"{version.model}@{version.version}",
            "run": version.run_id,
            "created": version.created_at,
            "labels": ", ".join(version.labels or ()) or None,
            "inputs": abridged(version.columns or ()),
            "channels": abridged(version.channels or ()),
        }
    )
    print_table(
        ("variant", "accuracy>", "file>", "tflite>", "p50 ms>", "p95 ms>", "state", "digest"),
        [
            (
                one.variant,
                one.metrics.get("accuracy"),
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


def _standing(artifact: Artifact) -> str:
    if artifact.is_listed:
        return "published"
    return "withdrawn" if artifact.withdrawn_at else "not published"
