"""The engine: turns news from devices and people into steps of rollouts.

It reads `events` behind a cursor of its own, and for each: load, pure step (`edgeops.rollout`), save with
outbox and events, all in one transaction that also moves the cursor. So it may be killed anywhere and
repeats nothing. Deadlines stand still while it is down. It sends nothing; the link does.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from edgeops.errors import ConflictError, NotFoundError
from edgeops.limits import MAX_DETAIL_LENGTH
from edgeops.rollout.installation import InstallationEvent
from edgeops.rollout.rollout import OPEN, RolloutEvent, RolloutState
from fleet_server.db import audit, events, rollouts, settings
from fleet_server.db.database import Connection, Database, is_outage
from fleet_server.db.identifiers import new_id
from fleet_server.db.rollouts import Rollout
from fleet_server.rollout_news import KINDS, keep_deadlines, take_in
from fleet_server.rollout_plans import Order, plan_rollout
from fleet_server.rollout_steps import advance, end_deserted, take

#: When the engine was last alive, and until when nothing times out.
_ALIVE, _GRACE = "engine.alive", "engine.grace"
#: Events in one transaction.
_BATCH = 100
#: How often deadlines are looked at, and how often the engine says that it lives.
_TICK = timedelta(seconds=1)
_ALIVE_EVERY = timedelta(seconds=10)
#: Silence of the engine that counts as an outage, and what devices get afterwards to be heard.
_OUTAGE = timedelta(seconds=60)
_GRACE_AFTER_OUTAGE = timedelta(minutes=2)

_log = logging.getLogger(__name__)


def create_rollout(database: Database, order: Order, now: datetime) -> str:
    """Begin to bring an artifact to devices, and return the rollout's id.

    Raises:
        InputError, NotFoundError, ConflictError: as `begin_rollout`.
    """
    with database.write() as connection:
        return begin_rollout(connection, order, now)


def begin_rollout(connection: Connection, order: Order, now: datetime) -> str:
    """The same inside the caller's transaction.

    A device that another rollout of the same deployment has not finished with belongs to this one from
    now on: newest wins.

    Raises:
        InputError, NotFoundError, ConflictError: something is wrong with the order; the error names every field.
    """
    planned = plan_rollout(connection, order, now)
    if planned.artifact is None or planned.objections:
        planned.refuse()
    artifact, plan = planned.artifact, planned.plan
    rollout = Rollout(
        id=new_id("rollout", now),
        model=order.model,
        version=order.version,
        variant=artifact.variant,
        digest=artifact.digest,
        target=artifact.target,
        deployment=order.deployment,
        selector=order.selector,
        intent=plan.intent,
        policy=plan.policy,
        state=RolloutState.RUNNING,
        continuous=order.continuous,
        created_by=order.created_by,
        created_at=now,
    )
    ids = [one.id for wave in plan.waves for one in wave.devices]
    _take_over(connection, rollout, ids, now)
    rollouts.add(connection, rollout, plan.waves)
    data = {"digest": rollout.digest, "deployment": order.deployment, "selector": order.selector, "devices": len(ids)}
    audit.append(connection, order.created_by, "rollout.created", rollout.id, data, now)
    return rollout.id


def abort_rollout(database: Database, rollout_id: str, *, aborted_by: str, now: datetime, remark: str = "") -> None:
    """End a rollout: devices that committed keep the model, offers that have not ended are taken back.

    Raises:
        NotFoundError: no such rollout.
        ConflictError: it has ended already.
    """
    with database.write() as connection:
        rollout = rollouts.get(connection, rollout_id)
        if rollout is None:
            raise NotFoundError(f"no rollout {rollout_id!r}; list them with: edgeops rollout list")
        if rollout.state not in OPEN:
            raise ConflictError(f"rollout {rollout_id} is {rollout.state} already; nothing is left to abort")
        reason = f"aborted by {aborted_by}" + (f": {remark}" if remark else "")
        advance(connection, rollout, RolloutEvent.ABORT, reason=reason[:MAX_DETAIL_LENGTH], now=now)
        audit.append(connection, aborted_by, "rollout.aborted", rollout_id, {}, now, remark=remark)


class Engine:
    """Call `run_once` again and again, from one thread of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next_tick: datetime | None = None

    def run_once(self, now: datetime) -> int:
        """Take in the next events and keep deadlines; how many events there were."""
        count = self._take_events(now)
        if self._next_tick is None or now >= self._next_tick:
            self._next_tick = now + _TICK
            self._keep_time(now)
        return count

    def _take_events(self, now: datetime) -> int:
        with self._database.read() as connection:
            if not events.after(connection, _cursor(connection), KINDS, limit=1):
                return 0
        with self._database.write() as connection:
            news = events.after(connection, _cursor(connection), KINDS, limit=_BATCH)
            for event in news:
                with _undone_if_it_fails(connection, f"event {event.id}, {event.kind} of {event.subject}"):
                    take_in(connection, event, now)
            if news:
                settings.write(connection, settings.ENGINE_CURSOR, str(news[-1].id))
        return len(news)

    def _keep_time(self, now: datetime) -> None:
        with self._database.read() as connection:
            alive = _instant(connection, _ALIVE)
            grace = _instant(connection, _GRACE)
            ids = [rollout.id for rollout in rollouts.running(connection)]
        if alive is None or now - alive >= _ALIVE_EVERY:
            with self._database.write() as connection:
                settings.write(connection, _ALIVE, now.isoformat())
                if alive is not None and now - alive >= _OUTAGE:
                    grace = now + _GRACE_AFTER_OUTAGE
                    settings.write(connection, _GRACE, grace.isoformat())
                    _log.warning("engine.outage seconds=%d", (now - alive).total_seconds())
        for rollout_id in ids:
            with (
                self._database.write() as connection,
                _undone_if_it_fails(connection, f"deadlines of {rollout_id}"),
            ):
                keep_deadlines(connection, rollout_id, now, grace)


@contextmanager
def _undone_if_it_fails(connection: Connection, what: str) -> Iterator[None]:
    """A bug in one step must not stop every other rollout: the step is undone and told.

    Raises:
        Exception: the database itself is locked, full or gone; the step is not to blame and comes again.
    """
    try:
        with connection.begin_nested():
            yield
    except Exception as error:
        if is_outage(error):
            raise
        _log.exception("engine.step-failed %s", what)


def _cursor(connection: Connection) -> int:
    return int(settings.read(connection, settings.ENGINE_CURSOR) or 0)


def _instant(connection: Connection, key: str) -> datetime | None:
    text = settings.read(connection, key)
    return None if text is None else datetime.fromisoformat(text)


def _take_over(connection: Connection, newer: Rollout, device_ids: Sequence[str], now: datetime) -> None:
    """Newest wins: older rollouts let go of these devices, and end when no device is left to them."""
    reason = f"superseded by rollout {newer.id}"
    touched: set[str] = set()
    for installation in rollouts.unfinished_on(connection, device_ids, deployment=newer.deployment):
        take(connection, installation, InstallationEvent.WITHDRAW, detail=reason, now=now)
        touched.add(installation.rollout_id)
    end_deserted(connection, touched, reason=reason, now=now)
