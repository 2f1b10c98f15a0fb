"""Tells devices to show themselves while a wave needs it, and to stop when it does not.

A device is told with the offer (`begin`); everything after that follows from what is true now: `ShadowKeeper` compares
what devices are told with what waves need, so it may be killed anywhere and misses nothing. How much a device is told
is decided in `edgeops.rollout.shadowing`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from edgeops.protocol.messages import DesiredDeployment, Shadowing
from edgeops.rollout.health.device import DeviceHealth
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import OPEN
from edgeops.rollout.shadowing import is_to_be_renewed, of_asked, of_control
from edgeops.rollout.waves import control_positions
from fleet_server.db import devices, evidence, installations, rollouts, shadowings
from fleet_server.db.database import Connection, Database
from fleet_server.db.evidence import Shows
from fleet_server.db.installations import Installation
from fleet_server.db.rollouts import Rollout
from fleet_server.db.shadowings import Shadowed
from fleet_server.incumbents import incumbent_of

#: Devices told in one transaction, so that the write lock is held for moments only.
_BATCH = 50
#: How often it is looked who is told what.
_REST = timedelta(seconds=2)
_ASKED = frozenset({InstallationState.OFFERED, InstallationState.INSTALLING})


def begin(connection: Connection, rollout: Rollout, installation: Installation) -> Shadowing:
    """What a device is told with the offer; what it runs now is remembered as the incumbent."""
    device = devices.get(connection, installation.device_id)
    reported = device.reported.deployments if device and device.reported else ()
    incumbent = incumbent_of(reported, installation.deployment, installation.digest)
    shadowed = rollout.policy.shadow_share > 0 and incumbent is not None
    proven = None
    if incumbent is not None:
        proven = installations.last_committed(
            connection, installation.device_id, installation.deployment, besides=installation.id, digest=incumbent
        )
    health = DeviceHealth(
        shadowed=shadowed,
        tried_alone=not rollout.policy.bake,
        shadow_share=rollout.policy.shadow_share if shadowed else 0.0,
        memory_before_bytes=proven.evidence.memory_bytes if proven else 0,
    )
    shows = Shows(incumbent=incumbent, session=device.session_counter if device else 0, health=health)
    evidence.keep(connection, {installation.id: shows})
    return of_asked(rollout.policy)


class ShadowKeeper:
    """Call `run_once` again and again, from one thread of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looks_at: datetime | None = None

    def run_once(self, now: datetime) -> int:
        """Tell everybody who is told something else than is needed; how many there were."""
        if self._looks_at is not None and self._looks_at - _REST <= now < self._looks_at:
            return 0
        self._looks_at = now + _REST
        with self._database.read() as connection:
            due = list(_due(connection, now))
        for start in range(0, len(due), _BATCH):
            with self._database.write() as connection:
                for device_id, before, shadowing in due[start : start + _BATCH]:
                    _tell(connection, device_id, before, shadowing, now)
        return len(due)


def _due(connection: Connection, now: datetime) -> Iterator[tuple[str, DesiredDeployment, Shadowing | None]]:
    control = _control(connection)
    for told in shadowings.told(connection):
        needed = control.pop((told.device_id, told.wanted.deployment), None)
        kept = told.wanted.shadowing if _shows_itself(told) else needed[1] if needed else None
        renewed = kept is not None and is_to_be_renewed(kept, told.told_at, now)
        if kept != told.wanted.shadowing or renewed:
            yield told.device_id, told.wanted, kept
    for (device_id, _), (wanted, shadowing) in control.items():
        yield device_id, wanted, shadowing


def _shows_itself(told: Shadowed) -> bool:
    """It was asked, and its health is not judged yet: that of its wave, or as a device that came late its own."""
    if told.state in _ASKED:
        return True
    if told.state != InstallationState.COMMITTED:
        return False
    return told.is_judged_alone or (told.rollout_state in OPEN and told.wave_is_open)


def _control(connection: Connection) -> dict[tuple[str, str], tuple[DesiredDeployment, Shadowing]]:
    """Who is held back while a wave shows itself, and what each is told."""
    needed: dict[tuple[str, str], tuple[DesiredDeployment, Shadowing]] = {}
    for rollout in rollouts.showing(connection):
        waves = rollouts.waves_of(connection, rollout.id)
        positions = control_positions([wave.control for wave in waves], rollout.wave)
        present = waves[rollout.wave]
        if positions and present.started_at is not None and not present.has_passed:
            for place, wanted in shadowings.held_back(connection, rollout.id, positions).items():
                needed[place] = wanted, of_control(rollout.policy)
    return needed


def _tell(
    connection: Connection, device_id: str, before: DesiredDeployment, shadowing: Shadowing | None, now: datetime
) -> None:
    wanted = devices.wanted_by_device(connection, [device_id])[device_id]
    if before in wanted:  # else something newer is wanted already
        devices.set_desired(connection, device_id, replace(before, shadowing=shadowing), now)
