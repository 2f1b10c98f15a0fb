"""Carries out what the rollout and installation machines command, inside the caller's transaction.

State, wave counters, desired states, outbox and events change together or not at all, so a step that was
interrupted never happened. It decides nothing: `edgeops.rollout` does.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from edgeops import limits
from edgeops.limits import MAX_DETAIL_LENGTH
from edgeops.protocol.messages import DesiredDeployment
from edgeops.rollout import installation as installing
from edgeops.rollout import rollout as rolling
from edgeops.rollout.evidence import (
    Fail,
    Pass,
    Proof,
    Verdict,
    WaveEvidence,
    installed_verdict,
    wave_verdict,
)
from edgeops.rollout.installation import (
    Deadlines,
    Illegal,
    InstallationCommand,
    InstallationEvent,
    InstallationState,
)
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutCommand, RolloutEvent, RolloutState
from edgeops.rollout.verdict import Health, Unhealthy
from fleet_server import shadowing
from fleet_server.db import (
    aliases,
    backups,
    devices,
    evidence,
    installations,
    models,
    offers,
    rollouts,
    withdrawals,
)
from fleet_server.db.aliases import Alias
from fleet_server.db.database import Connection
from fleet_server.db.installations import Installation
from fleet_server.db.rollouts import Rollout, Wave
from fleet_server.fit import misfits
from fleet_server.rollout_freeze import frozen
from fleet_server.rollout_health import health_of
from fleet_server.rollout_trail import note_verdict
from fleet_server.service_clock import service_time

#: Devices asked in one transaction, so that the write lock is held for moments only.
OFFER_BATCH = 50
#: The last wave has just passed.
_FINISHING = frozenset({RolloutEvent.LAST_WAVE_PASSED, RolloutEvent.ADVANCE_LAST})

_log = logging.getLogger(__name__)


def advance(
    connection: Connection,
    rollout: Rollout,
    event: RolloutEvent,
    *,
    reason: str = "",
    approved_by: str | None = None,
    now: datetime,
) -> Rollout:
    """One step of a rollout, and its command."""
    waves = rollouts.wave_count(connection, rollout.id)
    before = rolling.Rollout(rollout.state, rollout.wave, waves, rollout.reason)
    after, command = rolling.step(before, event, reason=reason[:MAX_DETAIL_LENGTH])
    if after != before:
        clock = service_time(connection, now)
        changed = replace(
            rollout,
            state=after.state,
            wave=after.wave,
            reason=after.reason,
            began_at=rollout.began_at or (now if event is RolloutEvent.START else None),
            entered_at=clock,
            deadline_at=deadline_of(after.state, rollout.policy, clock),
            approved_by=None if event is RolloutEvent.ASK_APPROVAL else approved_by or rollout.approved_by,
        )
        rollout = rollouts.save(connection, changed, now)
    match command:
        case RolloutCommand.NONE:
            pass
        case RolloutCommand.OFFER_WAVE:
            rollouts.start_wave(connection, rollout, now)
            rollout = offer_some(connection, rollout, now)
        case RolloutCommand.WITHDRAW_OFFERS:
            _let_go(connection, rollout, reason, now)
        case RolloutCommand.TAKE_BACK:
            _let_go(connection, rollout, reason, now)
            take_back_some(connection, rollout, now)
        case _:
            assert_never(command)
    return _follow_up(connection, rollout, now) if event in _FINISHING else rollout


def deadline_of(state: RolloutState, policy: Policy, clock: datetime) -> datetime | None:
    """Until when a rollout that comes into `state` may stay there, as far as the state alone says; None = no end."""
    match state:
        case RolloutState.DRAFT | RolloutState.AWAITING_APPROVAL:
            return clock + limits.APPROVAL_TIMEOUT
        case RolloutState.AWAITING_BLESSING:
            return clock + policy.blessing_timeout
        case RolloutState.RUNNING:
            return clock + policy.wave_timeout
        case RolloutState.ROLLING_BACK:
            return clock + limits.ROLL_BACK_TIMEOUT
        case _:
            return None


def _follow_up(connection: Connection, rollout: Rollout, now: datetime) -> Rollout:
    waves = rollouts.waves_of(connection, rollout.id)
    if any(wave.committed for wave in waves):  # a person may have let it pass with none
        # It is what the fleet runs now; newer versions are compared with it.
        aliases.assign(
            connection, rollout.model, Alias.CHAMPION, rollout.version, now, actor=rollout.id, reason="rolled out"
        )
    regressed = sum(wave.regressed for wave in waves)
    event = rolling.following(rollout.state, continuous=rollout.continuous, regressed=regressed)
    return rollout if event is None else advance(connection, rollout, event, reason=rollout.reason, now=now)


def _let_go(connection: Connection, rollout: Rollout, reason: str, now: datetime) -> None:
    withdrawals.let_go(connection, rollout.id, reason=reason, now=now)
    withdraw_some(connection, now)


def withdraw_some(connection: Connection, now: datetime) -> None:
    """Take some of the offers back that are marked for it; the engine goes on until none is left."""
    for installation in withdrawals.marked(connection, limit=OFFER_BATCH):
        withdraw(connection, installation, now)


def withdraw(connection: Connection, installation: Installation, now: datetime) -> None:
    """Take one offer back that is marked for it."""
    assert installation.withdrawal is not None
    take(connection, installation, InstallationEvent.WITHDRAW, detail=installation.withdrawal, now=now)


def take_back_some(connection: Connection, rollout: Rollout, now: datetime) -> None:
    """Have some of the devices run again what they ran before, pinned ones left out; the engine does the others."""
    for installation in offers.holders(connection, rollout.id, now=now, limit=OFFER_BATCH):
        recall(connection, installation, detail=rollout.reason, now=now)


def recall(connection: Connection, installation: Installation, *, detail: str, now: datetime) -> None:
    """Take the model back from one device that has it."""
    # One that regressed may have got the model back since, by reconciliation.
    heard = installation.state is InstallationState.REGRESSED and _runs_another(connection, installation)
    take(connection, installation, InstallationEvent.RECALL, detail=detail, heard=heard, now=now)


def _runs_another(connection: Connection, installation: Installation) -> bool:
    """Whether the device told last that another model, or none, is active."""
    device = devices.get(connection, installation.device_id)
    if device is None or device.reported is None:
        return False
    active = {one.deployment: one.active for one in device.reported.deployments}
    return active.get(installation.deployment) != installation.digest


def end_deserted(
    connection: Connection, rollout_ids: Iterable[str], *, reason: str, now: datetime, superseded: bool = False
) -> None:
    """End those of the rollouts that no device is left to.

    One that lacked but its last wave has finished, unless a newer one may have that wave's devices (`superseded`).
    """
    ending = {
        RolloutState.SCHEDULED,
        RolloutState.AWAITING_BLESSING,
        RolloutState.RUNNING,
        RolloutState.PAUSED,
    }
    for rollout_id in sorted(rollout_ids):
        rollout = rollouts.get(connection, rollout_id)
        if rollout and rollout.state in ending and not installations.has_unfinished(connection, rollout_id):
            wave = rollouts.get_wave(connection, rollout_id, rollout.wave)
            if wave.committed:
                continue  # its devices have the model; the verdict on them is still to come
            is_proven = not (superseded or wave.failed or wave.regressed) and _is_spare(connection, rollout, wave)
            if is_proven and rolling.allows(rollout.state, RolloutEvent.LAST_WAVE_PASSED):
                event, verdict = RolloutEvent.LAST_WAVE_PASSED, Pass(f"the waves before it passed, and {reason}")
                _act(connection, rollout, event, verdict, numbers={}, position=rollout.wave, now=now)
            else:
                advance(connection, rollout, RolloutEvent.SUPERSEDED, reason=reason, now=now)


def judge(connection: Connection, rollout: Rollout, now: datetime) -> None:
    """Put the present wave before the health gate, and act on its verdict."""
    if rollout.state not in rolling.JUDGED:
        return
    wave = rollouts.get_wave(connection, rollout.id, rollout.wave)
    if wave.started_at is None or wave.has_passed:
        return
    clock = service_time(connection, now)
    if wave.bakes_since is None:
        rollout = _given_time(connection, rollout, clock, now)
    evidence = _evidence(connection, rollout, wave, clock)
    health = _health(connection, rollout, wave, now)
    is_harmless = not isinstance(health, Unhealthy)
    if wave.bakes_since is None and is_harmless and isinstance(installed_verdict(evidence, rollout.policy), Pass):
        if offers.next_devices(connection, rollout, clock=clock, now=now, limit=1):
            if rollout.state is RolloutState.RUNNING:
                advance(connection, rollout, RolloutEvent.DEVICES_READY, now=now)
            return
        rollouts.bake(connection, rollout, clock)
        wave = replace(wave, bakes_since=clock)
        evidence = replace(evidence, bakes_since=clock)
        health = _health(connection, rollout, wave, now)
    verdict = wave_verdict(evidence, rollout.policy, health, clock)
    count = rollouts.wave_count(connection, rollout.id)
    event = rolling.event_of(verdict, rolling.Rollout(rollout.state, rollout.wave, count), clock)
    numbers = health.evidence if health else {}
    _act(connection, rollout, event, verdict, numbers=numbers, position=rollout.wave, now=now)


def _given_time(connection: Connection, rollout: Rollout, clock: datetime, now: datetime) -> Rollout:
    """No wave is given up whose devices wait for the server: for their turn, or for the end of a freeze."""
    if rollout.deadline_at is None or rollout.deadline_at > clock:
        return rollout
    if not (frozen(connection) or offers.next_devices(connection, rollout, clock=clock, now=now, limit=1)):
        return rollout
    return rollouts.put_off(connection, rollout, clock + rollout.policy.wave_timeout)


def gate_words(connection: Connection, rollout: Rollout, now: datetime) -> str:
    """What the health gate says of the present wave now, for people; it acts on nothing. Empty = nobody was asked."""
    wave = rollouts.get_wave(connection, rollout.id, rollout.wave)
    if wave.started_at is None or wave.offered == 0:
        return ""
    clock = service_time(connection, now)
    health = _health(connection, rollout, wave, now)
    return wave_verdict(_evidence(connection, rollout, wave, clock), rollout.policy, health, clock).reason


def _health(connection: Connection, rollout: Rollout, wave: Wave, now: datetime) -> Health | None:
    """What the health gate says once a device has the model; None = none has it."""
    has_begun = wave.committed > 0 or wave.bakes_since is not None
    return health_of(connection, rollout, wave, now) if has_begun else None


def _act(
    connection: Connection,
    rollout: Rollout,
    event: RolloutEvent | None,
    verdict: Verdict,
    *,
    numbers: Mapping[str, Any],
    position: int,
    now: datetime,
) -> None:
    if event is RolloutEvent.WAVE_FAILED:
        holders = bool(offers.holders(connection, rollout.id, now=now, limit=1))
        event = rolling.failing(rollout.state, roll_back=rollout.policy.roll_back_on_failure, holders=holders)
    if event is None or not rolling.allows(rollout.state, event):
        return
    words = {"verdict": type(verdict).__name__.lower(), "reason": verdict.reason, "evidence": dict(numbers)}
    if position == rollout.wave and rollout.state not in rolling.PASSED:
        # What is lost later takes nothing from the proof by which a wave passed, and says nothing of another wave.
        rollouts.judge_wave(connection, rollout, verdict=words, now=now)
    note_verdict(connection, rollout, event, words, position=position, now=now)
    if isinstance(verdict, Pass):
        installations.pass_wave(connection, rollout, now)
    advance(connection, rollout, event, reason=verdict.reason, now=now)
    if event is RolloutEvent.WAVE_PASSED:
        deserted = "no device is left to ask: the others were removed or taken over"
        end_deserted(connection, [rollout.id], reason=deserted, now=now, superseded=True)


def judge_lost(connection: Connection, rollout: Rollout, position: int, now: datetime) -> Rollout:
    """A wave that passed, or that a person advanced past, has lost devices since; the rollout after that.

    Too many of them fail it, or end that it asks late ones.
    """
    if rollout.state is RolloutState.PAUSED and rollouts.get_wave(connection, rollout.id, rollout.wave).has_passed:
        return rollout  # it was live, and a person decides already
    wave = rollouts.get_wave(connection, rollout.id, position)
    verdict = installed_verdict(_evidence(connection, rollout, wave, now), rollout.policy)
    if isinstance(verdict, Fail):
        event = RolloutEvent.WAVE_FAILED
        _act(connection, rollout, event, verdict, numbers={}, position=position, now=now)
    after = rollouts.get(connection, rollout.id)
    assert after is not None
    return after


def _evidence(connection: Connection, rollout: Rollout, wave: Wave, clock: datetime) -> WaveEvidence:
    troubled = wave.failed or wave.inconclusive or wave.regressed
    return WaveEvidence(
        given_up_at=rollout.deadline_at or clock,
        size=wave.size,
        offered=wave.offered,
        committed=wave.committed,
        failed=wave.failed,
        inconclusive=wave.inconclusive,
        regressed=wave.regressed,
        bakes_since=wave.bakes_since,
        problem=_problem(connection, rollout, wave.position) if troubled else "",
        is_spare=wave.offered == 0 and _is_spare(connection, rollout, wave),
        is_control=wave.control,
    )


def _is_spare(connection: Connection, rollout: Rollout, wave: Wave) -> bool:
    """Whether it is the last wave, and the one before passed by proof."""
    if wave.position == 0 or wave.position + 1 < rollouts.wave_count(connection, rollout.id):
        return False
    return rollouts.get_wave(connection, rollout.id, wave.position - 1).override is None


def offer_some(connection: Connection, rollout: Rollout, now: datetime, *, only: str | None = None) -> Rollout:
    """Ask as many devices as the policy lets, or `only` one; nobody while a wave bakes or a freeze lasts.

    Who is not any more what the model fits leaves the rollout instead, and it ends with the last one.
    """
    if frozen(connection) is not None:
        return rollout
    if rollout.state is RolloutState.RUNNING:
        wave = rollouts.get_wave(connection, rollout.id, rollout.wave)
        if wave.bakes_since is not None:
            return rollout
    room = _room(connection, rollout, now)
    if not room:
        return rollout
    clock = service_time(connection, now)
    next_ones = offers.next_devices(connection, rollout, clock=clock, now=now, limit=room, only=only)
    unfit = misfits(connection, rollout, [one.device_id for one in next_ones])
    for one in next_ones:
        if one.device_id in unfit:
            words = f"it may not run the model any more: {unfit[one.device_id]}"
            take(connection, one, InstallationEvent.WITHDRAW, detail=words, now=now)
        else:
            offer(connection, rollout, one, now)
    return _end_unfit(connection, rollout, now) if unfit else rollout


def _end_unfit(connection: Connection, rollout: Rollout, now: datetime) -> Rollout:
    """The rollout once devices have left it; a wave of which some were asked is judged by them."""
    if rollouts.get_wave(connection, rollout.id, rollout.wave).offered == 0:
        end_deserted(connection, [rollout.id], reason="the model does not fit any device that is left", now=now)
    after = rollouts.get(connection, rollout.id)
    assert after is not None
    return after


def _room(connection: Connection, rollout: Rollout, now: datetime) -> int:
    """How many devices may be asked now."""
    policy, room = rollout.policy, OFFER_BATCH
    if policy.max_in_flight is not None:
        room = min(room, policy.max_in_flight - offers.in_flight(connection, rollout.id))
    if policy.rate_per_minute is not None:
        lately = offers.offered_since(connection, rollout.id, now - timedelta(minutes=1), until=now)
        room = min(room, policy.rate_per_minute - lately)
    return max(0, room)


def offer(connection: Connection, rollout: Rollout, installation: Installation, now: datetime) -> None:
    """Ask one device; who missed its own wave takes part in the present one.

    It is asked one thing at a time: what another rollout asked before and has yet to take back is taken back now.
    """
    assert rollout.state in rolling.ASKING, f"a {rollout.state} rollout asks nobody"
    assert installation.wave <= rollout.wave, "a wave is asked only after the one before passed"
    for before in installations.open_on(connection, installation.device_id, installation.deployment):
        words = before.withdrawal or f"superseded by rollout {rollout.id}"
        take(connection, before, InstallationEvent.WITHDRAW, detail=words, now=now)
    joined = installations.join_wave(connection, installation, rollout.wave)
    deadlines = installing.asked(rollout.policy, service_time(connection, now))
    take(connection, joined, InstallationEvent.OFFER, deadlines=deadlines, now=now)


def take(
    connection: Connection,
    installation: Installation,
    event: InstallationEvent,
    *,
    reason: str = "",
    detail: str = "",
    proof: Proof | None = None,
    deadlines: Deadlines | None = None,
    heard: bool = True,
    now: datetime,
) -> bool:
    """One step of an installation, and its command; whether anything changed."""
    outcome = installing.step(installation.state, event)
    if isinstance(outcome, Illegal):
        _log.warning(
            "installation.contradiction installation=%s device=%s %s", installation.id, installation.device_id, outcome
        )
        return False
    state, command = outcome
    after = installations.move(
        connection,
        installation,
        state,
        reason=reason,
        detail=detail[:MAX_DETAIL_LENGTH],
        evidence=proof,
        deadlines=deadlines,
        heard=heard,
        now=now,
    )
    if installing.is_over(state) and not installing.is_over(installation.state):
        evidence.leave(connection, installation)
    if state is InstallationState.COMMITTED and installation.state is not state:
        device = devices.get(connection, installation.device_id)
        assert device is not None, "an installation is on a device"
        evidence.count_starts_from(connection, installation, device.session_counter)
    match command:
        case InstallationCommand.NONE:
            pass
        case InstallationCommand.DESIRE:
            _desire(connection, installation, now, is_offer=True)
        case InstallationCommand.RESTORE:
            _restore(connection, installation, now)
        case _:
            assert_never(command)
    return after is not installation


def ask_again(connection: Connection, rollout: Rollout, ended: Installation, now: datetime) -> None:
    """A device that ended badly is asked once more, after a pause."""
    take(connection, ended, InstallationEvent.RETRY, now=now)
    at = service_time(connection, now) + rollout.policy.retry_after
    offers.ask_again(
        connection,
        ended,
        attempt=ended.attempt + 1,
        not_before=at,
        deadline_at=at + rollout.policy.offer_timeout,
        now=now,
    )


def _desire(connection: Connection, installation: Installation, now: datetime, *, is_offer: bool = False) -> None:
    rollout = rollouts.get(connection, installation.rollout_id)
    assert rollout is not None
    wanted = DesiredDeployment(
        deployment=installation.deployment,
        target=rollout.target,
        digest=rollout.digest,
        installation=installation.id,
        intent=rollout.intent,
        trial_inferences=rollout.policy.trial_inferences,
        shadowing=shadowing.begin(connection, rollout, installation) if is_offer else None,
        maintenance=rollout.policy.maintenance if is_offer else (),
    )
    devices.set_desired(connection, installation.device_id, wanted, now)


def _restore(connection: Connection, installation: Installation, now: datetime) -> None:
    """Want again what was proven last, unless something newer is wanted already."""
    desired = devices.desired_of(connection, installation.device_id)
    present = [one for one in desired.deployments if one.deployment == installation.deployment] if desired else []
    if not present or present[0].installation != installation.id:
        return
    proven = _ran_before(connection, installation)
    if proven is not None and not backups.is_older_than_this_server(connection, proven.finished_at):
        _desire(connection, proven, now)
        return
    _want_what_runs(connection, installation, proven, now)


def _ran_before(connection: Connection, installation: Installation) -> Installation | None:
    """By what the device ran what it ran when it was asked; where that is not known, what it proved last."""
    place = installation.device_id, installation.deployment
    incumbent = evidence.shows_of(installation.health).incumbent
    ran = None if incumbent is None else installations.last_run(connection, *place, incumbent)
    return ran or installations.last_committed(connection, *place, besides=installation.id)


def _want_what_runs(
    connection: Connection, installation: Installation, proven: Installation | None, now: datetime
) -> None:
    """What the device says it runs, where this database has no proof of its own (after a restore from a backup).

    A model that this server does not know goes on running: nothing is wanted of the deployment then.
    """
    device = devices.get(connection, installation.device_id)
    reported = device.reported.deployments if device and device.reported else ()
    active = [one.active for one in reported if one.deployment == installation.deployment and one.active]
    if proven is not None and (not active or active[0] == proven.digest):
        _desire(connection, proven, now)
        return
    artifact = models.artifact_by_digest(connection, active[0]) if active else None
    if active and artifact is None:
        devices.want_nothing(connection, installation.device_id, installation.deployment, now)
        return
    ran = artifact if artifact is not None and artifact.digest != installation.digest else None
    wanted = DesiredDeployment(
        deployment=installation.deployment,
        target=None if ran is None else ran.target,
        digest=None if ran is None else ran.digest,
    )
    devices.set_desired(connection, installation.device_id, wanted, now)


def _problem(connection: Connection, rollout: Rollout, position: int) -> str:
    first = installations.first_problem(connection, rollout.id, position)
    if first is None:
        return ""
    why = ": ".join(part for part in (first.reason, first.detail) if part and part != "none")
    return f"{first.device_id} {first.state}" + (f" ({why})" if why else "")
