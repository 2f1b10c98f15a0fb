"""What the waves of a rollout have shown, and what the health gate says of it, stored or as of now."""

from datetime import datetime

from fastapi import APIRouter

from edgeops.api.shapes import Evidence, WaveEvidence
from edgeops.errors import NotFoundError
from edgeops.rollout.verdict import Health, Healthy, Unhealthy
from fleet_server.api.callers import VIEWER
from fleet_server.api.server import ServerOf
from fleet_server.db import rollouts
from fleet_server.db.database import Connection
from fleet_server.db.rollouts import Rollout, Wave
from fleet_server.rollout_health import health_of

router = APIRouter(prefix="/rollouts", tags=["rollouts"])

#: Of a verdict that was acted upon; a person's override stands in place of one.
_HEALTH = {"pass": "healthy", "fail": "unhealthy", "override": "undecided"}


@router.get("/{rollout_id}/evidence", dependencies=[VIEWER])
def read_evidence(server: ServerOf, rollout_id: str) -> Evidence:
    """What each wave that was asked has shown: of one that was judged as it was then, of the present one as it is."""
    with server.database.read() as connection:
        rollout = rollouts.get(connection, rollout_id)
        if rollout is None:
            raise NotFoundError(f"no rollout {rollout_id[:80]!r}; list them with: edgeops rollout list")
        waves = [wave for wave in rollouts.waves_of(connection, rollout_id) if wave.started_at is not None]
        return Evidence(
            rollout_id=rollout_id,
            waves=tuple(_shown(connection, rollout, wave, server.now()) for wave in waves),
        )


def _shown(connection: Connection, rollout: Rollout, wave: Wave, now: datetime) -> WaveEvidence:
    stored = wave.verdict
    # Of a wave that waits, what it has shown by now tells more than what it had when it was given up.
    health = None if stored is None else _HEALTH.get(stored["verdict"])
    if stored is not None and health is not None and "findings" in stored.get("evidence", {}):
        return _wave(wave.position, health, stored["reason"], stored["evidence"], judged=True)
    found = health_of(connection, rollout, wave, now)
    return _wave(wave.position, _name(found), found.words, dict(found.evidence), judged=False)


def _wave(position: int, health: str, words: str, evidence: dict[str, object], *, judged: bool) -> WaveEvidence:
    findings = evidence.get("findings", ())
    sums = evidence.get("sums", {})
    return WaveEvidence.model_validate(
        {"position": position, "health": health, "words": words, "findings": findings, "sums": sums, "judged": judged}
    )


def _name(health: Health) -> str:
    match health:
        case Healthy():
            return "healthy"
        case Unhealthy():
            return "unhealthy"
        case _:
            return "undecided"
