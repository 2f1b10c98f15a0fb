"""Runs: trainings, asked for and remembered."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from edgeops import limits
from edgeops.api.shapes import (
    Benchmark,
    Epoch,
    FieldProblem,
    Job,
    Page,
    Run,
    RunDifference,
    RunRequest,
    WorkPreview,
    shape_of,
)
from edgeops.errors import ConfigError, NotFoundError
from edgeops.learning.curves import Curve, draw_curves
from edgeops.learning.run_difference import run_difference
from edgeops.protocol.messages import Digest
from fleet_server.api.callers import VIEWER, Scientist
from fleet_server.api.datasets import known_head
from fleet_server.api.jobs import preview_of, queue_job
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.problems import FieldError
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import benchmarks, epochs, models, runs
from fleet_server.db.database import Connection
from fleet_server.db.jobs import Train
from fleet_server.known_work import known_job
from fleet_server.ml.recipes.folder import read_recipe, recipe_names
from fleet_server.ml.recipes.names import RecipeName

router = APIRouter(prefix="/runs", tags=["models"], route_class=Act)


@router.post("", status_code=202)
def start_run(server: ServerOf, caller: Scientist, wanted: RunRequest) -> Job:
    """Train a model on the newest snapshot of a dataset; a job does it."""
    return queue_job(server, caller, _train(server, wanted))


@router.post("/preview", dependencies=[VIEWER])
def preview_run(server: ServerOf, wanted: RunRequest) -> WorkPreview:
    """Whether such a training was done before, on the same rows and by the same code; nothing is queued."""
    train = _train(server, wanted)
    with server.database.read() as connection:
        return preview_of(known_job(connection, train))


@router.get("", dependencies=[VIEWER])
def list_runs(
    server: ServerOf,
    paging: PagingOf,
    model: Annotated[str | None, Query(max_length=100, description="Only of this model.")] = None,
) -> Page[Run]:
    """Runs, newest first, also those that failed."""
    with server.database.read() as connection:
        rows = runs.page(connection, paging.after(str), paging.wanted, model=model)
        became = models.versions_of_runs(connection, [row.id for row in rows])
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shown_run(row, became))


@router.get("/{run_id}", dependencies=[VIEWER])
def read_run(server: ServerOf, run_id: str) -> Run:
    """One run, with what devices measured of its version."""
    with server.database.read() as connection:
        run = _known(connection, run_id)
        became = models.versions_of_runs(connection, [run.id])
        measured = benchmarks.of_run(connection, run.id)
    shown = tuple(shape_of(Benchmark, one) for one in measured)
    return shown_run(run, became).model_copy(update={"benchmarks": shown})


@router.get("/{run_id}/epochs", dependencies=[VIEWER])
def list_epochs(
    server: ServerOf,
    paging: PagingOf,
    run_id: str,
    after: Annotated[int, Query(ge=0, le=limits.MAX_EPOCHS, description="Only those behind this number.")] = 0,
) -> Page[Epoch]:
    """How a training went, pass by pass; while it runs, as far as it is."""
    with server.database.read() as connection:
        run = _known(connection, run_id)
        rows = epochs.page(connection, run.id, paging.after(int) or after, paging.wanted)
    return paging.page(rows, key=lambda row: row.number, shape=lambda row: shape_of(Epoch, row))


@router.get("/{run_id}/difference", dependencies=[VIEWER])
def read_difference(
    server: ServerOf, run_id: str, to: Annotated[str, Query(max_length=100, description="Another run.")]
) -> RunDifference:
    """How another run differs from this one: what it was asked, where it ran, what the judge measured."""
    with server.database.read() as connection:
        old, new = (_known(connection, one) for one in (run_id, to))
    found = run_difference((_asked(old), _asked(new)), (old.environment, new.environment), (old.metrics, new.metrics))
    return RunDifference(old=old.id, new=new.id, **msgspec.to_builtins(found))


@router.get("/{run_id}/picture", dependencies=[VIEWER], response_class=Response)
def read_picture(
    server: ServerOf,
    run_id: str,
    beside: Annotated[
        tuple[str, ...], Query(max_length=limits.MAX_CURVES - 1, description="Other runs, in the same picture.")
    ] = (),
) -> Response:
    """The losses of a run over its epochs (SVG); while it runs, as far as it is."""
    with server.database.read() as connection:
        told = [
            (run, epochs.page(connection, run.id, 0, limits.MAX_EPOCHS))
            for run in (_known(connection, one) for one in (run_id, *beside))
        ]
        became = models.versions_of_runs(connection, [run.id for run, _ in told])
    curves = [
        Curve(
            name=f"{run.model}@{became[run.id]}" if run.id in became else f"{run.model} {run.id}",
            numbers=[one.number for one in passed],
            training=[one.training_loss for one in passed],
            validation=[one.validation_loss for one in passed],
        )
        for run, passed in told
    ]
    return Response(draw_curves(curves), media_type="image/svg+xml")


def _asked(run: runs.Run) -> dict[str, Any]:
    return {
        "model": run.model,
        "snapshot": run.snapshot,
        "recipe": run.recipe,
        "seed": run.seed,
        **run.parameters,
        "variants": run.variants,
        "healing": None if run.healing is None else msgspec.to_builtins(run.healing),
        "calibration": run.calibration,
    }


def _known(connection: Connection, run_id: str) -> runs.Run:
    run = runs.get(connection, run_id)
    if run is None:
        raise NotFoundError(f"no run {run_id[:80]!r}; list them with: edgeops run list")
    return run


def shown_run(run: runs.Run, became: Mapping[str, int]) -> Run:
    """A run with the version that it became, if it did."""
    return shape_of(Run, run).model_copy(update={"version": became.get(run.id)})


def _train(server: Server, wanted: RunRequest) -> Train:
    return Train(
        dataset=wanted.dataset,
        snapshot=known_head(server, wanted.dataset).digest,
        model=wanted.model,
        recipe=wanted.recipe,
        recipe_file=_recipe_file(server, wanted.recipe),
        seed=wanted.seed,
        epochs=wanted.epochs,
        options=wanted.options,
        variants=wanted.variants,
        folds=wanted.folds,
    )


def _recipe_file(server: Server, name: str) -> Digest | None:
    """Of a sound file of the owner's; None = it is a recipe of EdgeOps."""
    if name in set(RecipeName):
        return None
    theirs = recipe_names(server.config.recipes)
    try:
        if name in theirs:
            return read_recipe(server.config.recipes, name).digest
        detail = f"no recipe {name!r}; there are {', '.join((*RecipeName, *theirs))}"
    except ConfigError as error:
        detail = str(error)
    raise FieldError(FieldProblem(pointer="#/recipe", detail=detail))
