"""`edgeops train`: a dataset becomes a version of a model, in every variant, judged."""

from collections.abc import Sequence
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.artifact.manifest import Variant
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.live import follow, say
from edgeops.cli.model import print_version
from edgeops.cli.options import AsJson, Timeout
from edgeops.cli.output import print_json
from edgeops.errors import InputError


@connected
def train(
    client: Client,
    dataset: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.datasets, help="Name of the dataset; its newest snapshot is learnt from."
        ),
    ],
    *,
    model: Annotated[
        str | None, typer.Option(autocompletion=completion.models, help="Name of the model.  [default: the dataset's]")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="dense, cnn (images), signals (windows) or distance (anomalies).")
    ] = "dense",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same model.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Rounds over the data.  [default: the recipe's]")] = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, metavar="ROWS", help="Rows that one answer sees.  [default: 1]"),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(min=1, metavar="ROWS", help="Rows from one answer to the next.  [default: half of the window]"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="One of the recipe's own, such as batch=64; repeatable."),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Of float32, float16, dynamic and int8.  [default: float32,int8]"),
    ] = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Train a model, quantize it, and judge all variants on the rows held out."""
    name = model or dataset
    job = client.train(
        dataset,
        name,
        recipe=recipe,
        seed=seed,
        epochs=epochs,
        options=_options(option or ()) | _given(window=window, stride=stride),
        variants=None if variants is None else _variants(variants),
    )
    job = follow(client, job, what=f"train {name}", timeout=timeout)
    if as_json:
        print_json(job)
        return
    version = int((job.result or {})["version"])
    print_version(client.version(name, version))
    say(f"next: edgeops publish {name}@{version}")


def _variants(text: str) -> list[Variant]:
    """`float32,int8` one by one."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in set(Variant)]
    if unknown:
        raise InputError(f"--variants {text!r}: there is no {unknown[0]!r}; there are {', '.join(Variant)}")
    return [Variant(name) for name in names]


def _given(**options: int | None) -> dict[str, float | str]:
    """Options that have a name of their own here."""
    return {name: value for name, value in options.items() if value is not None}


def _options(texts: Sequence[str]) -> dict[str, float | str]:
    """`["batch=64"]` by name; what a recipe takes is known to the server."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, sign, value) in zip(texts, pairs, strict=True):
        if not (name and sign and value):
            raise InputError(f"--option {text!r} is not NAME=VALUE, such as batch=64")
    return {name: value for name, _, value in pairs}
