"""The engine: turns news from devices and people into steps of rollouts.

It reads `events` behind a cursor of its own, and for each: load, pure step (`edgeops.rollout`), save with
outbox and events, all in one transaction that also moves the cursor. So it may be killed anywhere and
repeats nothing. Deadlines are read on the service clock. It sends nothing; the link does.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from edgeops.rollout.rollout import UNBEGUN, RolloutState, is_due, submitting
from fleet_server import blessings
from fleet_server.db import audit, events, installations, offers, rollouts, settings, withdrawals
from fleet_server.db.database import Connection, Database, is_outage
from fleet_server.db.identifiers import new_id
from fleet_server.db.rollouts import Rollout
from fleet_server.four_eyes import lacks_approval
from fleet_server.rollout_news import KINDS, keep_deadlines, keep_installation, start, take_in
from fleet_server.rollout_plans import Order, plan_rollout
from fleet_server.rollout_steps import OFFER_BATCH, advance, deadline_of, recall, withdraw
from fleet_server.service_clock import keep, service_time

#: Events in one transaction, and installations of which something is due.
_BATCH = 100
#: Rollouts that wait for no wave and are looked at in one turn.
_AWAITED = 20
#: How often deadlines are looked at.
_TICK = timedelta(seconds=1)
#: Something of these may be due.
_KEPT = (*UNBEGUN, RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.ROLLING_BACK)

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
    clock = service_time(connection, now)
    draft = Rollout(
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
        wanted_waves=tuple(order.waves),
        state=RolloutState.DRAFT,
        continuous=order.continuous,
        needs_approval=order.needs_approval,
        starts_at=order.starts_at,
        undoes=order.undoes,
        created_by=order.created_by,
        created_at=now,
        entered_at=clock,
        deadline_at=deadline_of(RolloutState.DRAFT, plan.policy, clock),
    )
    rollouts.add(connection, draft, plan.waves)
    count = sum(len(wave.devices) for wave in plan.waves)
    data = {"digest": draft.digest, "deployment": order.deployment, "selector": order.selector, "devices": count}
    audit.append(connection, order.created_by, "rollout.created", draft.id, data, now)
    if not order.draft:
        submit(connection, draft, now)
    return draft.id


def submit(connection: Connection, draft: Rollout, now: datetime) -> Rollout:
    """Have a draft approved if its order or four eyes demand that, and begin it once it is due."""
    event = submitting(needs_approval=lacks_approval(connection, draft))
    return begin_if_due(connection, advance(connection, draft, event, now=now), now)


def begin_if_due(connection: Connection, rollout: Rollout, now: datetime) -> Rollout:
    """Begin a rollout that is scheduled for now."""
    if rollout.state is RolloutState.SCHEDULED and is_due(rollout.starts_at, now):
        return start(connection, rollout, now)
    return rollout


class Engine:
    """Call `run_once` again and again, from one thread of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next_tick: datetime | None = None
        #: The last of the rollouts that were looked at for devices that came late.
        self._looked_after = ""

    def run_once(self, now: datetime) -> int:
        """Take in the next events, take back what is to be taken back, keep deadlines; how much was done of both."""
        count = self._take_events(now) + self._take_back(now)
        # The machine's clock may have been put back.
        if self._next_tick is None or not self._next_tick - _TICK <= now < self._next_tick:
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

    def _take_back(self, now: datetime) -> int:
        """Some of the offers that are marked for it, and of the models of rollouts that go back; how many."""
        with self._database.read() as connection:
            if not withdrawals.marked(connection, limit=1) and not offers.going_back(connection, now=now, limit=1):
                return 0
        count = 0
        with self._database.write() as connection:
            for one in withdrawals.marked(connection, limit=OFFER_BATCH):
                with _undone_if_it_fails(connection, f"withdrawal of {one.id}"):
                    withdraw(connection, one, now)
                    count += 1
            for one, reason in offers.going_back(connection, now=now, limit=OFFER_BATCH):
                with _undone_if_it_fails(connection, f"way back of {one.id}"):
                    recall(connection, one, detail=reason, now=now)
                    count += 1
        return count

    def _keep_time(self, now: datetime) -> None:
        keep(self._database, now)
        blessings.keep(self._database, now)
        with self._database.read() as connection:
            clock = service_time(connection, now)
            ids = [rollout.id for rollout in rollouts.in_states(connection, _KEPT)]
            awaited = offers.awaited(connection, after=self._looked_after, limit=_AWAITED)
            due = offers.due(connection, clock=clock, limit=_BATCH)
        self._looked_after = awaited[-1] if awaited else ""
        ids += [one for one in awaited if one not in ids]
        for one in due:
            with (
                self._database.write() as connection,
                _undone_if_it_fails(connection, f"deadline of {one.id}"),
            ):
                installation = installations.get(connection, one.id)
                if installation is not None and installation.deadline_at == one.deadline_at:
                    keep_installation(connection, installation, now)
        for rollout_id in ids:
            with (
                self._database.write() as connection,
                _undone_if_it_fails(connection, f"deadlines of {rollout_id}"),
            ):
                keep_deadlines(connection, rollout_id, now)


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
