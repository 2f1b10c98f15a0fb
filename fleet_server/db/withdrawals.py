"""Offers that are to be taken back: all of a rollout that ended, or all on devices that belong to a newer one.

However many there are, they are marked in one statement with the decision that ends them; each is taken back by a step
of its own, some in one transaction, and loses its mark with the step. So an engine that dies in between goes on with
the rest. Who was not asked yet is let go at once. Nothing is decided here.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select, update

from edgeops.rollout import installation as machine
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import UNBEGUN
from fleet_server.db.installations import Installation, count, installations_in
from fleet_server.db.rollouts import Rollout
from fleet_server.db.tables import installations, rollouts


def let_go(connection: Connection, rollout_id: str, *, reason: str, now: datetime) -> None:
    """Ask no device of a rollout any more, and mark what was asked and has not ended."""
    _let_go(connection, installations.c.rollout_id == rollout_id, reason=reason, now=now)


def let_go_for(connection: Connection, newer: Rollout, *, reason: str, now: datetime) -> frozenset[str]:
    """The same for the devices of a newer rollout, in those of its deployment that have begun; which those are."""
    members = select(installations.c.device_id).where(
        installations.c.rollout_id == newer.id, installations.c.state != InstallationState.RETRIED
    )
    unbegun = select(rollouts.c.id).where(rollouts.c.state.in_(list(UNBEGUN)))
    taken = (
        installations.c.device_id.in_(members)
        & (installations.c.deployment == newer.deployment)
        & (installations.c.rollout_id != newer.id)
        & installations.c.rollout_id.not_in(unbegun)
    )
    unfinished = installations.c.state.in_([InstallationState.PENDING, *machine.OPEN])
    touched = connection.execute(select(installations.c.rollout_id).where(taken, unfinished).distinct()).scalars()
    found = frozenset(touched)
    if found:
        _let_go(connection, taken, reason=reason, now=now)
    return found


def marked(connection: Connection, *, limit: int) -> tuple[Installation, ...]:
    """Installations that are to be taken back, the oldest first."""
    query = select(installations).where(installations.c.withdrawal.is_not(None))
    return installations_in(connection, query.order_by(installations.c.id).limit(limit))


def _let_go(connection: Connection, whose: ColumnElement[bool], *, reason: str, now: datetime) -> None:
    never_asked = whose & (installations.c.state == InstallationState.PENDING)
    # Of these a wave counts only those that were asked before.
    places = installations.c.rollout_id, installations.c.wave
    again = select(*places, func.count().label("devices")).where(never_asked, installations.c.attempt > 1)
    changes = machine.counters(InstallationState.PENDING, InstallationState.SUPERSEDED, again=True)
    for rollout_id, wave, number in connection.execute(again.group_by(*places)).all():
        count(connection, rollout_id, wave, {name: change * number for name, change in changes.items()})
    ended = {"state": InstallationState.SUPERSEDED, "detail": reason, "updated_at": now, "finished_at": now}
    connection.execute(update(installations).where(never_asked).values(ended))
    asked = whose & installations.c.state.in_(list(machine.OPEN)) & installations.c.withdrawal.is_(None)
    connection.execute(update(installations).where(asked).values(withdrawal=reason))
