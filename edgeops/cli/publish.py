"""`edgeops publish`: sign a version and list it, so that devices may run it; of a file, make the version first."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Version
from edgeops.artifact.manifest import Variant
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.live import follow, say
from edgeops.cli.model import how_to_publish, print_version, rollout_of
from edgeops.cli.options import AsJson, Timeout
from edgeops.cli.output import print_json
from edgeops.cli.reference import ModelVersion, parse_model_version
from edgeops.cli.saved_model import packed
from edgeops.exits import GateRefusedError
from edgeops.written import read_written

_FILE = "A model of your own"


def _something(what: str) -> str:
    """Asked before a server is looked for, so that a typing error is told as one."""
    if Path(what).exists():
        return what
    try:
        return str(parse_model_version(what))
    except typer.BadParameter as error:
        raise typer.BadParameter(f"there is no file {what!r}, and {error}") from error


@connected
def publish(
    client: Client,
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL@VERSION|FILE",
            autocompletion=completion.versions,
            callback=_something,
            help="For example digits@1; or a .tflite, a .keras or a SavedModel folder.",
        ),
    ],
    *,
    variant: Annotated[Variant | None, typer.Option(help="Only this one.  [default: all]")] = None,
    override: Annotated[
        str | None,
        typer.Option(metavar="REMARK", help="Go past its promotion gate, as an approver, and say why; it is signed."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.", rich_help_panel=_FILE)] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET|SNAPSHOT",
            autocompletion=completion.datasets,
            help="Whose rows calibrate and judge it.",
            rich_help_panel=_FILE,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="LIST|FILE",
            help="Classes in the order of its outputs: with commas, or a file, one a line.  [default: the dataset's]",
            rich_help_panel=_FILE,
        ),
    ] = None,
    multiply: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="What readings are multiplied with: one number, or one for each column.",
            rich_help_panel=_FILE,
        ),
    ] = None,
    add: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="What is added then.", rich_help_panel=_FILE)
    ] = None,
    standardize: Annotated[
        bool,
        typer.Option("--standardize", help="Mean 0, deviation 1, by the training rows.", rich_help_panel=_FILE),
    ] = False,
    window: Annotated[
        int | None,
        typer.Option(min=1, metavar="ROWS", help="Rows that one answer sees.  [default: found]", rich_help_panel=_FILE),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="ROWS",
            help="Rows from one answer to the next.  [default: half of the window]",
            rich_help_panel=_FILE,
        ),
    ] = None,
    answer: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="PLACE", help="Which output is the answer.  [default: found]", rich_help_panel=_FILE
        ),
    ] = None,
    embedding: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="PLACE", help="Which output is an embedding.  [default: none]", rich_help_panel=_FILE
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="A score above it is an alarm.  [default: by normal rows]", rich_help_panel=_FILE),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Of float32, float16, dynamic and int8; a .tflite is one already.  [default: float32,int8]",
            rich_help_panel=_FILE,
        ),
    ] = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="Make the version, and publish it later.", rich_help_panel=_FILE)
    ] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Sign the artifacts of a version and list them in the fleet's metadata; a file becomes a version first.

    Raises:
        GateRefusedError: the promotion gate refused one, and nobody overrode that.
    """
    given = {
        "labels": labels,
        "multiply": multiply,
        "add": add,
        "standardize": standardize or None,
        "window": window,
        "stride": stride,
        "answer": answer,
        "embedding": embedding,
        "threshold": threshold,
        "variants": variants,
    }
    path = Path(what)
    if not path.exists():
        model = parse_model_version(what)
        said = {"name": name, "calibrate": calibrate, "draft": draft or None, **given}
        if unfit := [f"--{option}" for option, value in said.items() if value is not None]:
            raise typer.BadParameter(f"{', '.join(unfit)} are for a file, and {what} is a version that is there")
    else:
        if name is None or calibrate is None:
            raise typer.BadParameter(f"of the file {what} say --name, and --calibrate DATASET to judge it by")
        with packed(path) as file:
            job = client.bring_model(file, name=name, dataset=calibrate, **(given | {"labels": _lines(labels)}))
        job = follow(client, job, what=f"judge {path.name}", timeout=timeout)
        model = ModelVersion(name, int((job.result or {})["version"]))
        if draft:
            _print_draft(client, model, job, as_json=as_json)
            return
    if override is None:
        _require_promotion(client.version(model.model, model.version), variant)
        job = client.publish(model.model, model.version, variant=variant)
    else:
        job = client.override_gate(model.model, model.version, remark=override, variant=variant)
    job = follow(client, job, what=f"publish {model}", timeout=timeout)
    if as_json:
        print_json(job)
        return
    version = client.version(model.model, model.version)
    print_version(version)
    if any(one.awaiting_signature_at for one in version.artifacts):
        say(f"the targets key is not on the server; sign it: edgeops model sign {model} --keys DIR")
        return
    say(f"next: {rollout_of(version)}")


def _print_draft(client: Client, model: ModelVersion, job: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    version = client.version(model.model, model.version)
    print_version(version)
    say(how_to_publish(version))


def _lines(labels: str | None) -> str | None:
    """Labels with commas, or of a file, one a line."""
    if labels is None:
        return None
    is_file = os.path.isfile(labels)  # noqa: PTH113 - Path.is_file raises for a text that is too long for a path
    return read_written(Path(labels)) if is_file else "\n".join(labels.split(","))


def _require_promotion(version: Version, variant: Variant | None) -> None:
    """The server refuses it too; here it has an exit code of its own."""
    for one in version.artifacts:
        gate = one.promotion
        if variant in (None, one.variant) and not gate.may_be_listed:
            failures = "; ".join(f"{rule.name}: {rule.reason}" for rule in gate.rules if not rule.passed)
            raise GateRefusedError(
                f"{version.model}@{version.version} {one.variant} did not pass its promotion gate: {failures}; an "
                "approver may go past it: --override REMARK"
            )
