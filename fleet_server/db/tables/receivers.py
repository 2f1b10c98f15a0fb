"""Who is told from here: receivers of webhooks, and messages on their way to them."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from fleet_server.db.columns import Instant, Json
from fleet_server.db.tables.schema import control

deliveries = Table(
    "deliveries",
    control,
    #: Made of the event and the receiver, so that they sort by time and none is queued twice.
    Column("id", Text, primary_key=True),
    Column("webhook_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("detail", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Index("ix_deliveries_state", "state", "webhook_id", "id"),
    Index("ix_deliveries_webhook", "webhook_id", "id"),
)

webhooks = Table(
    "webhooks",
    control,
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("kinds", Json, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    #: Up to which event its messages are on their way or ended.
    Column("cursor", BigInteger, nullable=False),
)
