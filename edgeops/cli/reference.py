"""MODEL@VERSION, as people write it. It knows nothing about what exists."""

import re
from dataclasses import dataclass

import typer

_REFERENCE = re.compile(r"([a-z0-9][a-z0-9-]{2,62})@v?([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of one model."""

    model: str
    version: int

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


def parse_model_version(text: str) -> ModelVersion:
    """Read `digits@3`.

    Raises:
        typer.BadParameter: something else; the message says what is wrong with it.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is not MODEL@VERSION; expected for example digits@1 (see `edgeops model list`)"
        )
    return ModelVersion(match[1], int(match[2]))
