"""Drift: what monitoring found, wherever a model runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query

from edgeops import limits
from edgeops.api.shapes import ChannelDrift, Drift, DriftFinding, EstimatedError, Page, QualityIssue, shape_of
from edgeops.drift import finding as judged
from edgeops.drift.finding import Verdict
from edgeops.drift.movement import movement
from edgeops.drift.spells import says_something
from edgeops.errors import NotFoundError
from fleet_server import roster
from fleet_server.api import pages
from fleet_server.api.callers import SCIENTIST, VIEWER
from fleet_server.api.once import Act
from fleet_server.api.pages import PagingOf
from fleet_server.api.server import ServerOf
from fleet_server.artifacts import Artifacts
from fleet_server.db import findings, models
from fleet_server.db.database import Connection
from fleet_server.db.findings import FLEET, Stream
from fleet_server.monitoring import Monitoring, running_streams

router = APIRouter(prefix="/models/{name}/drift", tags=["models"], route_class=Act)

Version = Annotated[
    int | None, Query(ge=1, le=999_999_999, description="Only of this version, also where it runs no more.")
]
Deployment = Annotated[str | None, Query(max_length=63, description="Only of this deployment.")]
Device = Annotated[str | None, Query(max_length=63, description="Of single devices, only this one.")]


@router.get("", dependencies=[VIEWER])
def read_drift(
    server: ServerOf, name: str, *, version: Version = None, deployment: Deployment = None, device: Device = None
) -> Drift:
    """What was found last, in each deployment in which a model runs now: of the fleet, and of single devices."""
    with server.database.read() as connection:
        _require(connection, name, version, device)
        places = _places(connection, name, version=version, deployment=deployment, device=device)
    return _drift(name, places, server.artifacts)


@router.post("/check", dependencies=[SCIENTIST])
def check_drift(
    server: ServerOf, name: str, *, version: Version = None, deployment: Deployment = None, device: Device = None
) -> Drift:
    """Judge every window that came until now, and answer what was found."""
    with server.database.read() as connection:
        _require(connection, name, version, device)
    Monitoring(server.database, server.artifacts).judge_model(name, server.now())
    return read_drift(server, name, version=version, deployment=deployment, device=device)


@router.get("/history", dependencies=[VIEWER])
def list_findings(
    server: ServerOf,
    name: str,
    *,
    paging: PagingOf,
    version: Version = None,
    deployment: Deployment = None,
    device: Annotated[
        str | None, Query(max_length=63, description="Only of this device; an empty text = of whole fleets.")
    ] = None,
) -> Page[DriftFinding]:
    """Everything that was ever found, the latest first; a finding lasts while judgements say the same."""
    with server.database.read() as connection:
        _require(connection, name, version, None)
        rows = findings.page(
            connection,
            name,
            version=version,
            deployment=deployment,
            device_id=device,
            after=paging.after(tuple[pages.Moment, str]),
            limit=paging.wanted,
        )
    return paging.page(rows, key=lambda row: row.key, shape=_abridged)


@dataclass(frozen=True, slots=True)
class _Place:
    """One stream, and what is known of it."""

    stream: Stream
    #: Devices that run it now.
    members: frozenset[str]
    #: Nothing was judged yet where None.
    fleet: findings.Finding | None
    local: Sequence[findings.Finding]


def _require(connection: Connection, name: str, version: int | None, device: str | None) -> None:
    if models.get(connection, name) is None:
        raise NotFoundError(f"no model {name[:80]!r}; list them with: edgeops model list")
    if version is not None and models.get_version(connection, name, version) is None:
        raise NotFoundError(f"no version {version} of a model {name!r}; list them with: edgeops model show {name}")
    if device:
        roster.known(connection, device)


def _places(
    connection: Connection, name: str, *, version: int | None, deployment: str | None, device: str | None
) -> list[_Place]:
    running = running_streams(connection)
    streams = [stream for stream in running if stream.model == name and version in (None, stream.version)]
    if version is not None:
        streams += [one for one in findings.judged_streams(connection, name, version) if one not in running]
    places = []
    for stream in streams:
        if deployment in (None, stream.deployment):
            found = {one.device_id: one for one in findings.newest_of_all(connection, stream)}
            fleet = found.pop(FLEET, None)
            members = running.get(stream, frozenset(found))
            local = [
                one
                for one in found.values()
                if one.device_id in members
                and device in (None, one.device_id)
                and says_something(one.judgement.verdict, one.judgement.kinds)
            ]
            places.append(_Place(stream, members, fleet, local))
    return places


def _drift(name: str, places: Sequence[_Place], artifacts: Artifacts) -> Drift:
    found = [
        *(place.fleet for place in places if place.fleet is not None),
        *(one for each in places for one in each.local),
    ]
    verdicts = {one.judgement.verdict for one in found}
    unjudged = [place for place in places if place.fleet is None]
    if Verdict.DRIFT in verdicts:
        verdict = Verdict.DRIFT
    elif not found or unjudged or Verdict.NOT_ENOUGH_EVIDENCE in verdicts:
        verdict = Verdict.NOT_ENOUGH_EVIDENCE
    else:
        verdict = Verdict.STABLE
    decisive = next((one.judgement.reason for one in found if one.judgement.verdict is verdict), None)
    if not places:
        decisive = f"no device runs {name} there; roll it out: edgeops rollout create {name}@VERSION"
    elif decisive is None:
        decisive = _why_unjudged(unjudged[0], artifacts)
    return Drift(model=name, verdict=verdict, reason=decisive, findings=tuple(_whole(one, artifacts) for one in found))


def _why_unjudged(place: _Place, artifacts: Artifacts) -> str:
    stream = place.stream
    artifact = artifacts.get(stream.digest)
    if artifact is None:
        return f"this server does not hold {stream.model}@{stream.version}, so it cannot read what devices say of it"
    if artifact.reference is None:
        return f"{stream.model}@{stream.version} watches no channels; train it again with channels"
    return (
        f"nothing was judged yet in deployment {stream.deployment}: the first windows of its {len(place.members)} "
        f"devices are awaited; a window closes after {limits.WINDOW_ROWS} rows, an hour, or a pause of its source"
    )


def _abridged(row: findings.Finding) -> DriftFinding:
    judgement = row.judgement
    error = judgement.estimated_error
    return DriftFinding(
        id=row.id,
        model=row.stream.model,
        version=row.stream.version,
        digest=row.stream.digest,
        deployment=row.stream.deployment,
        device_id=row.device_id or None,
        verdict=judgement.verdict,
        kinds=tuple(judgement.kinds),
        class_mix_only=judgement.class_mix_only,
        reason=judgement.reason,
        rows=judgement.rows,
        windows=judgement.windows,
        rows_needed=judgement.rows_needed,
        estimated_accuracy=judgement.estimated_accuracy,
        estimated_error=None if error is None else shape_of(EstimatedError, error),
        drifted=tuple(channel.name for channel in judgement.channels if channel.drifted),
        quality=tuple(shape_of(QualityIssue, one) for one in judgement.quality),
        first_at=row.first_at,
        last_at=row.last_at,
    )


def _whole(row: findings.Finding, artifacts: Artifacts) -> DriftFinding:
    artifact = artifacts.get(row.stream.digest)
    reference = None if artifact is None else artifact.reference
    edges: dict[str, tuple[float, ...]] = {}
    discrete: set[str] = set()
    if reference is not None:
        edges = {name: tuple(row.tolist()) for name, row in zip(reference.names, reference.grid.edges, strict=True)}
        discrete = {channel.name for channel in reference.channels if channel.discrete}
    channels = tuple(
        _channel(one, edges.get(one.name, ()), discrete=one.name in discrete) for one in row.judgement.channels
    )
    return _abridged(row).model_copy(update={"channels": channels})


def _channel(one: judged.ChannelFinding, edges: tuple[float, ...], *, discrete: bool) -> ChannelDrift:
    return ChannelDrift(
        name=one.name,
        kind=one.kind,
        distance=one.distance,
        floor=one.floor,
        p_value=one.p_value,
        effective_rows=one.effective_rows,
        drifted=one.drifted,
        movement=movement(one.reference_histogram, one.window_histogram, discrete=discrete),
        edges=edges,
        reference_histogram=one.reference_histogram,
        window_histogram=one.window_histogram,
    )
