"""`edgeops model bom`: what a version tells of itself."""

from pathlib import Path
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import Reference
from edgeops.cli.output import write_file

Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", dir_okay=False, help="The file.  [default: standard output]")
]


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
