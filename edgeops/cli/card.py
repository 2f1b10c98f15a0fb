"""`edgeops model card` and `edgeops model bom`: what a version tells of itself."""

from pathlib import Path
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.artifact.manifest import Variant
from edgeops.card.card import CardFormat
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import Reference
from edgeops.cli.output import write_file

Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", dir_okay=False, help="The file.  [default: standard output]")
]


@connected
def card(
    client: Client,
    model: Reference,
    *,
    html: Annotated[bool, typer.Option("--html/--markdown", help="One HTML file with charts, or Markdown.")] = False,
    variant: Annotated[Variant | None, typer.Option(help="Whose answers are told of.  [default: int8]")] = None,
    out: Out = None,
) -> None:
    """What a version is for, made of, worth and not able to; groups are named, so mind whom you give it."""
    as_ = CardFormat.HTML if html else CardFormat.MARKDOWN
    _give(client.card(model.model, model.version, as_=as_, variant=variant), out)


@connected
def bom(client: Client, model: Reference, *, out: Out = None) -> None:
    """What a version is made of, for programs: CycloneDX 1.6 with its files, data, libraries and model card."""
    _give(client.bill(model.model, model.version), out)


def _give(document: bytes, out: Path | None) -> None:
    if out is None:
        print(document.decode(), end="")
        return
    write_file(out, document)
    say(f"{out} is written")
