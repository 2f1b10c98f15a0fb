"""Gathers what `edgeops.rollout.hindrance` needs to say why a device does not turn to another model."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from edgeops.artifact.compatibility import incompatibilities
from edgeops.protocol.messages import DeploymentState, Presence
from edgeops.rollout.hindrance import Hindrance, Part, Situation, hindrances
from edgeops.rollout.pins import Pin, forbidding
from fleet_server.db import devices, models, offers, parts, pins, rollouts
from fleet_server.db.database import Connection
from fleet_server.db.devices import Device
from fleet_server.db.rollouts import Installation, Rollout, Wave

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Why:
    """One deployment, and what holds it."""

    situation: Situation
    hindrances: tuple[Hindrance, ...]


def why(connection: Connection, device: Device, now: datetime) -> tuple[Why, ...]:
    """What holds each deployment that the device reports, should run, or has a part in a rollout with."""
    told = {one.deployment: one for one in (device.reported.deployments if device.reported else ())}
    wanted = {one.deployment: one.digest for one in devices.wanted_by_device(connection, [device.id])[device.id]}
    newest = parts.newest_of(connection, device.id)
    pinned = pins.of(connection, device.id)
    found = []
    for name in sorted({*told, *wanted, *newest}):
        installation = newest.get(name)
        situation = _situation(
            connection, device, name, told.get(name), wanted.get(name), installation, pinned=pinned, now=now
        )
        found.append(Why(situation, hindrances(situation, now)))
    return tuple(found)


def _situation(  # noqa: PLR0917 - what is known of one deployment, source by source
    connection: Connection,
    device: Device,
    deployment: str,
    told: DeploymentState | None,
    desired: str | None,
    installation: Installation | None,
    *,
    pinned: tuple[Pin, ...],
    now: datetime,
) -> Situation:
    known: dict[str, Any] = {} if told is None else {"told": told.state, "reason": told.reason, "detail": told.detail}
    return Situation(
        deployment=deployment,
        removed=device.removed_at is not None,
        quarantined=device.quarantined,
        online=device.presence is Presence.ONLINE,
        last_seen_at=device.last_seen_at,
        active=None if told is None else told.active,
        desired=desired,
        pin=None if installation is None else forbidding(pinned, deployment, installation.digest, now),
        misfits=() if installation is None else _misfits(connection, device, installation.digest),
        part=None if installation is None else _part(connection, installation, now),
        **known,
    )


def _misfits(connection: Connection, device: Device, digest: str) -> tuple[str, ...]:
    artifact = models.artifact_by_digest(connection, digest)
    if artifact is None or device.reported is None:
        return ()
    return incompatibilities(artifact.describe(), device.reported.facts)


def _part(connection: Connection, installation: Installation, now: datetime) -> Part:
    rollout = rollouts.get(connection, installation.rollout_id)
    assert rollout is not None, "an installation belongs to a rollout"
    waves = rollouts.waves_of(connection, rollout.id)
    return Part(
        rollout_id=rollout.id,
        rollout_state=rollout.state,
        rollout_reason=rollout.reason,
        starts_at=rollout.starts_at,
        state=installation.state,
        detail=installation.detail or ("" if installation.reason == "none" else installation.reason),
        digest=installation.digest,
        wave=installation.wave,
        present_wave=rollout.wave,
        waves=len(waves),
        control=waves[installation.wave].control,
        gate=_gate(rollout, waves[rollout.wave]),
        not_before=installation.not_before,
        in_flight=offers.in_flight(connection, rollout.id),
        max_in_flight=rollout.policy.max_in_flight,
        asked_lately=offers.offered_since(connection, rollout.id, now - _MINUTE),
        rate_per_minute=rollout.policy.rate_per_minute,
    )


def _gate(rollout: Rollout, wave: Wave) -> str:
    """What the present wave has shown: the last verdict, or how far it came."""
    if wave.verdict is not None:
        return str(wave.verdict["reason"])
    if not wave.offered:
        return f"none of {wave.size} devices was asked yet"
    progress = f"{wave.committed} of {wave.offered} devices committed"
    if wave.bakes_since is None:
        return progress
    return f"{progress}; it bakes until {wave.bakes_since + rollout.policy.bake:%H:%M:%S} UTC at least"
