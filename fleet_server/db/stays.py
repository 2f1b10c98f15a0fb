"""The store of stays, read only: which version of a model ran where, of what installations tell."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from edgeops.rollout.installation import InstallationState
from edgeops.rollout.stays import STAYED, Held, Stay, find_stays
from fleet_server.db.many import portions
from fleet_server.db.tables import artifacts, installations

#: The device came to run the model: `edgeops.rollout.stays` says why in trial nothing stays.
_ENDED = (
    installations.c.state.in_(list(STAYED))
    & installations.c.finished_at.is_not(None)
    & (
        (installations.c.state != InstallationState.ROLLED_BACK)
        | (installations.c.finished_at < installations.c.updated_at)
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedStay:
    """A version ran on a deployment of a device."""

    installation: str
    rollout: str
    device: str
    deployment: str
    version: int
    variant: str
    digest: str
    since: datetime
    #: None = it runs there, as far as is known.
    until: datetime | None


def page(
    connection: Connection, model: str, *, version: int | None = None, after: str | None = None, limit: int
) -> list[PlacedStay]:
    """Stays of a model, the last asked first; `after` is the installation of the last one of the page before."""
    query = (
        select(installations, artifacts.c.version, artifacts.c.variant)
        .join(artifacts, artifacts.c.digest == installations.c.digest)
        .where(artifacts.c.model == model, _ENDED)
        .order_by(installations.c.id.desc())
        .limit(limit)
    )
    if version is not None:
        query = query.where(artifacts.c.version == version)
    if after is not None:
        query = query.where(installations.c.id < after)
    rows = connection.execute(query).all()
    stays = _stays(connection, [(row.device_id, row.deployment) for row in rows])
    return [
        PlacedStay(
            installation=row.id,
            rollout=row.rollout_id,
            device=row.device_id,
            deployment=row.deployment,
            version=row.version,
            variant=row.variant,
            digest=row.digest,
            since=stays[row.id].since,
            until=stays[row.id].until,
        )
        for row in rows
    ]


def _stays(connection: Connection, places: Iterable[tuple[str, str]]) -> dict[str, Stay]:
    """All stays on these deployments, by installation."""
    wanted = set(places)
    found: dict[tuple[str, str], list[Held]] = defaultdict(list)
    for ids in portions(sorted({device for device, _ in wanted})):
        query = select(installations).where(installations.c.device_id.in_(ids), _ENDED)
        for row in connection.execute(query):
            if (row.device_id, row.deployment) in wanted:
                found[row.device_id, row.deployment].append(
                    Held(
                        id=row.id,
                        digest=row.digest,
                        state=InstallationState(row.state),
                        finished_at=row.finished_at,
                        updated_at=row.updated_at,
                    )
                )
    return {stay.installation: stay for held in found.values() for stay in find_stays(held)}
