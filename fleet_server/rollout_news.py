"""What news means for rollouts: events of devices and people become steps, deadlines become events.

Each function runs inside the caller's transaction and is harmless to repeat, because an event may be. What
a step does is carried out in `fleet_server.rollout_steps`.
"""

import logging
from dataclasses import replace
from datetime import datetime

import msgspec

from edgeops import limits
from edgeops.digest import digest_raw
from edgeops.protocol.messages import DeploymentState, Evidence, Presence, Reason, Report, UpdateState
from edgeops.rollout import installation as installing
from edgeops.rollout import rollout as rolling
from edgeops.rollout.blessing import Blessed
from edgeops.rollout.installation import Deadlines, InstallationEvent, InstallationState
from edgeops.rollout.pins import forbidding
from edgeops.rollout.rollout import RolloutEvent, RolloutState
from edgeops.update.update import WAITS
from fleet_server.blessings import ask_for, blessing_of
from fleet_server.db import devices, installations, offers, pins, rollouts, withdrawals
from fleet_server.db.database import Connection
from fleet_server.db.devices import Device
from fleet_server.db.events import Event, EventKind
from fleet_server.db.installations import Installation
from fleet_server.db.rollouts import Rollout
from fleet_server.four_eyes import lacks_approval
from fleet_server.reconciliation import reconcile
from fleet_server.rollout_alone import came_late, judge_alone
from fleet_server.rollout_freeze import frozen
from fleet_server.rollout_joiners import join_live
from fleet_server.rollout_steps import (
    advance,
    ask_again,
    end_deserted,
    judge,
    judge_lost,
    offer_some,
    take,
    withdraw,
    withdraw_some,
)
from fleet_server.rollout_trail import note_expiry
from fleet_server.service_clock import service_time

#: The events that `take_in` understands.
KINDS = (
    EventKind.ROLLOUT_CREATED,
    EventKind.REPORT_RECEIVED,
    EventKind.DEVICE_REPORTED,
    EventKind.DEVICE_STATUS,
    EventKind.INSTALLATION_REGRESSED,
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

#: A wave that passed is still looked at.
_WATCHED = frozenset({RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.LIVE})
#: Ended by a newer rollout that has all their devices, though none of them waits.
_YIELDING = frozenset({RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.LIVE})

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
        case EventKind.INSTALLATION_REGRESSED:
            _regress(connection, event.subject, str(event.data.get("detail", "")), now)
        case EventKind.DEVICE_STATUS if event.data.get("presence") == Presence.ONLINE:
            _device_came(connection, event.subject, now)
        case EventKind.MODEL_WITHDRAWN:
            _model_withdrawn(connection, now)
        case _:
            pass


def keep_deadlines(connection: Connection, rollout_id: str, now: datetime) -> None:
    """Lead a rollout on whose time has come: begin it, ask who came, judge its wave, or end what waited too long."""
    rollout = rollouts.get(connection, rollout_id)
    if rollout is None:
        return
    match rollout.state:
        case RolloutState.SCHEDULED | RolloutState.AWAITING_BLESSING if lacks_approval(connection, rollout):
            advance(connection, rollout, RolloutEvent.ASK_APPROVAL, now=now)
        case RolloutState.SCHEDULED if rolling.is_due(rollout.starts_at, now):
            start(connection, rollout, now)
        case RolloutState.AWAITING_BLESSING:
            _await_blessing(connection, rollout, now)
        case RolloutState.RUNNING:
            judge(connection, rollout, now)
            _devices_ready(connection, rollout_id, now)  # nobody is asked for a model that is known to do harm
        case RolloutState.PAUSED:
            judge(connection, rollout, now)  # harm that is proven meanwhile ends it; nothing passes
        case RolloutState.LIVE | RolloutState.FINISHED:
            advance(connection, rollout, RolloutEvent.DEVICES_READY, now=now)
        case RolloutState.ROLLING_BACK:
            _go_back(connection, rollout, now)
        case RolloutState.DRAFT | RolloutState.AWAITING_APPROVAL if _is_over(connection, rollout, now):
            words = f"nobody decided within {limits.APPROVAL_TIMEOUT.days} days"
            note_expiry(connection, rollout, reason=words, now=now)
            advance(connection, rollout, RolloutEvent.EXPIRE, reason=words, now=now)
        case _:
            pass


def start(connection: Connection, rollout: Rollout, now: datetime) -> Rollout:
    """Begin a rollout whose time has come, once its devices have blessed the model.

    Newest wins, so older ones let go of its devices then.
    """
    blessing = blessing_of(connection, rollout)
    event = rolling.beginning(rollout.state, blessing)
    if event is RolloutEvent.START:
        take_over(connection, rollout, now)
    words = "" if isinstance(blessing, Blessed) else blessing.words
    if event is not None:
        rollout = advance(connection, rollout, event, reason=words, now=now)
    elif words != rollout.reason:
        rollout = rollouts.save(connection, replace(rollout, reason=words), now)
    if rollout.state is RolloutState.AWAITING_BLESSING:
        ask_for(connection, rollout, now)
    return rollout


def _await_blessing(connection: Connection, rollout: Rollout, now: datetime) -> None:
    """A blessing that comes with the deadline still counts."""
    waiting = start(connection, rollout, now)
    if waiting.state is RolloutState.AWAITING_BLESSING and _is_over(connection, waiting, now):
        words = f"not blessed in time: {waiting.reason}"[: limits.MAX_DETAIL_LENGTH]
        note_expiry(connection, waiting, reason=words, now=now)
        advance(connection, waiting, RolloutEvent.EXPIRE, reason=words, now=now)


def take_over(connection: Connection, newer: Rollout, now: datetime) -> None:
    """Older rollouts of the deployment let go of its devices, and end when no device is left to them."""
    reason = f"superseded by rollout {newer.id}"
    touched = withdrawals.let_go_for(connection, newer, reason=reason, now=now)
    withdraw_some(connection, now)
    end_deserted(connection, touched, reason=reason, now=now, superseded=True)
    for older in rollouts.in_states(connection, _YIELDING):
        if (
            older.id != newer.id
            and older.deployment == newer.deployment
            and installations.is_within(connection, older.id, newer.id)
        ):
            advance(connection, older, RolloutEvent.SUPERSEDED, reason=reason, now=now)


def keep_installation(connection: Connection, installation: Installation, now: datetime) -> None:
    """What is due of one installation: it timed out, or is judged by itself."""
    rollout = rollouts.get(connection, installation.rollout_id)
    assert rollout is not None
    if installation.state is InstallationState.COMMITTED:
        judge_alone(connection, rollout, installation, now)
        return
    if installation.withdrawal is not None:
        withdraw(connection, installation, now)
    elif installation.state is InstallationState.PENDING and _is_kept_waiting(connection, rollout, installation, now):
        clock = service_time(connection, now)
        until = clock + rollout.policy.offer_timeout
        offers.put_off(connection, installation, Deadlines(clock, until, until))
        return
    elif installation.state is InstallationState.PENDING and _has_left(connection, installation):
        take(connection, installation, InstallationEvent.WITHDRAW, detail="the device was removed", now=now)
    elif installation.state is InstallationState.PENDING and _is_kept_out(connection, installation, now):
        offers.count_as_not_asked(connection, installation)
    elif _was_missed(connection, installation):
        words = "it was not online since it was asked; it is asked when it comes"
        take(connection, installation, InstallationEvent.MISS, detail=words, now=now)
        offers.ask_again(
            connection, installation, attempt=installation.attempt, not_before=None, deadline_at=None, now=now
        )
    else:
        words = _overdue_words(installation, rollout)
        take(connection, installation, InstallationEvent.TIME_OUT, detail=words, now=now)
    _settle(connection, rollout, installation, now)


def _is_kept_waiting(connection: Connection, rollout: Rollout, installation: Installation, now: datetime) -> bool:
    """Whether a device that is to be asked again waits for the server and not the server for it."""
    if rollout.state not in rolling.ASKING or frozen(connection):
        return True
    clock = service_time(connection, now)
    return bool(offers.next_devices(connection, rollout, clock=clock, now=now, limit=1, only=installation.id))


def _has_left(connection: Connection, installation: Installation) -> bool:
    device = devices.get(connection, installation.device_id)
    return device is None or device.removed_at is not None


def _is_kept_out(connection: Connection, installation: Installation, now: datetime) -> bool:
    """Whether something keeps a device from being asked again that is no fault of its own and may end."""
    device = devices.get(connection, installation.device_id)
    assert device is not None, "an installation is on a device"
    pin = forbidding(pins.of(connection, device.id), installation.deployment, installation.digest, now)
    return device.quarantined or pin is not None


def _was_missed(connection: Connection, installation: Installation) -> bool:
    """Whether the device was never online since it was asked for the first time."""
    if installation.state is not InstallationState.OFFERED or installation.attempt > 1:
        return False
    device = devices.get(connection, installation.device_id)
    if device is None or device.presence is Presence.ONLINE or installation.offered_at is None:
        return False
    return device.last_seen_at is None or device.last_seen_at <= installation.offered_at


def _overdue_words(installation: Installation, rollout: Rollout) -> str:
    policy, proof = rollout.policy, installation.evidence
    if proof.committed:
        return f"committed, but showed {proof.inferences} of {policy.trial_inferences} inferences"
    if installation.state is InstallationState.PENDING:
        return "it did not come to be asked again"
    if installation.deadline_at == installation.ends_by:
        return f"nothing final within {int(policy.offer_timeout.total_seconds())} s of the offer"
    return f"not heard to go on within {int(installing.progress_within(policy).total_seconds())} s"


def _settle(connection: Connection, rollout: Rollout, before: Installation, now: datetime) -> None:
    """After an installation took a step: ask it again if that may help, give it a gate of its own, judge its wave."""
    installation = installations.get(connection, before.id)
    assert installation is not None
    # A pause asks nobody, and loses nobody who is to be asked again.
    may_be_asked = rollout.state in rolling.ASKING | {RolloutState.PAUSED} and before.withdrawal is None
    again = may_be_asked and installing.is_asked_again(
        installation.state, _reason(installation), attempt=installation.attempt, policy=rollout.policy
    )
    if again:
        ask_again(connection, rollout, installation, now)
    is_new = installation.state is InstallationState.COMMITTED and installation.deadline_at is None
    if is_new and came_late(connection, rollout, installation):
        clock = service_time(connection, now)
        given_up_at = clock + rollout.policy.bake + rollout.policy.evidence_timeout
        offers.put_off(connection, installation, Deadlines(clock, given_up_at, clock + rollout.policy.bake))
    is_behind = rollout.state in rolling.ASKING_LATE or installation.wave < rollout.wave
    if is_behind and not again and installing.is_lost(installation.state):
        rollout = judge_lost(connection, rollout, installation.wave, now)
    judge(connection, rollout, now)


def _reason(installation: Installation) -> Reason:
    return Reason(installation.reason) if installation.reason else Reason.NONE


def _go_back(connection: Connection, rollout: Rollout, now: datetime) -> None:
    if installations.has_open(connection, rollout.id) or offers.holders(connection, rollout.id, now=now, limit=1):
        return  # the engine goes on taking back
    if not offers.is_unheard(connection, rollout.id):
        words = rollout.reason + _kept_words(connection, rollout, now)
        advance(connection, rollout, RolloutEvent.TAKEN_BACK, reason=words, now=now)
    elif _is_over(connection, rollout, now):
        left = offers.unheard(connection, rollout.id)
        devices_left = "1 device was" if left == 1 else f"{left} devices were"
        words = f"{rollout.reason}; {devices_left} not heard to have gone back yet"
        words += _kept_words(connection, rollout, now)
        note_expiry(connection, rollout, reason=words, now=now)
        advance(connection, rollout, RolloutEvent.EXPIRE, reason=words, now=now)


def _kept_words(connection: Connection, rollout: Rollout, now: datetime) -> str:
    """Who keeps the model that was taken back from the others."""
    kept = offers.kept(connection, rollout.id, now=now)
    if not kept:
        return ""
    some = ", ".join(kept[: limits.NAMED_IN_ERRORS]) + (", ..." if len(kept) > limits.NAMED_IN_ERRORS else "")
    return f"; pinned and left as they are: {len(kept)} ({some})"


def _is_over(connection: Connection, rollout: Rollout, now: datetime) -> bool:
    return rollout.deadline_at is not None and rollout.deadline_at <= service_time(connection, now)


def device_left(connection: Connection, device_id: str, now: datetime) -> None:
    """Have rollouts wait no longer for a device that leaves the fleet; one that waits for no other ends."""
    touched: set[str] = set()
    for installation in installations.unfinished_on(connection, [device_id]):
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
    installation = installations.get(connection, told.installation)
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
        earlier = installations.last_proof(connection, installation)
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
        _settle(connection, rollout, installation, now)


def _take_reported(connection: Connection, device_id: str, now: datetime) -> None:
    """Progress, and what became of models that had committed; outcomes come as reports, which are not lost."""
    device = devices.get(connection, device_id)
    if device is None or device.reported is None or device.removed_at is not None:
        return
    for told in device.reported.deployments:
        if told.installation is not None and (told.state in _UNDER_WAY or told.reason in WAITS):
            _hear(connection, device_id, told, now)
    _hear_truth(connection, device, now)
    join_live(connection, device, now)


def _hear(connection: Connection, device_id: str, told: DeploymentState, now: datetime) -> None:
    assert told.installation is not None
    installation = installations.get(connection, told.installation)
    if installation is None or installation.device_id != device_id:
        return
    take(connection, installation, InstallationEvent.PROGRESS, now=now)
    if installation.state in installing.IN_FLIGHT and installation.asked_at and installation.ends_by:
        rollout = rollouts.get(connection, installation.rollout_id)
        assert rollout is not None
        clock = service_time(connection, now)
        before = Deadlines(installation.asked_at, installation.ends_by, clock)
        after = installing.heard(before, rollout.policy, clock, waits=told.reason in WAITS)
        offers.put_off(connection, installation, after)


def _hear_truth(connection: Connection, device: Device, now: datetime) -> None:
    """What was taken back from a device, and whether it runs something else again."""
    assert device.reported is not None
    active = {one.deployment: one.active for one in device.reported.deployments}
    for gone in offers.unheard_on(connection, device.id):
        if active.get(gone.deployment) != gone.digest:
            offers.hear_back(connection, gone, now)


def _regress(connection: Connection, installation_id: str, words: str, now: datetime) -> None:
    """A device that had committed runs something else, perhaps not for the first time: an incident was opened."""
    installation = installations.get(connection, installation_id)
    if installation is None or installation.state not in installations.PROVEN:
        return
    take(connection, installation, InstallationEvent.REGRESS, detail=words, now=now)
    rollout = rollouts.get(connection, installation.rollout_id)
    assert rollout is not None
    if rollout.state in _WATCHED:
        if came_late(connection, rollout, installation):
            rollout = judge_lost(connection, rollout, installation.wave, now)
        judge(connection, rollout, now)
    elif rolling.allows(rollout.state, RolloutEvent.REGRESSED):
        reason = f"{installation.device_id}: {words}"
        advance(connection, rollout, RolloutEvent.REGRESSED, reason=reason, now=now)


def _device_came(connection: Connection, device_id: str, now: datetime) -> None:
    device = devices.get(connection, device_id)
    if device is None or device.presence is not Presence.ONLINE or device.quarantined or device.removed_at:
        return
    for installation in offers.pending_on(connection, device_id, now=now):
        rollout = rollouts.get(connection, installation.rollout_id)
        assert rollout is not None
        if rollout.state in rolling.ASKING:
            offer_some(connection, rollout, now, only=installation.id)


def _model_withdrawn(connection: Connection, now: datetime) -> None:
    for rollout in rollouts.without_model(connection):
        reason = f"{rollout.model}@{rollout.version} {rollout.variant} was withdrawn"
        if rolling.allows(rollout.state, RolloutEvent.MODEL_WITHDRAWN):
            advance(connection, rollout, RolloutEvent.MODEL_WITHDRAWN, reason=reason, now=now)
        elif rollout.state is not RolloutState.ROLLING_BACK:  # that takes it back already
            withdrawals.let_go(connection, rollout.id, reason=reason, now=now)
            withdraw_some(connection, now)


def _devices_ready(connection: Connection, rollout_id: str, now: datetime) -> None:
    rollout = rollouts.get(connection, rollout_id)
    if rollout is not None and rollout.state is RolloutState.RUNNING:
        advance(connection, rollout, RolloutEvent.DEVICES_READY, now=now)
