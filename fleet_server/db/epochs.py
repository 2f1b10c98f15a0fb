"""The store of epochs: how a training went, pass by pass, written while it goes on."""

import math
from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from fleet_server.db.tables import epochs
from fleet_server.ml.epoch import Epoch


def add(connection: Connection, run_id: str, passed: Sequence[Epoch]) -> None:
    """Write down passes of a run that are over; at least one."""
    rows = [
        {
            "run_id": run_id,
            "number": one.number,
            "training_loss": _number(one.training_loss),
            "validation_loss": _number(one.validation_loss),
            "learning_rate": one.learning_rate,
            "elapsed_s": one.elapsed_s,
        }
        for one in passed
    ]
    connection.execute(insert(epochs), rows)


def page(connection: Connection, run_id: str, after: int, limit: int) -> list[Epoch]:
    """Passes of a run in order, those behind the number `after`; a loss that was no number is NaN."""
    query = select(epochs).where(epochs.c.run_id == run_id, epochs.c.number > after).order_by(epochs.c.number)
    return [
        Epoch(
            number=row.number,
            training_loss=math.nan if row.training_loss is None else row.training_loss,
            validation_loss=math.nan if row.validation_loss is None else row.validation_loss,
            learning_rate=row.learning_rate,
            elapsed_s=row.elapsed_s,
        )
        for row in connection.execute(query.limit(limit))
    ]


def _number(loss: float) -> float | None:
    """Databases differ in what they make of NaN and infinity."""
    return loss if math.isfinite(loss) else None
