"""Runs: trainings, asked for and remembered."""

from fastapi import APIRouter

from edgeops.api.shapes import Benchmark, FieldProblem, Job, Page, Run, RunRequest, WorkPreview, shape_of
from edgeops.errors import ConfigError, NotFoundError
from edgeops.protocol.messages import Digest
from fleet_server.api.callers import VIEWER, Scientist
from fleet_server.api.datasets import known_head
from fleet_server.api.jobs import preview_of, queue_job
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.problems import FieldError
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import benchmarks, runs
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
def list_runs(server: ServerOf, paging: PagingOf) -> Page[Run]:
    """All runs, newest first."""
    with server.database.read() as connection:
        rows = runs.page(connection, paging.after(str), paging.wanted)
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shape_of(Run, row))


@router.get("/{run_id}", dependencies=[VIEWER])
def read_run(server: ServerOf, run_id: str) -> Run:
    """One run, with what devices measured of its version."""
    with server.database.read() as connection:
        run = runs.get(connection, run_id)
        measured = benchmarks.of_run(connection, run_id)
    if run is None:
        raise NotFoundError(f"no run {run_id[:80]!r}; it is named by its job: edgeops job list")
    shown = tuple(shape_of(Benchmark, one) for one in measured)
    return shape_of(Run, run).model_copy(update={"benchmarks": shown})


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
