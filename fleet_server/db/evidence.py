"""The store of what rollouts have shown: per device, per wave, and up to which window it was counted.

A device's sums lie in its installation, a wave's in the wave, so that they live and die with them; the cursor lies
beside them in `control`, so that sums and cursor change together. What windows mean is not decided here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, bindparam, or_, select, update

from edgeops.protocol.messages import DeploymentState, Reported
from edgeops.rollout.evidence import Proof
from edgeops.rollout.health.device import DeviceHealth
from edgeops.rollout.health.wave import Shown, left, without_device
from edgeops.rollout.installation import OPEN, InstallationState
from edgeops.rollout.rollout import JUDGED, PASSED
from fleet_server.db import settings
from fleet_server.db.installations import Installation
from fleet_server.db.many import portions
from fleet_server.db.reach import Reach
from fleet_server.db.tables import devices, installations, rollouts, waves

#: Up to which window, in the order of arrival, everything was counted.
_CURSOR = "evidence.cursor"
#: Place of a window in the order of arrival: `fleet_server.db.telemetry.Window.arrival_key`.
ArrivalKey = tuple[datetime, str, bytes, int]

#: Rollouts whose waves show something, and others whose devices that came late do.
_SHOWING = tuple(JUDGED)
_LATE_IN = tuple(PASSED)
#: What a device that came late may be in while it shows something.
_AT_WORK = (InstallationState.OFFERED, InstallationState.INSTALLING, InstallationState.COMMITTED)


class Shows(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one installation's device has shown, as it is stored with it."""

    #: What the device ran when it was asked, or runs while it is control.
    incumbent: str | None = None
    #: The windows of its past are in.
    has_past: bool = False
    #: When the first of them was opened.
    past_from: datetime | None = None
    #: Of which wave it is part of the sums; -1 = of none yet.
    wave: int = -1
    #: When the last window closed that is of no trial.
    shown_at: datetime | None = None
    #: The newest session of the device that was looked at.
    session: int = 0
    health: DeviceHealth = DeviceHealth()


class WaveShows(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one wave's devices and the control share have shown, as it is stored with it."""

    canary: Shown = Shown()
    control: Shown = Shown()
    #: How many of its devices ran which model before.
    incumbents: dict[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Distrusted:
    """What quarantined devices have shown in one wave."""

    #: How many of them have committed; others are still at it.
    committed: int
    #: What all of them added to the wave's sums.
    shown: tuple[DeviceHealth, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One installation of a rollout that goes on, as far as its windows need it."""

    id: str
    rollout_id: str
    wave: int
    device_id: str
    deployment: str
    state: InstallationState
    offered_at: datetime | None
    memory_bytes: int
    shows: Shows | None
    #: What the rollout brings, which wave is its present one, and whether it goes on with waves.
    digest: str
    present: int
    is_showing: bool
    #: The device's newest session, when its newest starts were heard of, and what it reported last.
    session: int
    starts: tuple[int, ...]
    reported: tuple[DeploymentState, ...]


def cursor(connection: Connection) -> ArrivalKey | None:
    """The last window that was counted; None = none was."""
    text = settings.read(connection, _CURSOR)
    return None if text is None else msgspec.json.decode(text, type=ArrivalKey)


def move_cursor(connection: Connection, key: ArrivalKey) -> None:
    """Everything up to this window was counted."""
    settings.write(connection, _CURSOR, msgspec.json.encode(key).decode())


def parts_on(connection: Connection, device_ids: Collection[str]) -> tuple[Part, ...]:
    """The installations on these devices whose windows count, the oldest first."""
    quiet = (InstallationState.SUPERSEDED, InstallationState.RETRIED, InstallationState.HEALTHY)
    counts = or_(
        and_(rollouts.c.state.in_(_SHOWING), installations.c.state.not_in(quiet)),
        and_(rollouts.c.state.in_(_LATE_IN), installations.c.state.in_(_AT_WORK)),
    )
    query = (
        select(
            installations,
            rollouts.c.wave.label("present"),
            rollouts.c.state.label("rollout_state"),
            devices.c.session_counter,
            devices.c.starts,
            devices.c.reported,
        )
        .join(rollouts, rollouts.c.id == installations.c.rollout_id)
        .join(devices, devices.c.id == installations.c.device_id)
        .where(counts)
        .order_by(installations.c.id)
    )
    return tuple(
        _part(row)
        for ids in portions(device_ids)
        for row in connection.execute(query.where(installations.c.device_id.in_(ids)))
    )


def shows_of(health: Mapping[str, Any] | None) -> Shows:
    """What is stored with an installation."""
    return Shows() if health is None else msgspec.convert(health, Shows)


def wave_shows_of(health: Mapping[str, Any] | None) -> WaveShows:
    """What is stored with a wave."""
    return WaveShows() if health is None else msgspec.convert(health, WaveShows)


def shown_in(connection: Connection, rollout_id: str, wave: int, *, limit: int) -> dict[str, Shows]:
    """What the devices of a wave have shown that run the new model, by device."""
    query = (
        select(installations.c.device_id, installations.c.health)
        .where(
            installations.c.rollout_id == rollout_id,
            installations.c.wave == wave,
            installations.c.state == InstallationState.COMMITTED,
        )
        .order_by(installations.c.id)
        .limit(limit)
    )
    return {row.device_id: shows_of(row.health) for row in connection.execute(query)}


def keep(connection: Connection, shown: Mapping[str, Shows]) -> None:
    """Store what installations show, by id."""
    if shown:
        statement = update(installations).where(installations.c.id == bindparam("of"))
        rows = [{"of": name, "shows": shows, "at": shows.shown_at} for name, shows in shown.items()]
        connection.execute(statement.values(health=bindparam("shows"), shown_at=bindparam("at")), rows)


def keep_waves(connection: Connection, shown: Iterable[tuple[str, int, WaveShows]]) -> None:
    """Store what waves show: (rollout, position, what)."""
    place = (waves.c.rollout_id == bindparam("of")) & (waves.c.position == bindparam("at"))
    rows = [{"of": rollout, "at": position, "shows": what} for rollout, position, what in shown]
    if rows:
        connection.execute(update(waves).where(place).values(health=bindparam("shows")), rows)


def count_starts_from(connection: Connection, installation: Installation, session: int) -> None:
    """The device took the model in this session: starts before are none of it."""
    keep(connection, {installation.id: msgspec.structs.replace(shows_of(installation.health), session=session)})


def of_open_ones(connection: Connection, rollout_id: str, wave: int) -> tuple[DeviceHealth, ...]:
    """What devices showed that are part of a wave's sums and have not ended, as one that timed out after its trial.

    Quarantined ones left out.
    """
    query = (
        select(installations.c.health)
        .join(devices, devices.c.id == installations.c.device_id)
        .where(
            installations.c.rollout_id == rollout_id,
            installations.c.wave == wave,
            installations.c.state.in_(list(OPEN)),
            installations.c.health.is_not(None),
            devices.c.quarantined.is_(False),
        )
    )
    shown = [shows_of(health) for health in connection.execute(query).scalars()]
    return tuple(one.health for one in shown if one.wave == wave)


def of_quarantined(connection: Connection, rollout_id: str, wave: int) -> Distrusted:
    """What devices of a wave showed that are not believed any more."""
    query = (
        select(installations.c.state, installations.c.health)
        .join(devices, devices.c.id == installations.c.device_id)
        .where(
            installations.c.rollout_id == rollout_id,
            installations.c.state.in_([*OPEN, InstallationState.COMMITTED]),
            installations.c.reach != Reach.READY,
            installations.c.wave == wave,
            devices.c.quarantined,
        )
    )
    rows = connection.execute(query).all()
    shown = [shows_of(row.health) for row in rows]
    return Distrusted(
        committed=sum(row.state == InstallationState.COMMITTED for row in rows),
        shown=tuple(one.health for one in shown if one.wave == wave),
    )


def leave(connection: Connection, installation: Installation) -> None:
    """An installation ended without the model: its wave waits for nothing of it, and must not take it for another.

    What it showed stays, unless its device is quarantined.
    """
    shows = shows_of(installation.health)
    if shows.wave != installation.wave:
        return
    of_wave = (waves.c.rollout_id == installation.rollout_id) & (waves.c.position == installation.wave)
    wave = wave_shows_of(connection.execute(select(waves.c.health).where(of_wave)).scalar_one())
    is_quarantined = select(devices.c.quarantined).where(devices.c.id == installation.device_id)
    without = without_device if connection.execute(is_quarantined).scalar_one() else left
    wave = msgspec.structs.replace(wave, canary=without(wave.canary, shows.health))
    keep_waves(connection, [(installation.rollout_id, installation.wave, wave)])
    keep(connection, {installation.id: msgspec.structs.replace(shows, wave=-1)})


def _part(row: Row[Any]) -> Part:
    proof = Proof() if row.evidence is None else msgspec.convert(row.evidence, Proof)
    return Part(
        id=row.id,
        rollout_id=row.rollout_id,
        wave=row.wave,
        device_id=row.device_id,
        deployment=row.deployment,
        state=InstallationState(row.state),
        offered_at=row.offered_at,
        memory_bytes=proof.memory_bytes,
        shows=None if row.health is None else shows_of(row.health),
        digest=row.digest,
        present=row.present,
        is_showing=row.rollout_state in _SHOWING,
        session=row.session_counter,
        starts=tuple(row.starts),
        reported=() if row.reported is None else msgspec.convert(row.reported, Reported).deployments,
    )
