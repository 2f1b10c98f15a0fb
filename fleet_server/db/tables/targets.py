"""Which devices are meant, and which are kept where they are: groups and pins."""

from sqlalchemy import BigInteger, Column, ForeignKey, Table, Text

from fleet_server.db.columns import Instant, Json
from fleet_server.db.tables.schema import control

device_groups = Table(
    "device_groups",
    control,
    Column("name", Text, primary_key=True),
    #: Who is in it; empty = the devices that are listed.
    Column("selector", Text, nullable=False),
    Column("device_ids", Json, nullable=False),
    #: Grows with every change: ETag.
    Column("revision", BigInteger, nullable=False),
    Column("updated_by", Text, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

pins = Table(
    "pins",
    control,
    Column("device_id", Text, ForeignKey("devices.id"), primary_key=True),
    #: Empty = every deployment of the device.
    Column("deployment", Text, primary_key=True),
    #: The only artifact it may be offered; null = it keeps what it runs.
    Column("digest", Text),
    Column("reason", Text, nullable=False),
    Column("pinned_by", Text, nullable=False),
    Column("pinned_at", Instant, nullable=False),
    #: Ends by itself then.
    Column("until", Instant),
)
