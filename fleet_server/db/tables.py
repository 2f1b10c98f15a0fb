"""All tables. `control` holds decisions, `telemetry` what devices sent; on SQLite they are two files.

Ids are text made by the server, times aware UTC, documents JSON. A row that other processes wait for
is announced in `events` in the same transaction.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

from fleet_server.db.columns import Instant, Json

control = MetaData()
telemetry = MetaData()

#: SQLite gives rowids only to INTEGER; PostgreSQL wants BIGINT.
_Serial = BigInteger().with_variant(Integer, "sqlite")

# -- the server itself ------------------------------------------------------------

settings = Table("settings", control, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

events = Table(
    "events",
    control,
    Column("id", _Serial, primary_key=True, autoincrement=True),
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
    Column("id", _Serial, primary_key=True, autoincrement=True),
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

outbox = Table(
    "outbox",
    control,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("device_id", Text, nullable=False),
    #: A `DownKind`; `desired` has no body, the link composes it from the tables when it sends.
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False, default=b""),
    Column("created_at", Instant, nullable=False),
    sqlite_autoincrement=True,
)

# -- who may speak ------------------------------------------------------------------

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
    Column("agent_version", Text, nullable=False, default=""),
    Column("last_seen_at", Instant),
    Column("reported", Json),
    Column("reported_at", Instant),
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
    Column("updated_at", Instant, nullable=False),
)

# -- data, runs, models ---------------------------------------------------------------

datasets = Table(
    "datasets",
    control,
    Column("name", Text, primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    #: Digest of the newest snapshot.
    Column("head", Text),
)

snapshots = Table(
    "snapshots",
    control,
    Column("digest", Text, primary_key=True),
    Column("dataset", Text, ForeignKey("datasets.name"), nullable=False),
    Column("parent", Text),
    Column("created_at", Instant, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    #: Columns, label, classes, splits and statistics: `fleet_server.datasets.snapshot.Schema`.
    Column("schema", Json, nullable=False),
    Index("ix_snapshots_dataset", "dataset", "created_at"),
)

jobs = Table(
    "jobs",
    control,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("step", Text, nullable=False, default=""),
    Column("progress", Float, nullable=False, default=0.0),
    Column("result", Json),
    Column("error", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("worker_pid", Integer),
    Index("ix_jobs_state", "state", "created_at"),
)

runs = Table(
    "runs",
    control,
    Column("id", Text, primary_key=True),
    Column("job_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("snapshot", Text, ForeignKey("snapshots.digest"), nullable=False),
    Column("recipe", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("environment", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("error", Text),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index("ix_runs_model", "model", "created_at"),
)

models = Table(
    "models",
    control,
    Column("name", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

versions = Table(
    "versions",
    control,
    Column("model", Text, ForeignKey("models.name"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("created_at", Instant, nullable=False),
)

artifacts = Table(
    "artifacts",
    control,
    Column("digest", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("variant", Text, nullable=False),
    #: Of the whole file, and of its `.tflite` part.
    Column("size_bytes", BigInteger, nullable=False),
    Column("tflite_bytes", BigInteger, nullable=False),
    Column("target", Text, nullable=False),
    #: The exact descriptor bytes that TUF signs.
    Column("descriptor", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    #: Since when it waits for a key that is not on this server.
    Column("awaiting_signature_at", Instant),
    Column("published_at", Instant),
    Column("withdrawn_at", Instant),
    Index("ix_artifacts_version", "model", "version", "variant", unique=True),
)

aliases = Table(
    "aliases",
    control,
    #: Append-only: the newest row of (model, alias) counts, a version of None = nobody holds it.
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("model", Text, ForeignKey("models.name"), nullable=False),
    #: champion or challenger.
    Column("alias", Text, nullable=False),
    Column("version", Integer),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Index("ix_aliases_model", "model", "alias", "id"),
    sqlite_autoincrement=True,
)

# -- the loop -----------------------------------------------------------------------------

findings = Table(
    "findings",
    control,
    #: One row per spell of one verdict; a new row when verdict, kinds or drifted channels change.
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    #: Empty = the fleet; else the one device that differs from its siblings.
    Column("device_id", Text, nullable=False, default=""),
    Column("verdict", Text, nullable=False),
    Column("kinds", Json, nullable=False),
    Column("class_mix_only", Boolean, nullable=False, default=False),
    #: In words: what, how sure, what to do.
    Column("reason", Text, nullable=False),
    #: The whole latest judgement: channels with D, p, effective rows, both histograms; estimates; quality.
    Column("evidence", Json, nullable=False),
    Column("windows", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    #: When the newest window closed that the latest judgement rests on.
    Column("seen_until", Instant, nullable=False),
    Index("ix_findings_model", "model", "first_at"),
    Index("ix_findings_stream", "digest", "deployment", "device_id", "first_at"),
)

retrain_policies = Table(
    "retrain_policies",
    control,
    Column("model", Text, primary_key=True),
    #: `edgeops.learning.triggers.RetrainPolicy`.
    Column("policy", Json, nullable=False),
    Column("updated_by", Text, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

retrainings = Table(
    "retrainings",
    control,
    #: Every firing of a trigger is a row, also one that was suppressed.
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    #: The model that was found to have drifted, and is to be healed.
    Column("digest", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("evidence", Json, nullable=False),
    #: run, propose or suppressed; of a suppressed one the rule; why, in words.
    Column("decision", Text, nullable=False),
    Column("cause", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    #: The policy as it was when the trigger fired.
    Column("policy", Json, nullable=False),
    #: Devices whose samples and labels are left out.
    Column("without_devices", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("entered_at", Instant, nullable=False),
    Column("detail", Text, nullable=False, default=""),
    Column("labels_wanted", Integer, nullable=False, default=0),
    Column("job_id", Text),
    Column("snapshot", Text),
    Column("version", Integer),
    Column("rollout_id", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index("ix_retrainings_model", "model", "created_at"),
    Index("ix_retrainings_state", "state", "created_at"),
)

nominations = Table(
    "nominations",
    control,
    #: The command's id; one per device and retraining.
    Column("id", Text, primary_key=True),
    Column("retraining_id", Text, ForeignKey("retrainings.id"), nullable=False),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False),
    Column("count", Integer, nullable=False),
    Column("asked_at", Instant, nullable=False),
    #: When it was asked for last; when all its records were there.
    Column("repeated_at", Instant, nullable=False),
    Column("answered_at", Instant),
    #: Places of the records that are there, and how many there are; None = the last one has not come.
    Column("parts", Json, nullable=False),
    Column("parts_expected", Integer),
    Column("samples", Integer, nullable=False, default=0),
    Column("detail", Text, nullable=False, default=""),
    Index("ix_nominations_retraining", "retraining_id"),
)

label_queue = Table(
    "label_queue",
    control,
    #: Exactly the samples that were chosen for a label.
    Column("sample_id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("retraining_id", Text, ForeignKey("retrainings.id"), nullable=False),
    Column("device_id", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("input_id", Text, nullable=False),
    #: Place in the order in which they help most.
    Column("position", Integer, nullable=False),
    Column("by_chance", Boolean, nullable=False),
    Column("requested_at", Instant, nullable=False),
    #: open, labelled, disputed or dropped.
    Column("state", Text, nullable=False),
    Column("closed_at", Instant),
    Index("ix_label_queue_model", "model", "state", "position"),
    Index("ix_label_queue_retraining", "retraining_id", "state"),
)

labels = Table(
    "labels",
    control,
    #: Append-only: who said what; the newest of each author counts.
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("sample_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("label", Text, nullable=False),
    #: person, csv, api or feedback.
    Column("source", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("remark", Text, nullable=False, default=""),
    Column("at", Instant, nullable=False),
    Index("ix_labels_sample", "sample_id", "id"),
    Index("ix_labels_model", "model", "id"),
    sqlite_autoincrement=True,
)

# -- rollouts ---------------------------------------------------------------------------

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
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    #: Index of the wave that runs.
    Column("wave", Integer, nullable=False, default=0),
    #: Grows with every change: optimistic lock and ETag.
    Column("revision", BigInteger, nullable=False, default=1),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index("ix_rollouts_state", "state", "created_at"),
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
    Column("offered_at", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index("ix_installations_wave", "rollout_id", "wave", "state"),
    Index("ix_installations_device", "device_id", "deployment", "updated_at"),
)

# -- what devices sent --------------------------------------------------------------------

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
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("ix_quarantine_device", "device_id", "id"),
    sqlite_autoincrement=True,
)
