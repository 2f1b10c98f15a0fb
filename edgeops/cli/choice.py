"""`edgeops model choose`, and what `edgeops train --auto` tells: which variant of a version to take."""

from pathlib import Path
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Choice, VariantCost
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Reference
from edgeops.cli.output import print_json, print_table, size, write_file
from edgeops.cli.reference import ModelVersion
from edgeops.exits import GateRefusedError
from edgeops.learning.variants import parse_size


def _size(text: str) -> int:
    """Raises `typer.BadParameter` for what is no size."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


MaxLoss = Annotated[
    float | None,
    typer.Option(min=0, max=100, metavar="POINTS", help="What may be lost against float32.  [default: 1]"),
]
MaxSize = Annotated[
    int | None, typer.Option(parser=_size, metavar="SIZE", help="Of the file, such as 100kB.  [default: any]")
]
MaxLatency = Annotated[
    float | None,
    typer.Option("--max-p95", min=0.001, metavar="MS", help="p95 where it was judged, one thread.  [default: any]"),
]
Picture = Annotated[
    Path | None, typer.Option(metavar="FILE.svg", dir_okay=False, help="Draw what each loses over its size.")
]


@connected
def choose(
    client: Client,
    model: Reference,
    *,
    max_loss: MaxLoss = None,
    max_size: MaxSize = None,
    max_p95: MaxLatency = None,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Take the smallest variant that passed its gate and keeps the budgets; exit 8 when there is none."""
    choice = ask(client, model, budgets_of(max_loss, max_size, max_p95), picture=picture)
    if as_json:
        print_json(choice)
    else:
        print_choice(choice)
    conclude(choice, model)


def budgets_of(max_loss: float | None, max_size: int | None, max_p95: float | None) -> dict[str, float | None]:
    """As the client takes them; None = not given."""
    return {"loss_points": max_loss, "size_bytes": max_size, "p95_latency_ms": max_p95}


def ask(client: Client, model: ModelVersion, budgets: dict[str, float | None], *, picture: Path | None) -> Choice:
    """What the server says, and its picture where somebody wants it.

    Raises:
        InputError: the picture cannot be written.
    """
    choice = client.choice(model.model, model.version, **budgets)
    if picture is not None:
        write_file(picture, client.choice_picture(model.model, model.version, **budgets))
        say(f"{picture}: what each variant loses over its size")
    return choice


def conclude(choice: Choice, model: ModelVersion) -> None:
    """Say how it goes on.

    Raises:
        GateRefusedError: none can be taken.
    """
    if choice.chosen is None:
        raise GateRefusedError(f"no variant of {model} can be taken; give other budgets, or train another way")
    say(f"next: edgeops publish {model} --variant {choice.chosen}")


def print_choice(choice: Choice) -> None:
    """What each variant costs, and which one is taken."""
    has_classes = any(one.class_losses for one in choice.costs)
    print_table(
        ("variant", "file>", "lost, points>", *(("worst class",) if has_classes else ()), "p95 ms>", "front", "taken"),
        [
            (
                one.variant,
                size(one.size_bytes),
                f"{one.loss_points:.2f}",
                *((_worst_class(one),) if has_classes else ()),
                one.p95_latency_ms,
                "yes" if one.is_efficient else "",
                "yes" if one.variant == choice.chosen else "; ".join(one.hindrances),
            )
            for one in choice.costs
        ],
    )


def _worst_class(cost: VariantCost) -> str | None:
    """The class that is found less often than by float32 by most, and by how many points."""
    if not cost.class_losses:
        return None
    name = max(cost.class_losses, key=lambda one: cost.class_losses[one])
    return f"{name} {cost.class_losses[name]:.2f}"
