"""`edgeops train`: a dataset becomes a version of a model, in every variant, judged."""

from collections.abc import Sequence
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.artifact.manifest import Resampling, Variant
from edgeops.cli import choice, completion
from edgeops.cli.connection import connected
from edgeops.cli.live import follow, say
from edgeops.cli.model import how_to_publish, print_version
from edgeops.cli.options import AsJson, Timeout
from edgeops.cli.output import print_json
from edgeops.cli.reference import ModelVersion
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
        str, typer.Option(autocompletion=completion.recipes, help="Which one: edgeops recipe list.")
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
    rate: Annotated[
        float | None,
        typer.Option(
            min=1e-6, metavar="HERTZ", help="Rows a second that windows are resampled to.  [default: as they come]"
        ),
    ] = None,
    resampling: Annotated[
        Resampling | None, typer.Option(help="How rows are put on the grid of --rate.  [default: linear]")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="One of the recipe's own, such as batch=64; repeatable."),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Of float32, float16, dynamic and int8.  [default: float32,int8]"),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, max=20, help="Trainings more, each judged on rows it was not shown.  [default: none]"),
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Build all variants and tell which to take, as `model choose` does.")
    ] = False,
    max_loss: choice.MaxLoss = None,
    max_size: choice.MaxSize = None,
    max_p95: choice.MaxLatency = None,
    picture: choice.Picture = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Train a model, quantize it, and judge all variants on the rows held out."""
    name = model or dataset
    budgets = choice.budgets_of(max_loss, max_size, max_p95)
    if not auto and (picture is not None or any(one is not None for one in budgets.values())):
        raise typer.BadParameter("--max-loss, --max-size, --max-p95 and --picture are for --auto")
    if auto and variants is not None:
        raise typer.BadParameter("--auto builds all variants; leave out --variants")
    job = client.train(
        dataset,
        name,
        recipe=recipe,
        seed=seed,
        epochs=epochs,
        options=_options(option or ()) | _given(window=window, stride=stride, rate=rate, resampling=resampling),
        variants=list(Variant) if auto else None if variants is None else _variants(variants),
        folds=folds,
    )
    job = follow(client, job, what=f"train {name}", timeout=timeout)
    made = ModelVersion(name, int((job.result or {})["version"]))
    chosen = choice.ask(client, made, budgets, picture=picture) if auto else None
    if as_json:
        print_json(job if chosen is None else {"job": job, "choice": chosen})
    else:
        version = client.version(name, made.version)
        print_version(version)
        if chosen is None:
            say(how_to_publish(version))
        else:
            choice.print_choice(chosen)
    if chosen is not None:
        choice.conclude(chosen, made)


def _variants(text: str) -> list[Variant]:
    """`float32,int8` one by one."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in set(Variant)]
    if unknown:
        raise InputError(f"--variants {text!r}: there is no {unknown[0]!r}; there are {', '.join(Variant)}")
    return [Variant(name) for name in names]


def _given(**options: float | str | None) -> dict[str, float | str]:
    """Options that have a name of their own here."""
    return {name: value for name, value in options.items() if value is not None}


def _options(texts: Sequence[str]) -> dict[str, float | str]:
    """`["batch=64"]` by name; what a recipe takes is known to the server."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, sign, value) in zip(texts, pairs, strict=True):
        if not (name and sign and value):
            raise InputError(f"--option {text!r} is not NAME=VALUE, such as batch=64")
    return {name: value for name, _, value in pairs}
