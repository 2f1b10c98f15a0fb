"""Options that several commands share, so that they are named and explained once."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeops.cli import completion
from edgeops.cli.reference import ModelVersion, parse_model_version

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Reference = Annotated[
    ModelVersion,
    typer.Argument(
        metavar="MODEL@VERSION",
        parser=parse_model_version,
        autocompletion=completion.versions,
        help="For example digits@1.",
    ),
]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", autocompletion=completion.models, help="Name of the model.")]
ModelOrVersion = Annotated[
    str,
    typer.Argument(
        metavar="MODEL[@VERSION]", autocompletion=completion.models_or_versions, help="A model, or one version of it."
    ),
]
DatasetName = Annotated[str, typer.Argument(autocompletion=completion.datasets)]
DeviceId = Annotated[
    str,
    typer.Argument(
        metavar="DEVICE", autocompletion=completion.devices, help="Id of the device, as `devices list` shows it."
    ),
]
OfDevice = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", autocompletion=completion.devices, help="Only of this device."),
]
OfDeployment = Annotated[
    str | None,
    typer.Option("--deployment", autocompletion=completion.deployments, help="Only of this deployment."),
]

Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="DIR",
        help="Where your root and targets keys lie.  [default: with the server's]",
        rich_help_panel="Server",
    ),
]


def parse_moment(text: str) -> datetime:
    """Read an RFC 3339 moment; one without offset is in this machine's time zone.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no moment; expected for example 2026-11-23T12:00:00Z") from None


def parse_span(text: str) -> timedelta:
    """Read a duration: `90`, `90s`, `15m`, `2h`, `7d`.

    Raises:
        typer.BadParameter: it is none.
    """
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in seconds else (text, "s")
    try:
        span = timedelta(seconds=float(number) * seconds[unit])
    except (ValueError, OverflowError):
        span = timedelta(0)
    if span <= timedelta(0):
        raise typer.BadParameter(f"{text!r} is no duration; expected for example 90s, 15m, 2h or 7d")
    return span


def parse_object(text: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"no JSON: {error}") from None
    if not isinstance(values, dict):
        raise typer.BadParameter('no JSON object, as in {"offer_timeout": 600}')
    return values


Timeout = Annotated[
    timedelta | None,
    typer.Option(
        "--timeout", metavar="SPAN", parser=parse_span, help="Give up waiting after this (90s, 15m, 2h); exit 9."
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most this many.")]
