"""The store of disagreements of a rollout's two models that were sent for labelling: rows of the label queue.

What their labels amount to is decided in `edgeops.learning.labels`, what follows for the rollout in
`edgeops.rollout.health`.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from edgeops.learning.labels import Agreed, settle
from edgeops.rollout.rollout import OPEN
from fleet_server.db import labels
from fleet_server.db.label_queue import ItemState
from fleet_server.db.tables import installations, label_queue, rollouts


@dataclass(frozen=True, slots=True)
class Told:
    """A disagreement, and what people say."""

    sample_id: str
    new_answer: str
    old_answer: str
    #: None = nobody said, or those who did do not agree.
    label: str | None
    #: It is asked for still.
    waits: bool


def told(connection: Connection, rollout_id: str, *, wave: int | None = None) -> tuple[Told, ...]:
    """All that were sent, or those of devices of one wave, in the order in which they are asked for."""
    query = select(label_queue).where(label_queue.c.asker == rollout_id, label_queue.c.new_answer.is_not(None))
    if wave is not None:
        query = query.where(_is_of(rollout_id, wave))
    rows = connection.execute(query.order_by(label_queue.c.position)).all()
    spoken = labels.of_samples(connection, [row.sample_id for row in rows if row.state != ItemState.OPEN])
    found = []
    for row in rows:
        outcome = settle(spoken.get(row.sample_id, ()))
        label = outcome.label if isinstance(outcome, Agreed) and row.state == ItemState.LABELLED else None
        waits = row.state in {ItemState.OPEN, ItemState.DISPUTED}
        found.append(Told(row.sample_id, row.new_answer, row.old_answer, label, waits))
    return tuple(found)


def sent(connection: Connection, rollout_id: str, *, wave: int | None = None) -> int:
    """How many were sent so far, or of devices of one wave, and were not dropped without a label."""
    counts = (label_queue.c.asker == rollout_id) & (label_queue.c.state != ItemState.DROPPED)
    if wave is not None:
        counts &= _is_of(rollout_id, wave)
    return connection.execute(select(func.count()).select_from(label_queue).where(counts)).scalar_one()


def inputs(connection: Connection, rollout_id: str) -> frozenset[tuple[str, str]]:
    """(device, input id) of all that were ever sent."""
    query = select(label_queue.c.device_id, label_queue.c.input_id).where(label_queue.c.asker == rollout_id)
    return frozenset((row.device_id, row.input_id) for row in connection.execute(query))


def among(connection: Connection, model: str) -> frozenset[str]:
    """The samples of a model that were chosen because two models disagreed on them."""
    query = select(label_queue.c.sample_id).where(label_queue.c.model == model, label_queue.c.new_answer.is_not(None))
    return frozenset(connection.execute(query).scalars())


def _is_of(rollout_id: str, wave: int) -> ColumnElement[bool]:
    devices = select(installations.c.device_id).where(
        installations.c.rollout_id == rollout_id, installations.c.wave == wave
    )
    return label_queue.c.device_id.in_(devices)


def askers_to_drop(connection: Connection) -> tuple[str, ...]:
    """Rollouts that ended and still ask for labels."""
    query = (
        select(label_queue.c.asker)
        .distinct()
        .join(rollouts, rollouts.c.id == label_queue.c.asker)
        .where(
            label_queue.c.state.in_([ItemState.OPEN, ItemState.DISPUTED]),
            label_queue.c.new_answer.is_not(None),
            rollouts.c.state.not_in(list(OPEN)),
        )
    )
    return tuple(connection.execute(query).scalars())
