"""Gathers what `edgeops.rollout.hindrance` needs to say why a device does not turn to another model."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from edgeops.artifact.compatibility import incompatibilities
from edgeops.protocol.messages import DeploymentState, DesiredDeployment, Presence, Reason, UpdateState
from edgeops.rollout.hindrance import Hindrance, LeftOut, Part, Situation, hindrances
from edgeops.rollout.installation import InstallationState, is_final
from edgeops.rollout.pins import Pin
from edgeops.rollout.rollout import COUNTING, JUDGED, OPEN, RolloutState
from edgeops.rollout.targeting import Standing
from fleet_server.db import devices, installations, models, offers, parts, pins, rollouts
from fleet_server.db.database import Connection
from fleet_server.db.devices import Device
from fleet_server.db.installations import Installation
from fleet_server.db.rollouts import Rollout, Wave
from fleet_server.rollout_freeze import frozen
from fleet_server.rollout_health import health_of_one
from fleet_server.rollout_joiners import placement
from fleet_server.rollout_steps import gate_words
from fleet_server.service_clock import deaf_since, service_time

_MINUTE = timedelta(minutes=1)
#: Rollouts of one deployment that are asked whether they left a device out, newest first.
_LOOKED_BACK = 50


@dataclass(frozen=True, slots=True)
class Why:
    """One deployment, and what holds it."""

    situation: Situation
    hindrances: tuple[Hindrance, ...]


def why(connection: Connection, device: Device, now: datetime) -> tuple[Why, ...]:
    """What holds each deployment that the device reports, should run, or has a part in a rollout with."""
    reported = {one.deployment: one for one in (device.reported.deployments if device.reported else ())}
    wanted = {one.deployment: one for one in devices.wanted_by_device(connection, [device.id])[device.id]}
    newest = _parts(connection, device)
    known = {*reported, *wanted, *newest}
    pinned = pins.of(connection, device.id)
    found = []
    for name in sorted(known | rollouts.deployments(connection, COUNTING)):
        told, installation = reported.get(name), newest.get(name)
        situation = _situation(connection, device, name, told, wanted.get(name), installation, pinned=pinned, now=now)
        if name in known or situation.left_out is not None:
            found.append(Why(situation, hindrances(situation, service_time(connection, now))))
    return tuple(found)


def _parts(connection: Connection, device: Device) -> dict[str, Installation]:
    """By deployment, the part that decides: of the newest rollout that began; of a planned one where that is done."""
    begun = parts.newest_of(connection, device.id)
    at_it = {name: one for name, one in begun.items() if _is_at_it(connection, one)}
    return {**begun, **parts.planned_for(connection, device.id), **at_it}


def _is_at_it(connection: Connection, one: Installation) -> bool:
    if one.state is not InstallationState.COMMITTED:
        return not is_final(one.state)
    rollout = rollouts.get(connection, one.rollout_id)
    return rollout is not None and rollout.state in OPEN


def _situation(  # noqa: PLR0917 - what is known of one deployment, source by source
    connection: Connection,
    device: Device,
    deployment: str,
    told: DeploymentState | None,
    desired: DesiredDeployment | None,
    installation: Installation | None,
    *,
    pinned: tuple[Pin, ...],
    now: datetime,
) -> Situation:
    return Situation(
        deployment=deployment,
        removed=device.removed_at is not None,
        quarantined=device.quarantined,
        online=device.presence is Presence.ONLINE,
        last_seen_at=device.last_seen_at,
        deaf_since=deaf_since(connection, now),
        active=None if told is None else told.active,
        desired=None if desired is None else desired.digest,
        shall_run_none=desired is not None and desired.digest is None,
        pins=tuple(pin for pin in pinned if pin.concerns(deployment, now)),
        misfits=() if installation is None else _misfits(connection, device, installation),
        freeze=_freeze(connection),
        part=None if installation is None else _part(connection, installation, now),
        told=UpdateState.IDLE if told is None else told.state,
        reason=Reason.NONE if told is None else told.reason,
        detail="" if told is None else told.detail,
        left_out=_left_out(connection, device, deployment, installation, now),
    )


def _misfits(connection: Connection, device: Device, installation: Installation) -> tuple[str, ...]:
    artifact = models.artifact_by_digest(connection, installation.digest)
    if artifact is None or device.reported is None:
        return ()
    return incompatibilities(artifact.describe(), device.reported.facts, deployment=installation.deployment)


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
        detail=_detail(connection, installation),
        digest=installation.digest,
        was_asked=installation.offered_at is not None,
        is_judged_alone=installation.deadline_at is not None,
        wave=installation.wave,
        present_wave=rollout.wave,
        waves=len(waves),
        control=waves[installation.wave].control,
        gate=_gate(connection, rollout, waves[rollout.wave], installation, now),
        bakes=rollout.state is RolloutState.RUNNING and waves[rollout.wave].bakes_since is not None,
        not_before=installation.not_before,
        in_flight=offers.in_flight(connection, rollout.id),
        max_in_flight=rollout.policy.max_in_flight,
        asked_lately=offers.offered_since(connection, rollout.id, now - _MINUTE, until=now),
        rate_per_minute=rollout.policy.rate_per_minute,
    )


def _detail(connection: Connection, installation: Installation) -> str:
    """How it ended; of one that is to be asked again, how its last attempt did."""
    pending = installation.state is InstallationState.PENDING
    before = installations.attempt_before(connection, installation) if pending else None
    told = before or installation
    return told.detail or ("" if told.reason == Reason.NONE else told.reason)


def _left_out(
    connection: Connection, device: Device, deployment: str, part: Installation | None, now: datetime
) -> LeftOut | None:
    """The newest rollout that means the device, if it is newer than its newest part; not one that failed or ended."""
    for rollout in rollouts.newest_first(connection, deployment, limit=_LOOKED_BACK):
        if part is not None and rollout.id == part.rollout_id:
            return None
        placed = placement(connection, rollout, device, now) if rollout.state in COUNTING else None
        if placed is not None:
            is_there = placed.standing is Standing.CURRENT
            return None if is_there else LeftOut(rollout.id, placed.standing, placed.reason)
    return None


def _gate(connection: Connection, rollout: Rollout, wave: Wave, installation: Installation, now: datetime) -> str:
    """What the present wave, or the device if it came late, has shown; the stored verdict where waiting has ended."""
    if installation.state is InstallationState.COMMITTED and installation.deadline_at is not None:
        return health_of_one(connection, rollout, installation, now).words
    if rollout.state in JUDGED and not wave.has_passed:
        return gate_words(connection, rollout, now)
    return str(wave.verdict["reason"]) if wave.verdict else ""


def _freeze(connection: Connection) -> str:
    freeze = frozen(connection)
    if freeze is None:
        return ""
    return f"by {freeze.by} since {freeze.at:%Y-%m-%d %H:%M} UTC" + (f": {freeze.remark}" if freeze.remark else "")
