"""A device that came late is put before a health gate of its own: whose turn that is, and what comes of the verdict.

It runs inside the caller's transaction, and is harmless to repeat. It decides nothing: `edgeops.rollout` does.
"""

from datetime import datetime, timedelta
from typing import assert_never

from edgeops.protocol.messages import Presence
from edgeops.rollout import rollout as rolling
from edgeops.rollout.evidence import Fail, Pass, Wait, alone_verdict
from edgeops.rollout.installation import Deadlines, InstallationEvent
from edgeops.rollout.rollout import RolloutState
from edgeops.rollout.verdict import Undecided
from fleet_server.db import devices, offers, pins, rollouts
from fleet_server.db.database import Connection
from fleet_server.db.installations import Installation
from fleet_server.db.rollouts import Rollout
from fleet_server.rollout_health import health_of_one
from fleet_server.rollout_steps import judge_lost, recall, take
from fleet_server.service_clock import service_time

#: How often a device that is judged by itself is looked at again.
_ASKED_AGAIN_AFTER = timedelta(seconds=1)
#: The same where it is offline or quarantined, and where it failed and keeps the model all the same.
_ABSENT_LOOKED_AT_AFTER = timedelta(seconds=10)
_KEPT_LOOKED_AT_AFTER = timedelta(minutes=1)


def came_late(connection: Connection, rollout: Rollout, installation: Installation) -> bool:
    """Whether no wave is judged by it any more, and the rollout still judges."""
    if rollout.state not in rolling.COUNTING:
        return False
    if rollout.state in rolling.PASSED or installation.wave < rollout.wave:
        return True
    # A continuous one may be paused after its last wave.
    return rollout.state is RolloutState.PAUSED and rollouts.get_wave(connection, rollout.id, rollout.wave).has_passed


def judge_alone(connection: Connection, rollout: Rollout, installation: Installation, now: datetime) -> None:
    """Put a device that came late before a health gate of its own, and act on the verdict.

    A rollout that has ended otherwise than by passing judges nobody any more: who has the model keeps it.
    """
    if rollout.state not in rolling.COUNTING:
        offers.expect_nothing(connection, installation)
        return
    assert installation.asked_at is not None
    assert installation.ends_by is not None
    clock = service_time(connection, now)
    health = health_of_one(connection, rollout, installation, now)
    verdict = alone_verdict(
        health,
        baked_at=installation.asked_at + rollout.policy.bake,
        given_up_at=installation.ends_by,
        now=clock,
    )
    match verdict:
        case Pass():
            take(connection, installation, InstallationEvent.PASS, detail=verdict.reason, now=now)
        case Fail() if isinstance(health, Undecided) and not _is_wanted(connection, installation):
            offers.expect_nothing(connection, installation)  # it was asked something newer before it could show itself
        case Fail() if isinstance(health, Undecided) and _cannot_show(connection, installation):
            # No wave waits for it; it has its time to show itself when it is back.
            until = clock + rollout.policy.evidence_timeout
            again = Deadlines(installation.asked_at, until, clock + _ABSENT_LOOKED_AT_AFTER)
            offers.put_off(connection, installation, again)
        case Fail() if _is_kept(connection, rollout, installation, now):
            later = clock + _KEPT_LOOKED_AT_AFTER
            offers.put_off(connection, installation, Deadlines(installation.asked_at, later, later))
        case Fail():
            recall(connection, installation, detail=verdict.reason, now=now)
            judge_lost(connection, rollout, installation.wave, now)
        case Wait():
            again = Deadlines(installation.asked_at, installation.ends_by, clock + _ASKED_AGAIN_AFTER)
            offers.put_off(connection, installation, again)
        case _:
            assert_never(verdict)


def _is_wanted(connection: Connection, installation: Installation) -> bool:
    """Whether the device is to run the model by this installation, and not by another one."""
    desired = devices.desired_of(connection, installation.device_id)
    return desired is not None and any(one.installation == installation.id for one in desired.deployments)


def _cannot_show(connection: Connection, installation: Installation) -> bool:
    """Whether nothing that is believed can come from the device now."""
    device = devices.get(connection, installation.device_id)
    return device is None or device.quarantined or device.presence is not Presence.ONLINE


def _is_kept(connection: Connection, rollout: Rollout, installation: Installation, now: datetime) -> bool:
    """Whether a device keeps the model though it failed: a pin says so, or what it ran before is what is undone."""
    if rollout.undoes is not None:
        return True
    deployment, digest = installation.deployment, installation.digest
    return any(pin.keeps(deployment, digest, now) for pin in pins.of(connection, installation.device_id))
