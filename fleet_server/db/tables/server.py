"""The server itself: settings, news, the audit trail, and what waits to be sent."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from fleet_server.db.columns import Instant, Json, Serial
from fleet_server.db.tables.schema import control

settings = Table("settings", control, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

events = Table(
    "events",
    control,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("data", Json, nullable=False),
    Index("ix_events_kind", "kind", "id"),
    sqlite_autoincrement=True,
)

audit = Table(
    "audit",
    control,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("remark", Text, nullable=False, default=""),
    Column("data", Json, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    sqlite_autoincrement=True,
)

idempotency_keys = Table(
    "idempotency_keys",
    control,
    #: Digest of whose it is and of the key itself.
    Column("id", Text, primary_key=True),
    #: The token that sent it; an empty text = a request that needs none.
    Column("token_id", Text, nullable=False),
    #: Digest of what was asked.
    Column("asked", Text, nullable=False),
    #: The answer, readable only to who knows token and key: answers hold secrets that are shown once.
    Column("answer", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("ix_idempotency_keys_age", "created_at"),
    Index("ix_idempotency_keys_token", "token_id", "created_at"),
)

outbox = Table(
    "outbox",
    control,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("device_id", Text, nullable=False),
    #: A `DownKind`; `desired` has no body, the link composes it from the tables when it sends.
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False, default=b""),
    Column("created_at", Instant, nullable=False),
    sqlite_autoincrement=True,
)

leases = Table(
    "leases",
    control,
    #: The kind of process of which there is one at a time: `jobs`, `link`.
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    #: On the database's clock; from then on it is anybody's.
    Column("until", Instant, nullable=False),
    #: Grows with each holder: whoever writes with an older one is refused.
    Column("token", BigInteger, nullable=False),
)
