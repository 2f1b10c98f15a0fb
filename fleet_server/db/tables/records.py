"""What devices sent."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, Table, Text

from fleet_server.db.columns import Instant, Json, Serial
from fleet_server.db.tables.schema import telemetry

windows = Table(
    "windows",
    telemetry,
    Column("device_id", Text, primary_key=True),
    Column("spool", LargeBinary, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("deployment", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("phase", Text, nullable=False),
    #: When the window closed, by the server's clock minus the age the device told.
    Column("closed_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("source_rows", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("latency_p50_us", BigInteger, nullable=False),
    Column("latency_p95_us", BigInteger, nullable=False),
    #: Bytes of the record on the wire, as counted against the telemetry budget.
    Column("record_bytes", Integer, nullable=False),
    Column("sketch", LargeBinary, nullable=False),
    #: What a shadow answered on a share of the same inputs, `edgeops.protocol.messages.Paired`; empty = there was none.
    Column("paired", LargeBinary, nullable=False, default=b""),
    Index("ix_windows_time", "device_id", "deployment", "closed_at"),
    Index("ix_windows_digest", "digest", "received_at"),
    #: Windows in the order of arrival, which is that of commits.
    Index("ix_windows_received", "received_at", "device_id", "spool", "seq"),
)

predictions = Table(
    "predictions",
    telemetry,
    Column("device_id", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("input_id", Text, primary_key=True),
    Column("phase", Text, nullable=False),
    Column("answer", Float, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("answered_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    Index("ix_predictions_latest", "device_id", "deployment", "answered_at"),
)

rollups = Table(
    "rollups",
    telemetry,
    #: Windows of one deployment and artifact that closed within one hour, summed at ingest.
    Column("device_id", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("hour", Instant, primary_key=True),
    Column("windows", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("source_rows", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    #: Weighted mean of the windows' medians, and the largest 95th percentile.
    Column("latency_p50_us", BigInteger, nullable=False),
    Column("latency_p95_us", BigInteger, nullable=False),
    Column("record_bytes", BigInteger, nullable=False),
    #: The windows' sketches merged, packed; empty when there is none.
    Column("sketch", LargeBinary, nullable=False),
    #: Windows whose sketch is not in it: of other channels, or one too many.
    Column("unsketched", BigInteger, nullable=False),
    Index("ix_rollups_hour", "hour", "deployment", "digest"),
)

samples = Table(
    "samples",
    telemetry,
    #: Made of (device, spool, seq, place), so that a record taken in twice is one sample.
    Column("id", Text, primary_key=True),
    Column("device_id", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("nomination", Text, nullable=False),
    Column("input_id", Text, nullable=False),
    Column("answered_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    #: Raw readings, float32 little-endian.
    Column("readings", LargeBinary, nullable=False),
    Column("answer", Float, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("weight", Float, nullable=False),
    Column("by_chance", Boolean, nullable=False),
    #: What a shadow answered to the same input; null = none did.
    Column("shadow_answer", Float),
    Index("ix_samples_nomination", "nomination"),
    Index("ix_samples_input", "device_id", "deployment", "input_id"),
    Index("ix_samples_digest", "digest", "received_at", "id"),
    Index("ix_samples_received", "received_at", "id"),
)

spools = Table(
    "spools",
    telemetry,
    Column("device_id", Text, primary_key=True),
    Column("spool", LargeBinary, primary_key=True),
    #: Everything up to here is committed; -1 = nothing.
    Column("through", BigInteger, nullable=False),
    #: Inclusive pairs above `through`.
    Column("ranges", Json, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

marks = Table(
    "marks",
    telemetry,
    Column("device_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("session_counter", BigInteger, nullable=False),
    Column("session_nonce", LargeBinary, nullable=False),
    Column("seq", BigInteger, nullable=False),
    #: Repeated envelopes: QoS 1 does that, and so does a replay.
    Column("repeated", BigInteger, nullable=False, default=0),
)

quarantine = Table(
    "quarantine",
    telemetry,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("ix_quarantine_device", "device_id", "id"),
    sqlite_autoincrement=True,
)
