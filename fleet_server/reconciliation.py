"""Holds what a device reports against what it shall run, at every contact: the truth after the commit.

What differs is an incident, and what the device shall run is sent again under a higher revision, so that it heals where
it can. It runs inside the engine's transaction, is harmless to repeat, and leaves installations alone: the engine takes
in `installation.regressed`.
"""

from dataclasses import dataclass
from datetime import datetime

from edgeops import limits
from edgeops.protocol.messages import DeploymentState, DesiredDeployment
from edgeops.rollout.deviation import agrees, deviation
from fleet_server.db import devices, events, incidents, installations
from fleet_server.db.database import Connection
from fleet_server.db.devices import Device
from fleet_server.db.events import EventKind
from fleet_server.db.incidents import Incident
from fleet_server.db.installations import Installation


@dataclass(frozen=True, slots=True)
class _Place:
    """One deployment of one device: what it does, and what it shall."""

    device: Device
    deployment: str
    told: DeploymentState | None
    wanted: DesiredDeployment | None


def reconcile(connection: Connection, device_id: str, now: datetime) -> None:
    """Open, carry on and end the incidents of one device by what it reported last."""
    device = devices.get(connection, device_id)
    if device is None or device.reported is None or device.removed_at is not None or device.quarantined:
        return
    told = {one.deployment: one for one in device.reported.deployments}
    wanted = {one.deployment: one for one in devices.wanted_by_device(connection, [device_id])[device_id]}
    running = {one.deployment: one for one in incidents.running(connection, device_id)}
    for name in sorted({*told, *wanted, *running}):
        if not agrees(told.get(name), wanted.get(name)):
            place = _Place(device, name, told.get(name), wanted.get(name))
            _look(connection, place, running.get(name), now)
        elif name in running:
            incidents.end(connection, running[name], now=now)


def device_left(connection: Connection, device_id: str, now: datetime) -> None:
    """End the incidents of a device that leaves the fleet."""
    for incident in incidents.running(connection, device_id):
        incidents.end(connection, incident, now=now)


def _look(connection: Connection, place: _Place, running: Incident | None, now: datetime) -> None:
    """A deployment runs something else than it shall: an update, or an incident."""
    device, wanted = place.device, place.wanted
    proven = wanted is not None and _is_proven(connection, wanted)
    found = deviation(place.told, wanted, proven=proven, behind=device.is_behind)
    if found is None:
        return  # what is under way will show
    if running is not None and (running.cause, running.should) != (found.cause, found.should):
        incidents.end(connection, running, now=now)
        running = None
    if running is None:
        running = incidents.begin(connection, device.id, place.deployment, found, now=now)
    else:
        running = incidents.go_on(connection, running, found, now=now)
    if running.installation_id is None:
        _attribute(connection, place, running, now)
    is_due = running.asked_at is None or now - running.asked_at >= limits.ASKED_AGAIN_AFTER
    if found.heals_by_asking and wanted is not None and is_due:
        devices.set_desired(connection, device.id, wanted, now)
        incidents.ask_again(connection, running, now=now)


def _attribute(connection: Connection, place: _Place, incident: Incident, now: datetime) -> None:
    """Tell once by which installation the device came to run what it should; its report may come after the fall."""
    proof = _brought_by(connection, place, incident.should)
    if proof is None:
        return
    incidents.attribute(connection, incident, proof.id)
    data = {"device": place.device.id, "incident": incident.id, "cause": incident.cause, "detail": incident.detail}
    events.append(connection, EventKind.INSTALLATION_REGRESSED, proof.id, data, now)


def _brought_by(connection: Connection, place: _Place, digest: str | None) -> Installation | None:
    """By what the device came to run a model last; None = by no installation, or its report has not come yet."""
    if digest is None:
        return None
    wanted = place.wanted
    if wanted is not None and wanted.digest == digest and wanted.installation is not None:
        # An older one of the same model is not what fell.
        newest = installations.get(connection, wanted.installation)
        return newest if newest is not None and newest.state in installations.PROVEN else None
    return installations.last_run(connection, place.device.id, place.deployment, digest)


def _is_proven(connection: Connection, wanted: DesiredDeployment) -> bool:
    """Whether the device has run it; what no installation names is what it was found running."""
    if wanted.installation is None:
        return True
    installation = installations.get(connection, wanted.installation)
    return installation is not None and installation.state in installations.PROVEN
