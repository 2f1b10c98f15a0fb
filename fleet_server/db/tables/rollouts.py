"""Rollouts, their waves and installations."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, Table, Text, text

from fleet_server.db.columns import Instant, Json
from fleet_server.db.tables.schema import control

rollouts = Table(
    "rollouts",
    control,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("variant", Text, nullable=False),
    Column("digest", Text, ForeignKey("artifacts.digest"), nullable=False),
    Column("target", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("selector", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("policy", Json, nullable=False),
    #: As somebody wrote them.
    Column("wanted_waves", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    #: Index of the wave that runs.
    Column("wave", Integer, nullable=False, default=0),
    #: Grows with every change: optimistic lock and ETag.
    Column("revision", BigInteger, nullable=False, default=1),
    #: Goes on after its last wave: devices that join the fleet later, and match, get it too.
    Column("continuous", Boolean, nullable=False, default=False),
    Column("needs_approval", Boolean, nullable=False, default=False),
    Column("approved_by", Text),
    #: Not before this.
    Column("starts_at", Instant),
    #: When it asked for the first time.
    Column("began_at", Instant),
    #: When it came into its state, on the service clock; and until when it may stay there.
    Column("entered_at", Instant),
    Column("deadline_at", Instant),
    #: The rollout that this one undoes.
    Column("undoes", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index("ix_rollouts_state", "state", "created_at"),
    Index("ix_rollouts_deployment", "deployment", "created_at"),
)

waves = Table(
    "waves",
    control,
    Column("rollout_id", Text, ForeignKey("rollouts.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    #: Counters by installation state, kept by the transaction that changes an installation.
    Column("size", Integer, nullable=False),
    Column("offered", Integer, nullable=False, default=0),
    Column("committed", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("inconclusive", Integer, nullable=False, default=0),
    #: Committed, and later found to run something else.
    Column("regressed", Integer, nullable=False, default=0),
    #: Who is in it, where a selector says so; empty = by number.
    Column("selector", Text, nullable=False, default=""),
    #: Held back as control until the bake before it is over.
    Column("control", Boolean, nullable=False, default=False),
    #: Since when every device that was asked has ended and the wave bakes, on the service clock.
    Column("bakes_since", Instant),
    #: What its devices and the control share have shown, summed up: `edgeops.rollout.health`.
    Column("health", Json),
    #: Who let it pass without proof, why and when.
    Column("override", Json),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    #: The stored verdict with its evidence, in words.
    Column("verdict", Json),
)

installations = Table(
    "installations",
    control,
    Column("id", Text, primary_key=True),
    Column("rollout_id", Text, ForeignKey("rollouts.id"), nullable=False),
    Column("wave", Integer, nullable=False),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False),
    Column("deployment", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("detail", Text, nullable=False, default=""),
    Column("evidence", Json),
    #: What the device showed since it was asked, and before: `edgeops.rollout.health`.
    Column("health", Json),
    #: When the last window closed that counts and is of no trial.
    Column("shown_at", Instant),
    #: 1 = asked for the first time; a retry is a row of its own.
    Column("attempt", Integer, nullable=False, default=1),
    #: Not asked before this, on the service clock: the pause before a retry.
    Column("not_before", Instant),
    #: On the service clock: when the device was asked, until when it must end, and when something is due.
    Column("asked_at", Instant),
    Column("ends_by", Instant),
    Column("deadline_at", Instant),
    Column("offered_at", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("finished_at", Instant),
    #: Whether the device can be asked: `fleet_server.db.reach`.
    Column("reach", Text, nullable=False, default="out"),
    #: Why it is to be taken back from the device, which the engine has not done yet: `fleet_server.db.withdrawals`.
    Column("withdrawal", Text),
    Index("ix_installations_reach", "rollout_id", "state", "reach", "wave", "id"),
    Index("ix_installations_shown", "rollout_id", "wave", "shown_at"),
    Index("ix_installations_wave", "rollout_id", "wave", "state", "updated_at"),
    Index("ix_installations_device", "device_id", "deployment", "updated_at"),
    Index("ix_installations_deadline", "deadline_at"),
    Index("ix_installations_offered", "rollout_id", "offered_at"),
    Index(
        "ix_installations_unfinished",
        "rollout_id",
        "state",
        sqlite_where=text("finished_at IS NULL"),
        postgresql_where=text("finished_at IS NULL"),
    ),
    Index(
        "ix_installations_withdrawal",
        "id",
        sqlite_where=text("withdrawal IS NOT NULL"),
        postgresql_where=text("withdrawal IS NOT NULL"),
    ),
)
