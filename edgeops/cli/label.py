"""`edgeops label`: the few samples that are worth a label, and what they are."""

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import LabelsTaken
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Limit, ModelName
from edgeops.cli.output import print_json, print_table, printable
from edgeops.errors import InputError
from edgeops.exits import Exit

app = typer.Typer(help="Samples that wait for a label, and what people say they are.", no_args_is_help=True)


#: Refused labels that are named one by one.
_NAMED = 20


@app.command()
@connected
def queue(
    client: Client,
    model: ModelName,
    *,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="A file to be filled in, for `edgeops label import`, on standard output.")
    ] = False,
    disputed: Annotated[bool, typer.Option("--disputed", help="Those that authors disagree on.")] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """The samples that were chosen for a label, those that help most first."""
    if as_csv:
        sys.stdout.write(client.label_queue_csv(model).decode())
        return
    items = list(islice(client.label_queue(model, state="disputed" if disputed else "open"), limit))
    if as_json:
        print_json(items)
        return
    print_table(
        ("sample", "device", "deployment", "input", "model says", "confidence>", "by chance"),
        [
            (one.sample_id, one.device_id, one.deployment, one.input_id, one.answer, one.confidence, one.by_chance)
            for one in items
        ],
        empty="no sample waits for a label",
    )
    if items:
        say(f"next: edgeops label add {items[0].sample_id}=LABEL, or edgeops label queue {model} --csv > labels.csv")


@app.command()
@connected
def add(
    client: Client,
    labels: Annotated[list[str], typer.Argument(metavar="SAMPLE=LABEL...", help="What each sample is.")],
    *,
    remark: Annotated[str | None, typer.Option(help="Why, kept with the labels.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what samples are. Saying it again corrects what you said; another author who differs makes it disputed."""
    _tell(client.add_labels(_pairs(labels), source="person", remark=remark), as_json=as_json)


@app.command("import")
@connected
def import_(
    client: Client,
    model: ModelName,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV with the columns sample_id,label.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Take the labels of a CSV file; rows without a label were not labelled yet."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    _tell(client.import_labels(content, model=model), as_json=as_json)


@app.command("list")
@connected
def list_(client: Client, model: ModelName, *, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Who said what, newest first."""
    labels = list(islice(client.labels(model), limit))
    if as_json:
        print_json(labels)
        return
    print_table(
        ("sample", "label", "source", "author", "device", "at", "remark"),
        [
            (one.sample_id, one.label, one.source, one.author, one.device_id, one.at, one.remark or None)
            for one in labels
        ],
        empty="no labels",
    )


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    """`["sample=label"]` by sample."""
    pairs: dict[str, str] = {}
    for text in texts:
        sample, sign, label = text.partition("=")
        if not (sample and sign and label):
            raise InputError(f"{text!r} is not SAMPLE=LABEL; list samples with: edgeops label queue MODEL")
        if pairs.setdefault(sample, label) != label:
            raise InputError(f"{sample} is named twice with different labels: {pairs[sample]!r} and {label!r}")
    return pairs


def _tell(taken: LabelsTaken, *, as_json: bool) -> None:
    """What became of the labels.

    Raises:
        typer.Exit: some were not taken.
    """
    left = [(sample, "no sample has this id") for sample in taken.unknown]
    left += [(one.sample_id or "-", one.reason) for one in taken.refused]
    if as_json:
        print_json(taken)
    else:
        print(f"{taken.accepted} accepted, {len(left)} not, {len(taken.disputed)} disputed")
        for sample, reason in left[:_NAMED]:
            say(f"  {printable(sample)}  {printable(reason)}")
        if len(left) > _NAMED:
            say(f"  and {len(left) - _NAMED} more; --json names them all")
        for sample in taken.disputed[:_NAMED]:
            say(f"  {sample}  authors disagree; it is learnt from once more than half of them agree")
    if left:
        raise typer.Exit(Exit.FAILED)
