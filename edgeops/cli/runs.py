"""`edgeops run`: trainings, those that failed too: what was asked, where they ran, how they went."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Epoch, MeasuredTwice, Run
from edgeops.cli import completion
from edgeops.cli.benchmark import print_benchmarks
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Limit, Timeout
from edgeops.cli.output import print_facts, print_json, print_json_line, print_table, printable, turned, write_file
from edgeops.cli.reference import parse_model_version
from edgeops.cli.sparkline import sparkline
from edgeops.errors import NotFoundError, ServerError, WaitTimeoutError

app = typer.Typer(help="Trainings and how they went.", no_args_is_help=True)

_POLL_S = 0.5
_RUNNING, _FAILED = "running", "failed"
_PREFIX = "run-"

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.runs,
        help="A run's id, MODEL@VERSION for the run that it came from, or a model for its newest run.",
    ),
]
Picture = Annotated[
    Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the losses over the epochs here (SVG).")
]


@app.command("list")
@connected
def list_(
    client: Client,
    *,
    model: Annotated[str | None, typer.Option(autocompletion=completion.models, help="Only of this model.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Runs, newest first."""
    found = list(islice(client.runs(model), limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("run", "model", "version>", "recipe", "seed>", "state", "created", "took>"),
        [
            (one.id, one.model, one.version, one.recipe, one.seed, one.error or one.state, one.created_at, _took(one))
            for one in found
        ],
        empty="no runs; train a model: edgeops train DATASET",
    )


@app.command()
@connected
def show(
    client: Client,
    run: RunName,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Show each epoch as it ends, until the run does.")] = False,
    picture: Picture = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """One run: what it was asked, where it ran, how it went, and what came of it."""
    found = _find(client, run)
    if follow:
        found = _follow(client, found, timeout=timeout, as_json=as_json)
    elif as_json:
        print_json({**found.model_dump(mode="json"), "epochs": list(client.epochs(found.id))})
    if not as_json:
        _print(found, list(client.epochs(found.id)))
    if picture is not None:
        _write(picture, client.run_picture(found.id))
    if follow and found.state == _FAILED:
        raise ServerError(f"run {found.id} failed: {found.error}")


@app.command()
@connected
def compare(client: Client, old: RunName, new: RunName, *, picture: Picture = None, as_json: AsJson = False) -> None:
    """Two runs side by side: parameters and surroundings that differ, figures of every variant, curves."""
    first, second = (_find(client, one) for one in (old, new))
    found = client.run_difference(first.id, second.id)
    if picture is not None:
        _write(picture, client.run_picture(first.id, beside=[second.id]))
    if as_json:
        print_json(found)
        return
    print_facts(
        {
            "runs": f"{found.old} -> {found.new}",
            **{name: turned(before, after) for name, (before, after) in found.parameters.items()},
            **{one.name or one.cause: turned(one.before, one.after) for one in found.environment},
        }
    )
    print_table(
        ("variant", "figure", "old>", "new>"),
        [(one.variant, one.name, _figure(one, 0), _figure(one, 1)) for one in found.metrics],
        empty="no figures: a run that failed or goes on has none",
    )
    for one in (first, second):
        _print_curves(one.id, list(client.epochs(one.id)))


def _find(client: Client, name: str) -> Run:
    if "@" in name:
        version = parse_model_version(name)
        return client.run(client.version(version.model, version.version).run_id)
    if name.startswith(_PREFIX):
        return client.run(name)
    newest = next(client.runs(name), None)
    if newest is None:
        raise NotFoundError(f"no run of a model {name!r}; list them with: edgeops run list")
    return newest


def _follow(client: Client, run: Run, *, timeout: timedelta | None, as_json: bool) -> Run:
    """Tell each epoch until the run ended."""
    for epoch in follow_epochs(client, run.id, timeout=timeout):
        if as_json:
            print_json_line(epoch)
        else:
            print(_told(epoch), flush=True)
    return client.run(run.id)


def follow_epochs(
    client: Client, run_id: str, *, timeout: timedelta | None = None, pause: Callable[[float], None] = time.sleep
) -> Iterator[Epoch]:
    """Every epoch of a run, the first ones at once and the others as they end, until the run does.

    Raises:
        WaitTimeoutError: it still goes on.
    """
    deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
    last = 0
    while True:
        # In this order: when it has ended, all its epochs are there.
        ended = client.run(run_id).state != _RUNNING
        for epoch in client.epochs(run_id, after=last):
            last = epoch.number
            yield epoch
        if ended:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise WaitTimeoutError(f"{run_id} still runs after {timeout}; it goes on by itself")
        pause(_POLL_S)


def _told(epoch: Epoch) -> str:
    return (
        f"epoch {epoch.number}: training loss {epoch.training_loss:.4g}, validation loss {epoch.validation_loss:.4g}, "
        f"learning rate {epoch.learning_rate:.3g}, {epoch.elapsed_s:.1f} s"
    )


def _print(run: Run, epochs: Sequence[Epoch]) -> None:
    place = run.environment
    print_facts(
        {
            "run": run.id,
            "model": run.model if run.version is None else f"{run.model}@{run.version}",
            "state": run.state,
            "error": run.error,
            "job": run.job_id,
            "snapshot": run.snapshot,
            "recipe": run.recipe,
            "seed": run.seed,
            **{name: value for name, value in run.parameters.items() if value is not None},
            "variants": ", ".join(run.variants),
            "heals": None if run.healing is None else f"labels count {run.healing.label_weight:g} times",
            "calibration": run.calibration,
            "created": run.created_at,
            "finished": run.finished_at,
            "durations": ", ".join(f"{step} {seconds:.1f} s" for step, seconds in run.durations.items()) or None,
            "python": place.python or None,
            "libraries": ", ".join(f"{name} {version}" for name, version in place.libraries.items()) or None,
            "machine": f"{place.host}, {place.platform}, {place.processor}" if place.host else None,
            "instructions": " ".join(place.instructions) or None,
            "threads": place.threads or None,
            "commit": place.commit or None,
            "not committed": place.difference,
        }
    )
    _print_curves("", epochs)
    print_table(
        ("variant", "figure", "value>"),
        [(variant, name, value) for variant, figures in run.metrics.items() for name, value in figures.items()],
        empty="no figures",
    )
    print_benchmarks(run.benchmarks)
    for warning in run.warnings:
        print(printable(f"warning: {warning}"))


def _print_curves(name: str, epochs: Sequence[Epoch]) -> None:
    """In the terminal's own letters."""
    if not epochs:
        return
    if name:
        print(name)
    best = min(epochs, key=lambda one: math.inf if math.isnan(one.validation_loss) else one.validation_loss)
    print(f"training loss    {sparkline([one.training_loss for one in epochs])} {epochs[-1].training_loss:.4g}")
    print(
        f"validation loss  {sparkline([one.validation_loss for one in epochs])} {epochs[-1].validation_loss:.4g} "
        f"(lowest {best.validation_loss:.4g} in epoch {best.number} of {epochs[-1].number})"
    )


def _figure(one: MeasuredTwice, place: int) -> str | float | None:
    value, interval = one.values[place], one.intervals[place]
    if value is None or interval is None:
        return value
    return f"{value:.4g} ({interval[0]:.4g} to {interval[1]:.4g})"


def _took(run: Run) -> str | None:
    return None if run.finished_at is None else f"{(run.finished_at - run.created_at).total_seconds():.0f} s"


def _write(file: Path, picture: bytes) -> None:
    write_file(file, picture)
    say(f"{file}: the losses over the epochs")
