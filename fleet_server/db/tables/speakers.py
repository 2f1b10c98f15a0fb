"""Who may speak: tokens, devices with their keys and accounts, and what each shall run."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, Table, Text

from fleet_server.db.columns import Instant, Json
from fleet_server.db.tables.schema import control

api_tokens = Table(
    "api_tokens",
    control,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
)

enrolment_tokens = Table(
    "enrolment_tokens",
    control,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("device_id", Text),
)

devices = Table(
    "devices",
    control,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    #: What the id is bound to (machine id or board serial), as the device told at enrolment.
    Column("hardware", Text, nullable=False),
    Column("labels", Json, nullable=False),
    Column("enrolled_at", Instant, nullable=False),
    Column("removed_at", Instant),
    #: Two live sessions under one id: nothing is believed until a person looked.
    Column("quarantined", Boolean, nullable=False, default=False),
    Column("presence", Text, nullable=False, default="offline"),
    Column("session_counter", BigInteger, nullable=False, default=0),
    #: When its newest starts were heard of that were not the first, in seconds since 1970.
    Column("starts", Json, nullable=False, default=()),
    Column("agent_version", Text, nullable=False, default=""),
    Column("last_seen_at", Instant),
    Column("reported", Json),
    Column("reported_at", Instant),
    #: Of what it reported: `edgeops.rollout.blessing.device_class`.
    Column("device_class", Text, nullable=False, default=""),
    Column("desired_epoch", BigInteger, nullable=False, default=0),
    Column("desired_revision", BigInteger, nullable=False, default=0),
)

device_keys = Table(
    "device_keys",
    control,
    Column("device_id", Text, ForeignKey("devices.id"), primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("public_hex", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)

broker_accounts = Table(
    "broker_accounts",
    control,
    Column("username", Text, primary_key=True),
    #: In mosquitto's own format, `$7$<iterations>$<salt>$<hash>`.
    Column("password_hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    #: Not let in before then, because it flooded.
    Column("cut_off_until", Instant),
)

desired = Table(
    "desired",
    control,
    Column("device_id", Text, ForeignKey("devices.id"), primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("target", Text),
    Column("digest", Text),
    Column("installation_id", Text),
    Column("intent", Text, nullable=False),
    Column("trial_inferences", Integer, nullable=False),
    #: `edgeops.protocol.messages.Shadowing`; NULL = no model answers beside the one in charge.
    Column("shadowing", Json),
    #: `edgeops.protocol.messages.Maintenance`, several; when the device may turn to it.
    Column("maintenance", Json, nullable=False, default=()),
    Column("updated_at", Instant, nullable=False),
)
