"""What news means for rollouts: events of devices and people become steps, deadlines become events.

Each function runs inside the caller's transaction and is harmless to repeat, because an event may be. What
a step does is carried out in `fleet_server.rollout_steps`.
"""

import logging
from datetime import datetime

import msgspec

from edgeops.digest import digest_raw
from edgeops.protocol.messages import Evidence, Presence, Reason, Report, UpdateState
from edgeops.rollout import installation as installing
from edgeops.rollout.installation import InstallationEvent, InstallationState
from edgeops.rollout.rollout import RolloutEvent, RolloutState
from fleet_server.db import devices, rollouts
from fleet_server.db.database import Connection
from fleet_server.db.events import Event, EventKind
from fleet_server.reconciliation import reconcile
from fleet_server.rollout_steps import advance, end_deserted, judge, offer, overdue_words, take

#: The events that `take_in` understands.
KINDS = (
    EventKind.ROLLOUT_CREATED,
    EventKind.REPORT_RECEIVED,
    EventKind.DEVICE_REPORTED,
    EventKind.DEVICE_STATUS,
    EventKind.MODEL_WITHDRAWN,
)
_UNDER_WAY = frozenset(
    {
        UpdateState.FETCHING,
        UpdateState.VERIFYING,
        UpdateState.STAGED,
        UpdateState.PROBING,
        UpdateState.TRIAL,
    }
)

_log = logging.getLogger(__name__)


def take_in(connection: Connection, event: Event, now: datetime) -> None:
    """What one event means for rollouts and installations; harmless to repeat."""
    match event.kind:
        case EventKind.ROLLOUT_CREATED:
            _devices_ready(connection, event.subject, now)
        case EventKind.REPORT_RECEIVED:
            _take_report(connection, event.subject, msgspec.convert(event.data, _Told), now)
        case EventKind.DEVICE_REPORTED:
            _take_reported(connection, event.subject, now)
            reconcile(connection, event.subject, now)
        case EventKind.DEVICE_STATUS if event.data.get("presence") == Presence.ONLINE:
            _device_came(connection, event.subject, now)
        case EventKind.MODEL_WITHDRAWN:
            _model_withdrawn(connection, now)
        case _:
            pass


def keep_deadlines(connection: Connection, rollout_id: str, now: datetime, grace: datetime | None) -> None:
    """End what waited too long, ask who came online, and judge the wave; nothing times out before `grace`."""
    rollout = rollouts.get(connection, rollout_id)
    if rollout is None or rollout.state is not RolloutState.RUNNING:
        return
    if grace is None or now >= grace:
        timeout = rollout.policy.offer_timeout
        for installation in rollouts.overdue(connection, rollout, offered_before=now - timeout):
            words = overdue_words(timeout, installation.evidence, rollout.policy.trial_inferences)
            take(connection, installation, InstallationEvent.TIME_OUT, detail=words, now=now)
    advance(connection, rollout, RolloutEvent.DEVICES_READY, now=now)
    judge(connection, rollout, now, not_before=grace)


def device_left(connection: Connection, device_id: str, now: datetime) -> None:
    """Have rollouts wait no longer for a device that leaves the fleet; one that waits for no other ends."""
    touched: set[str] = set()
    for installation in rollouts.unfinished_on(connection, [device_id]):
        # Not withdrawn where it was asked: that would have an older model wanted of it.
        asked = installation.state is not InstallationState.PENDING
        event = InstallationEvent.TURN_AWAY if asked else InstallationEvent.WITHDRAW
        take(connection, installation, event, detail="the device was removed", now=now)
        touched.add(installation.rollout_id)
    for rollout_id in touched:
        rollout = rollouts.get(connection, rollout_id)
        assert rollout is not None
        judge(connection, rollout, now)
    end_deserted(connection, touched, reason=f"the last device it waited for, {device_id}, was removed", now=now)


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a `report.received` event."""

    installation: str
    deployment: str
    digest: str
    state: UpdateState
    reason: Reason = Reason.NONE
    detail: str = ""
    evidence: dict[str, int] | None = None

    def report(self) -> Report:
        """As the device sent it."""
        return Report(
            installation=self.installation,
            deployment=self.deployment,
            digest=digest_raw(self.digest),
            state=self.state,
            reason=self.reason,
            detail=self.detail,
            evidence=None if self.evidence is None else Evidence(**self.evidence),
        )


def _take_report(connection: Connection, device_id: str, told: _Told, now: datetime) -> None:
    installation = rollouts.get_installation(connection, told.installation)
    if installation is None:
        return  # a desired state that no rollout made
    if (installation.device_id, installation.digest) != (device_id, told.digest):
        _log.warning("report.foreign device=%s installation=%s digest=%s", device_id, told.installation, told.digest)
        return
    rollout = rollouts.get(connection, installation.rollout_id)
    assert rollout is not None
    report = told.report()
    proof = installing.with_report(installation.evidence, report)
    if proof.committed and proof.inferences == 0:
        # The model was active already: what it showed when it became so still holds.
        earlier = rollouts.last_committed(
            connection, device_id, installation.deployment, besides=installation.id, digest=installation.digest
        )
        proof = earlier.evidence if earlier else proof
    event = installing.event_of(report, proof, rollout.policy)
    changed = take(
        connection,
        installation,
        event,
        reason="" if report.reason is Reason.NONE else report.reason,
        detail=report.detail,
        proof=proof,
        now=now,
    )
    if changed:
        judge(connection, rollout, now)


def _take_reported(connection: Connection, device_id: str, now: datetime) -> None:
    """Progress only; outcomes come as reports, which are not lost."""
    device = devices.get(connection, device_id)
    for told in device.reported.deployments if device and device.reported else ():
        if told.state in _UNDER_WAY and told.installation is not None:
            installation = rollouts.get_installation(connection, told.installation)
            if installation is not None and installation.device_id == device_id:
                take(connection, installation, InstallationEvent.PROGRESS, now=now)


def _device_came(connection: Connection, device_id: str, now: datetime) -> None:
    device = devices.get(connection, device_id)
    if device is None or device.presence is not Presence.ONLINE or device.quarantined or device.removed_at:
        return
    for installation in rollouts.pending_on(connection, device_id, now=now):
        rollout = rollouts.get(connection, installation.rollout_id)
        assert rollout is not None
        asks = rollout.state in {RolloutState.RUNNING, RolloutState.FINISHED}
        if asks and installation.wave <= rollout.wave:
            offer(connection, rollout, installation, now)


def _model_withdrawn(connection: Connection, now: datetime) -> None:
    for rollout in rollouts.without_model(connection):
        reason = f"{rollout.model}@{rollout.version} {rollout.variant} was withdrawn"
        advance(connection, rollout, RolloutEvent.MODEL_WITHDRAWN, reason=reason, now=now)


def _devices_ready(connection: Connection, rollout_id: str, now: datetime) -> None:
    rollout = rollouts.get(connection, rollout_id)
    if rollout is not None and rollout.state is RolloutState.RUNNING:
        advance(connection, rollout, RolloutEvent.DEVICES_READY, now=now)
