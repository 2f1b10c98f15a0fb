"""The store of promotion policies: one per model; a model without a row has the default one."""

from datetime import datetime

import msgspec
from sqlalchemy import Connection, select

from edgeops.learning.promotion_policy import PromotionPolicy
from fleet_server.db import audit
from fleet_server.db.tables import promotion_policies
from fleet_server.db.upsert import insert


def get(connection: Connection, model: str) -> PromotionPolicy:
    """The policy of a model."""
    query = select(promotion_policies.c.policy).where(promotion_policies.c.model == model)
    values = connection.execute(query).scalar()
    return PromotionPolicy() if values is None else msgspec.convert(values, PromotionPolicy)


def put(connection: Connection, model: str, policy: PromotionPolicy, *, updated_by: str, now: datetime) -> None:
    """Make `policy` the one of a model, unless it is already; who did is in the audit trail."""
    if policy == get(connection, model):
        return
    values = {"policy": msgspec.to_builtins(policy), "updated_by": updated_by, "updated_at": now}
    statement = insert(connection, promotion_policies).values(model=model, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["model"], set_=values))
    audit.append(connection, updated_by, "promotion.policy", model, msgspec.to_builtins(policy), now)
