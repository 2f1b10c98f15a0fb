"""Which devices a rollout may ask, how many are at it, and what is due: the engine's questions about installations.

Each costs as much as it answers, not as many devices as there are. It decides nothing and changes what was decided
elsewhere.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, or_, select, update

from edgeops.rollout import installation as machine
from edgeops.rollout.installation import Deadlines, InstallationState
from edgeops.rollout.rollout import ASKING, RolloutState
from fleet_server.db import pins, reach
from fleet_server.db.identifiers import new_id
from fleet_server.db.installations import Installation, count, installations_in
from fleet_server.db.reach import Reach
from fleet_server.db.rollouts import Rollout
from fleet_server.db.tables import installations, rollouts

_ALONE = (InstallationState.PENDING, *machine.IN_FLIGHT, InstallationState.COMMITTED)


def next_devices(
    connection: Connection,
    rollout: Rollout,
    *,
    clock: datetime,
    now: datetime,
    limit: int,
    only: str | None = None,
) -> tuple[Installation, ...]:
    """Installations that may be offered now, of this wave or an earlier one, their device online; or one of them.

    No pin is in the way. This is the one place that says who may be asked. `clock` is the service clock.
    """
    query = (
        select(installations)
        .where(
            installations.c.rollout_id == rollout.id,
            installations.c.state == InstallationState.PENDING,
            installations.c.reach == Reach.READY,
            installations.c.wave <= rollout.wave,
            or_(installations.c.not_before.is_(None), installations.c.not_before <= clock),
            ~pins.forbid(now),
        )
        .order_by(installations.c.wave, installations.c.id)
        .limit(limit)
    )
    if only is not None:
        query = query.where(installations.c.id == only)
    return installations_in(connection, query)


def pending_on(connection: Connection, device_id: str, *, now: datetime) -> tuple[Installation, ...]:
    """What one device was not asked yet and may be asked now: no pin is in the way."""
    query = select(installations).where(
        installations.c.device_id == device_id,
        installations.c.state == InstallationState.PENDING,
        ~pins.forbid(now),
    )
    return installations_in(connection, query.order_by(installations.c.id))


def awaited(connection: Connection, *, after: str, limit: int) -> tuple[str, ...]:
    """Rollouts that wait for no wave any more and have a device that is online and was not asked, for some reason.

    The oldest behind `after` first, and then those before it: each has its turn, however many there are.
    """
    ready = select(installations.c.id).where(
        installations.c.rollout_id == rollouts.c.id,
        installations.c.state == InstallationState.PENDING,
        installations.c.reach == Reach.READY,
    )
    query = select(rollouts.c.id).where(rollouts.c.state.in_(list(ASKING)), ready.exists())
    in_turn = query.order_by(rollouts.c.id <= after, rollouts.c.id)
    return tuple(connection.execute(in_turn.limit(limit)).scalars())


def in_flight(connection: Connection, rollout_id: str) -> int:
    """How many devices are at it."""
    query = (
        select(func.count())
        .select_from(installations)
        .where(installations.c.rollout_id == rollout_id, installations.c.state.in_(list(machine.IN_FLIGHT)))
    )
    return connection.execute(query).scalar_one()


def offered_since(connection: Connection, rollout_id: str, since: datetime, *, until: datetime) -> int:
    """How many devices were asked in that time, by the clock of this machine, which may have been put back since."""
    query = (
        select(func.count())
        .select_from(installations)
        .where(
            installations.c.rollout_id == rollout_id,
            installations.c.offered_at > since,
            installations.c.offered_at <= until,
        )
    )
    return connection.execute(query).scalar_one()


# -- deadlines ---------------------------------------------------------------------------------


def due(connection: Connection, *, clock: datetime, limit: int) -> tuple[Installation, ...]:
    """Installations of which something is due, the longest overdue first; those that ended otherwise have no date."""
    query = select(installations).where(installations.c.deadline_at <= clock, installations.c.state.in_(list(_ALONE)))
    return installations_in(connection, query.order_by(installations.c.deadline_at).limit(limit))


def put_off(connection: Connection, installation: Installation, deadlines: Deadlines) -> None:
    """Set when something is due; what people see does not change."""
    connection.execute(
        update(installations)
        .where(installations.c.id == installation.id)
        .values(asked_at=deadlines.asked_at, ends_by=deadlines.ends_by, deadline_at=deadlines.next)
    )


def count_as_not_asked(connection: Connection, installation: Installation) -> None:
    """No wave waits for a device that was to be asked again, nor is anything due of it until it can be asked.

    Harmless where it was not asked before.
    """
    assert installation.state is InstallationState.PENDING, f"{installation.id} is {installation.state}: it was asked"
    if installation.attempt == 1:
        return
    first = {"attempt": 1, "not_before": None, "deadline_at": None}
    connection.execute(update(installations).where(installations.c.id == installation.id).values(first))
    changes = dict.fromkeys(machine.counted(installation.state, again=True), -1)
    count(connection, installation.rollout_id, installation.wave, changes)


def expect_nothing(connection: Connection, installation: Installation) -> None:
    """Nothing is due of it any more; what people see does not change."""
    connection.execute(update(installations).where(installations.c.id == installation.id).values(deadline_at=None))


# -- asked again, and taken back -----------------------------------------------------------------


def ask_again(
    connection: Connection,
    before: Installation,
    *,
    attempt: int,
    not_before: datetime | None,
    deadline_at: datetime | None,
    now: datetime,
) -> str:
    """A new row for a device that is asked once more: a device never tries one installation twice."""
    # One microsecond later than any that the same device got in this transaction.
    row = {
        "id": new_id("install", now + timedelta(microseconds=attempt)),
        "rollout_id": before.rollout_id,
        "wave": before.wave,
        "device_id": before.device_id,
        "deployment": before.deployment,
        "digest": before.digest,
        "state": InstallationState.PENDING,
        "attempt": attempt,
        "not_before": not_before,
        "deadline_at": deadline_at,
        "updated_at": now,
    }
    connection.execute(installations.insert().values(row))
    reach.follow(connection, [before.device_id])
    counted: Mapping[str, int] = dict.fromkeys(machine.counted(InstallationState.PENDING, again=attempt > 1), 1)
    count(connection, before.rollout_id, before.wave, counted)
    return str(row["id"])


def ended_badly(connection: Connection, rollout_id: str, *, limit: int) -> tuple[Installation, ...]:
    """Installations that ended badly and were not asked again."""
    query = select(installations).where(
        installations.c.rollout_id == rollout_id, installations.c.state.in_(list(machine.BAD))
    )
    return installations_in(connection, query.order_by(installations.c.id).limit(limit))


def holders(connection: Connection, rollout_id: str, *, now: datetime, limit: int) -> tuple[Installation, ...]:
    """Installations that can be taken back, in any order, which costs nothing.

    Their device has the model and no pin keeps it there, or it is still wanted to have it.
    """
    holding = installations.c.state.in_(list(machine.HOLDING)) & ~pins.keep(now)
    query = select(installations).where(
        installations.c.rollout_id == rollout_id, holding | (installations.c.state == InstallationState.REGRESSED)
    )
    return installations_in(connection, query.limit(limit))


def kept(connection: Connection, rollout_id: str, *, now: datetime) -> tuple[str, ...]:
    """The devices that have the model of a rollout and that a pin keeps on it, by id."""
    query = select(installations.c.device_id).where(
        installations.c.rollout_id == rollout_id, installations.c.state.in_(list(machine.HOLDING)), pins.keep(now)
    )
    return tuple(connection.execute(query.order_by(installations.c.device_id)).scalars())


def going_back(connection: Connection, *, now: datetime, limit: int) -> tuple[tuple[Installation, str], ...]:
    """The holders of rollouts that take their model back, and why each does."""
    query = select(rollouts.c.id, rollouts.c.reason).where(rollouts.c.state == RolloutState.ROLLING_BACK)
    found: list[tuple[Installation, str]] = []
    for rollout_id, reason in connection.execute(query).all():
        found += [(one, reason) for one in holders(connection, rollout_id, now=now, limit=limit - len(found))]
    return tuple(found)


def is_unheard(connection: Connection, rollout_id: str) -> bool:
    """Whether the model was taken back from a device that was not heard to run another one yet."""
    query = select(installations.c.id).where(_unheard(), installations.c.rollout_id == rollout_id)
    return connection.execute(query.limit(1)).first() is not None


def unheard(connection: Connection, rollout_id: str) -> int:
    """Devices the model was taken back from and that were not heard to run another one yet."""
    query = select(func.count()).select_from(installations).where(_unheard(), installations.c.rollout_id == rollout_id)
    return connection.execute(query).scalar_one()


def unheard_on(connection: Connection, device_id: str) -> tuple[Installation, ...]:
    """What was taken back from one device that has not told yet that it runs another one."""
    query = select(installations).where(_unheard(), installations.c.device_id == device_id)
    return installations_in(connection, query.order_by(installations.c.id))


def hear_back(connection: Connection, installation: Installation, now: datetime) -> None:
    """The device runs another model again."""
    connection.execute(update(installations).where(installations.c.id == installation.id).values(finished_at=now))


def _unheard() -> ColumnElement[bool]:
    return (installations.c.state == InstallationState.ROLLED_BACK) & installations.c.finished_at.is_(None)
