"""What is wrong with devices that were right."""

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, Text

from fleet_server.db.columns import Instant
from fleet_server.db.tables.schema import control

incidents = Table(
    "incidents",
    control,
    Column("id", Text, primary_key=True),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False),
    Column("deployment", Text, nullable=False),
    Column("cause", Text, nullable=False),
    #: Digests; null = nothing.
    Column("should", Text),
    Column("runs", Text),
    #: The installation that had proved what should run, if one did.
    Column("installation_id", Text),
    Column("detail", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    #: When the device said so last.
    Column("last_at", Instant, nullable=False),
    #: How often what it shall run was sent again, and when last.
    Column("asked", Integer, nullable=False, default=0),
    Column("asked_at", Instant),
    #: When nobody had to look any more: it was over, or a person closed it.
    Column("closed_at", Instant),
    #: Empty = it closed by itself.
    Column("closed_by", Text, nullable=False, default=""),
    Column("remark", Text, nullable=False, default=""),
    #: When the device ran what it should again. One that a person closed is not opened again before.
    Column("ended_at", Instant),
    Index("ix_incidents_device", "device_id", "ended_at"),
    Index("ix_incidents_opened", "opened_at", "id"),
)
