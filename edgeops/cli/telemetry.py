"""`edgeops telemetry`: what devices see and answer, as it arrives."""

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice, takewhile
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import FleetHour, Prediction, TelemetryWindow
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Limit, OfDeployment, parse_moment
from edgeops.cli.output import print_json, print_json_line, print_table, printable, short_digest

app = typer.Typer(help="What devices see and answer.", no_args_is_help=True)

_POLL_S = 0.5


@app.command()
@connected
def tail(
    client: Client,
    *,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="ID", autocompletion=completion.devices, help="Only of this device, and its latest answers too."
        ),
    ] = None,
    deployment: OfDeployment = None,
    last: Annotated[int, typer.Option(min=0, max=1000, help="Begin with so many that came before.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line (NDJSON).")] = False,
) -> None:
    """Windows as they arrive, one line each, until Ctrl-C."""
    if device is not None:
        client.device(device)
    try:
        if not as_json:
            say("waiting for windows; Ctrl-C ends")
        for news in follow(client, device=device, deployment=deployment, last=last):
            if as_json:
                kind = "window" if isinstance(news, TelemetryWindow) else "prediction"
                print_json_line({"kind": kind, **news.model_dump(mode="json")})
            else:
                print(printable(line(news)), flush=True)
    except KeyboardInterrupt:
        return


@app.command()
@connected
def hours(
    client: Client,
    *,
    deployment: OfDeployment = None,
    model: Annotated[
        str | None, typer.Option(autocompletion=completion.models, help="Only by artifacts of this model.")
    ] = None,
    from_: Annotated[
        datetime | None, typer.Option("--from", parser=parse_moment, metavar="MOMENT", help="Began at or after this.")
    ] = None,
    to: Annotated[
        datetime | None, typer.Option("--to", parser=parse_moment, metavar="MOMENT", help="Began before this.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """All devices together, summed by hour, deployment and artifact, oldest first."""
    found = list(islice(client.fleet_telemetry(deployment=deployment, model=model, since=from_, until=to), limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("hour", "deployment", "artifact", "devices>", "windows>", "rows>", "errors>", "p50 us>", "p95 us>", "bytes>"),
        [
            (
                one.hour,
                one.deployment,
                _artifact(one),
                one.devices,
                one.windows,
                one.rows,
                one.errors,
                one.latency_p50_us,
                one.latency_p95_us,
                one.record_bytes,
            )
            for one in found
        ],
        empty="no windows yet",
    )


def follow(
    client: Client, *, device: str | None = None, deployment: str | None = None, last: int = 0
) -> Iterator[TelemetryWindow | Prediction]:
    """The `last` windows, then those that arrive, each once; of one device its latest answers too, as they change."""
    before = client.latest_arrivals(max(last, 1), device=device, deployment=deployment)
    yield from before[len(before) - last :]
    since = before[-1].received_at if before else None
    # Arrivals are asked for from the last one's moment on, so those of that moment come again.
    again = () if since is None else client.arrivals(since=since, device=device, deployment=deployment)
    shown = {_key(one) for one in takewhile(lambda one: one.received_at == since, again)}
    answered: dict[str, Prediction] = {}
    while True:
        for window in client.arrivals(since=since, device=device, deployment=deployment):
            if _key(window) in shown:
                continue
            shown = {_key(window)} | (shown if window.received_at == since else set())
            since = window.received_at
            yield window
        if device is not None:
            for answer in client.latest_predictions(device):
                if deployment in (None, answer.deployment) and answered.get(answer.deployment) != answer:
                    answered[answer.deployment] = answer
                    yield answer
        time.sleep(_POLL_S)


def in_words(answer: Prediction) -> str:
    """A class by its name, a number, or a score and whether it is an alarm."""
    if answer.label is not None:
        return answer.label
    return f"{answer.answer:g}, alarm" if answer.alarm else f"{answer.answer:g}"


def line(news: TelemetryWindow | Prediction) -> str:
    """A window or an answer in one line for people."""
    if isinstance(news, Prediction):
        what = f"answer   {in_words(news)} to input {news.input_id}, confidence {news.confidence:.3f}"
        return f"{_clock(news.answered_at)}  {news.deployment}  {what}"
    faults = f", {news.errors} errors" if news.errors else ""
    drops = f", {news.dropped} dropped" if news.dropped else ""
    return (
        f"{_clock(news.closed_at)}  {news.device_id}  {news.deployment}  {short_digest(news.digest)}  {news.phase}  "
        f"{news.rows} rows in {news.duration_ms / 1000:.1f} s{faults}{drops}, p50 {news.latency_p50_us} us, "
        f"{len(news.channels)} channels, {news.record_bytes} B"
    )


def _key(window: TelemetryWindow) -> tuple[str, str]:
    return window.device_id, window.id


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"


def _artifact(hour: FleetHour) -> str | None:
    if hour.model is None:
        return short_digest(hour.digest)
    return f"{hour.model}@{hour.version} {hour.variant}"
