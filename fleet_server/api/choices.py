"""Which variant of a version to take, told and drawn; nothing is kept of the question."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from edgeops.api.shapes import Choice, shape_of
from edgeops.chart import Chart, Series, draw
from edgeops.learning import variants
from edgeops.learning.variants import USUAL_LOSS_POINTS, VariantBudgets, choose
from fleet_server.api.callers import VIEWER
from fleet_server.api.models import VersionNumber, known_version
from fleet_server.api.server import Server, ServerOf

router = APIRouter(prefix="/models/{name}/versions/{version}", tags=["models"], dependencies=[VIEWER])


def _budgets(
    loss_points: Annotated[
        float, Query(ge=0, le=100, description="What may be lost against float32, in points of a hundred.")
    ] = USUAL_LOSS_POINTS,
    size_bytes: Annotated[int | None, Query(ge=1, description="Of the file as devices fetch it.")] = None,
    p95_latency_ms: Annotated[float | None, Query(gt=0, description="Where it was judged, one thread.")] = None,
) -> VariantBudgets:
    return VariantBudgets(loss_points=loss_points, size_bytes=size_bytes, p95_latency_ms=p95_latency_ms)


BudgetsOf = Annotated[VariantBudgets, Depends(_budgets)]


@router.get("/choice")
def read_choice(server: ServerOf, name: str, version: VersionNumber, budgets: BudgetsOf) -> Choice:
    """Which variant to take: the smallest that its promotion gate let pass and that keeps the budgets."""
    return shape_of(Choice, _choice(server, name, version, budgets))


@router.get("/choice.svg", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}})
def read_choice_picture(server: ServerOf, name: str, version: VersionNumber, budgets: BudgetsOf) -> Response:
    """The same as a picture: what each variant loses, over its size."""
    chart = chart_of(_choice(server, name, version, budgets), title=f"{name}@{version}")
    return Response(draw(chart), media_type="image/svg+xml")


def chart_of(choice: variants.Choice, *, title: str) -> Chart:
    """Size across, loss upwards: what nothing else beats is joined by a line; the chosen one is named so."""
    efficient = [one for one in choice.costs if one.is_efficient]
    front = Series(
        name="not beaten in size and loss at once",
        xs=[one.size_bytes / 1024 for one in efficient],
        ys=[one.loss_points for one in efficient],
    )
    every = Series(
        name="variants",
        xs=[one.size_bytes / 1024 for one in choice.costs],
        ys=[one.loss_points for one in choice.costs],
        is_line=False,
        notes=[f"{one.variant} (taken)" if one.variant is choice.chosen else one.variant for one in choice.costs],
    )
    series = (front, every) if len(efficient) > 1 else (every,)
    return Chart(title=title, x="size, KiB", y="lost against float32, points", series=series)


def _choice(server: Server, name: str, version: int, budgets: VariantBudgets) -> variants.Choice:
    _, artifacts = known_version(server, name, version)
    return choose([one.describe() for one in artifacts], budgets)
