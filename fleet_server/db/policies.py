"""The store of retraining policies: one per model; a model without a row has the default one."""

from datetime import datetime

import msgspec
from sqlalchemy import Connection, select

from edgeops.learning.triggers import RetrainPolicy
from fleet_server.db import audit
from fleet_server.db.tables import retrain_policies
from fleet_server.db.upsert import insert


def get(connection: Connection, model: str) -> RetrainPolicy:
    """The policy of a model."""
    query = select(retrain_policies.c.policy).where(retrain_policies.c.model == model)
    values = connection.execute(query).scalar()
    return RetrainPolicy() if values is None else msgspec.convert(values, RetrainPolicy)


def every(connection: Connection) -> tuple[tuple[str, RetrainPolicy], ...]:
    """The models whose policy somebody chose, with it, by name."""
    query = select(retrain_policies.c.model, retrain_policies.c.policy).order_by(retrain_policies.c.model)
    return tuple((row.model, msgspec.convert(row.policy, RetrainPolicy)) for row in connection.execute(query))


def put(connection: Connection, model: str, policy: RetrainPolicy, *, updated_by: str, now: datetime) -> None:
    """Make `policy` the one of a model, unless it is already; who did is in the audit trail."""
    if policy == get(connection, model):
        return
    values = {"policy": policy, "updated_by": updated_by, "updated_at": now}
    statement = insert(connection, retrain_policies).values(model=model, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["model"], set_=values))
    audit.append(connection, updated_by, "retraining.policy", model, msgspec.to_builtins(policy), now)
