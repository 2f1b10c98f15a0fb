"""Recipes: how models can be learnt here, by EdgeOps and by files of this server's owner."""

from pathlib import Path

from fastapi import APIRouter

from edgeops.api.shapes import Page, Recipe
from edgeops.errors import ConfigError
from fleet_server.api.callers import VIEWER
from fleet_server.api.server import ServerOf
from fleet_server.ml.recipes.catalog import RECIPES
from fleet_server.ml.recipes.folder import read_recipe, recipe_names
from fleet_server.ml.recipes.plan import with_task_options

router = APIRouter(prefix="/recipes", tags=["models"], dependencies=[VIEWER])


@router.get("")
def list_recipes(server: ServerOf) -> Page[Recipe]:
    """All recipes: those of EdgeOps first, then the files in the folder `recipes` of the server's data."""
    ours = [
        Recipe(
            name=name.value,
            about=one.about,
            tasks=tuple(sorted(one.tasks)),
            options=tuple(sorted(with_task_options(one.options, one.tasks))),
        )
        for name, one in RECIPES.items()
    ]
    theirs = [_shape(server.config.recipes, name) for name in recipe_names(server.config.recipes)]
    return Page(items=(*ours, *theirs))


def _shape(folder: Path, name: str) -> Recipe:
    try:
        file = read_recipe(folder, name)
    except ConfigError as error:
        return Recipe(name=name, about="", tasks=(), options=(), flaw=str(error))
    return Recipe(
        name=name,
        about=file.about,
        tasks=tuple(sorted(file.tasks)),
        options=tuple(sorted(with_task_options(file.options, file.tasks))),
        digest=file.digest,
    )
