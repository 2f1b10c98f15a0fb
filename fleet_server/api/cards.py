"""What a version tells of itself: its model card, and its bill of materials."""

from typing import Annotated, Any, assert_never

import msgspec
from fastapi import APIRouter, Query, Response

from edgeops.artifact.manifest import Variant
from edgeops.artifact.package import open_artifact
from edgeops.card.bill import MEDIA_TYPE, write_bill
from edgeops.card.card import CardFormat, make_card
from edgeops.card.facts import Facts, Trial
from edgeops.card.page import write_page
from edgeops.errors import NotFoundError
from edgeops.learning.attribution import ColumnShare
from edgeops.learning.folds import Folds
from edgeops.learning.scrutiny import Scrutiny
from fleet_server.api.callers import VIEWER
from fleet_server.api.models import VersionNumber, file_of, known_artifacts, known_version
from fleet_server.api.promises import may_fail
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import benchmarks, datasets, models, runs

router = APIRouter(prefix="/models/{name}/versions/{version}", tags=["models"], dependencies=[VIEWER])

_MEDIA_TYPES = {CardFormat.HTML: "text/html", CardFormat.MARKDOWN: "text/markdown"}


@router.get(
    "/card",
    response_class=Response,
    responses={200: {"content": dict[str, Any].fromkeys(_MEDIA_TYPES.values(), {})}, **may_fail(409)},
)
def read_card(
    server: ServerOf,
    name: str,
    version: VersionNumber,
    as_: Annotated[CardFormat, Query(alias="as")] = CardFormat.HTML,
    variant: Annotated[Variant | None, Query(description="Whose answers are told of; int8 if there is one.")] = None,
) -> Response:
    """What a version is for, made of, worth and not able to, for people who may see its run: groups are named."""
    artifact = _usual(known_artifacts(server, name, version, variant), name, version)
    inside = open_artifact(file_of(server, artifact)).card
    card = make_card(_facts(server, name, version), artifact.variant, inside=inside)
    match as_:
        case CardFormat.HTML:
            content = write_page(card)
        case CardFormat.MARKDOWN:
            content = str(card)
        case _:
            assert_never(as_)
    return Response(content, media_type=_MEDIA_TYPES[as_])


@router.get("/bom", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
def read_bill(server: ServerOf, name: str, version: VersionNumber) -> Response:
    """What a version is made of, for programs: a CycloneDX 1.6 document with files, data and libraries."""
    return Response(write_bill(_facts(server, name, version)), media_type=MEDIA_TYPE)


def _usual(artifacts: list[models.Artifact], name: str, version: int) -> models.Artifact:
    if not artifacts:
        raise _untold(name, version)
    return next((one for one in artifacts if one.variant is Variant.INT8), artifacts[0])


def _facts(server: Server, name: str, version: int) -> Facts:
    row, artifacts = known_version(server, name, version)
    if not artifacts:
        raise _untold(name, version)
    with server.database.read() as connection:
        run = runs.get(connection, row.run_id)
        assert run is not None, "a version is of a run"
        snapshot = datasets.get_snapshot(connection, run.snapshot)
        assert snapshot is not None, "a run is on a snapshot"
        tried = benchmarks.of_run(connection, run.id)
    judged = run.judgement.get("variants", {})
    return Facts(
        model=name,
        version=version,
        created_at=row.created_at,
        run=run.id,
        files=tuple(one.describe() for one in artifacts),
        dataset=snapshot.dataset,
        schema=snapshot.schema,
        erased_at=snapshot.erased_at,
        warnings=run.warnings,
        scrutinies={Variant(one): msgspec.convert(found, Scrutiny) for one, found in judged.items()},
        folds=msgspec.convert(run.judgement["folds"], Folds) if "folds" in run.judgement else None,
        shares=msgspec.convert(run.judgement.get("shares", ()), tuple[ColumnShare, ...]),
        trials=tuple(
            Trial(variant=Variant(one.variant), device_class=one.device_class, outcome=one.outcome, words=one.detail)
            for one in tried
            if one.outcome is not None
        ),
    )


def _untold(name: str, version: int) -> NotFoundError:
    return NotFoundError(f"{name}@{version} has no artifact that could be told of; train another version")
