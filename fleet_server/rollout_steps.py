"""Carries out what the rollout and installation machines command, inside the caller's transaction.

State, wave counters, desired states, outbox and events change together or not at all, so a step that was
interrupted never happened. It decides nothing: `edgeops.rollout` does.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from edgeops.protocol.messages import DesiredDeployment
from edgeops.rollout import installation as installing
from edgeops.rollout import rollout as rolling
from edgeops.rollout.evidence import Pass, Proof, WaveEvidence, wave_verdict
from edgeops.rollout.installation import Illegal, InstallationCommand, InstallationEvent
from edgeops.rollout.rollout import RolloutCommand, RolloutEvent, RolloutState
from fleet_server import shadowing
from fleet_server.db import aliases, backups, devices, models, rollouts
from fleet_server.db.aliases import Alias
from fleet_server.db.database import Connection
from fleet_server.db.rollouts import Installation, Rollout

#: Devices asked in one transaction, so that the write lock is held for moments only.
OFFER_BATCH = 50

_log = logging.getLogger(__name__)


def advance(connection: Connection, rollout: Rollout, event: RolloutEvent, *, reason: str = "", now: datetime) -> None:
    """One step of a rollout, and its command."""
    waves = rollouts.wave_count(connection, rollout.id)
    before = rolling.Rollout(rollout.state, rollout.wave, waves, rollout.reason)
    after, command = rolling.step(before, event, reason=reason)
    if after != before:
        changed = replace(rollout, state=after.state, wave=after.wave, reason=after.reason)
        rollout = rollouts.save(connection, changed, now)
        if rollout.state is RolloutState.FINISHED:
            # Whatever it brought is what the fleet runs now; newer versions are compared with it.
            aliases.assign(
                connection, rollout.model, Alias.CHAMPION, rollout.version, now, actor=rollout.id, reason="rolled out"
            )
    match command:
        case RolloutCommand.NONE:
            pass
        case RolloutCommand.OFFER_WAVE:
            rollouts.start_wave(connection, rollout, now)
            for installation in rollouts.next_devices(connection, rollout, now=now, limit=OFFER_BATCH):
                offer(connection, rollout, installation, now)
        case RolloutCommand.WITHDRAW_OFFERS:
            for installation in rollouts.open_offers(connection, rollout.id):
                take(connection, installation, InstallationEvent.WITHDRAW, now=now, detail=reason)
            rollouts.let_go(connection, rollout.id, detail=reason, now=now)
        case _:
            assert_never(command)


def end_deserted(connection: Connection, rollout_ids: Iterable[str], *, reason: str, now: datetime) -> None:
    """End those of the rollouts that no device is left to."""
    for rollout_id in sorted(rollout_ids):
        rollout = rollouts.get(connection, rollout_id)
        if rollout and rollout.state in rolling.OPEN and not rollouts.has_unfinished(connection, rollout_id):
            advance(connection, rollout, RolloutEvent.SUPERSEDED, reason=reason, now=now)


def judge(connection: Connection, rollout: Rollout, now: datetime, *, not_before: datetime | None = None) -> None:
    """Put the present wave before the health gate, and act on its verdict.

    A wave that nobody answers is not given up `not_before` this.
    """
    wave = rollouts.get_wave(connection, rollout.id, rollout.wave)
    if wave.started_at is None:
        return
    started_at = wave.started_at
    if not_before is not None:
        started_at = max(started_at, not_before - rollout.policy.wave_timeout)
    evidence = WaveEvidence(
        started_at=started_at,
        size=wave.size,
        offered=wave.offered,
        committed=wave.committed,
        failed=wave.failed,
        inconclusive=wave.inconclusive,
        problem=_problem(connection, rollout) if wave.failed or wave.inconclusive else "",
    )
    verdict = wave_verdict(evidence, rollout.policy, now)
    event = rolling.event_of(
        verdict, rolling.Rollout(rollout.state, rollout.wave, rollouts.wave_count(connection, rollout.id)), now
    )
    if event is None or not rolling.allows(rollout.state, event):
        return
    if isinstance(verdict, Pass) and rollouts.next_devices(connection, rollout, now=now, limit=1):
        advance(connection, rollout, RolloutEvent.DEVICES_READY, now=now)
        return
    name = type(verdict).__name__.lower()
    rollouts.judge_wave(connection, rollout, verdict=name, reason=verdict.reason, now=now)
    reason = "" if event is RolloutEvent.WAVE_PASSED else verdict.reason
    advance(connection, rollout, event, reason=reason, now=now)


def offer(connection: Connection, rollout: Rollout, installation: Installation, now: datetime) -> None:
    """Ask one device; who missed its own wave takes part in the present one."""
    assert rollout.state in {RolloutState.RUNNING, RolloutState.FINISHED}, f"a {rollout.state} rollout asks nobody"
    assert installation.wave <= rollout.wave, "a wave is asked only after the one before passed"
    joined = rollouts.join_wave(connection, installation, rollout.wave)
    take(connection, joined, InstallationEvent.OFFER, now=now)


def take(
    connection: Connection,
    installation: Installation,
    event: InstallationEvent,
    *,
    reason: str = "",
    detail: str = "",
    proof: Proof | None = None,
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
    after = rollouts.move(connection, installation, state, reason=reason, detail=detail, evidence=proof, now=now)
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
    proven = rollouts.last_committed(
        connection, installation.device_id, installation.deployment, besides=installation.id
    )
    if proven is not None and not backups.is_older_than_this_server(connection, proven.finished_at):
        _desire(connection, proven, now)
        return
    _want_what_runs(connection, installation, proven, now)


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


def _problem(connection: Connection, rollout: Rollout) -> str:
    first = rollouts.first_problem(connection, rollout.id, rollout.wave)
    if first is None:
        return ""
    why = ": ".join(part for part in (first.reason, first.detail) if part and part != "none")
    return f"{first.device_id} {first.state}" + (f" ({why})" if why else "")


def overdue_words(timeout: timedelta, proof: Proof, needed: int) -> str:
    """Why a device that timed out gave no proof."""
    if proof.committed:
        return f"committed, but showed {proof.inferences} of {needed} inferences"
    return f"nothing final within {int(timeout.total_seconds())} s of the offer"
