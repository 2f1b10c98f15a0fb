"""Data, jobs, runs, models and their artifacts."""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, LargeBinary, Table, Text

from fleet_server.db.columns import Instant, Json, Serial
from fleet_server.db.tables.schema import control

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
    #: Columns, label, classes, splits and statistics: `edgeops.data.schema.Schema`.
    Column("schema", Json, nullable=False),
    #: Since when its rows are gone: a group of it was erased.
    Column("erased_at", Instant),
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
    #: Digest of what is done (`fleet_server.work`).
    Column("work", Text),
    Index("ix_jobs_state", "state", "created_at"),
    Index("ix_jobs_work", "work"),
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
    #: Artifacts that were asked for.
    Column("variants", Json, nullable=False),
    #: What it healed, and how: `fleet_server.db.runs.Healing`; NULL = a training of its own.
    Column("healing", Json),
    #: Where it ran: `edgeops.learning.environment.Environment`.
    Column("environment", Json, nullable=False),
    #: Seconds by step.
    Column("durations", Json, nullable=False, default=dict),
    Column("metrics", Json, nullable=False),
    Column("judgement", Json, nullable=False),
    #: Digest of the inputs that int8 took its ranges from.
    Column("calibration", Text),
    #: What a person should know of the data.
    Column("warnings", Json, nullable=False, default=()),
    Column("state", Text, nullable=False),
    Column("error", Text),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index("ix_runs_model", "model", "id"),
)

epochs = Table(
    "epochs",
    control,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    #: NULL = no number.
    Column("training_loss", Float),
    Column("validation_loss", Float),
    Column("learning_rate", Float, nullable=False),
    #: Since the first one began.
    Column("elapsed_s", Float, nullable=False),
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

promotion_policies = Table(
    "promotion_policies",
    control,
    Column("model", Text, primary_key=True),
    #: `edgeops.learning.promotion_policy.PromotionPolicy`.
    Column("policy", Json, nullable=False),
    Column("updated_by", Text, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

benchmarks = Table(
    "benchmarks",
    control,
    #: The command's id.
    Column("id", Text, primary_key=True),
    #: The rollout, or the name of the token, that asked first.
    Column("asked_by", Text, nullable=False),
    #: That trained the version.
    Column("run_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("variant", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False),
    #: Whose source the model must fit as well.
    Column("deployment", Text),
    #: As it was asked; once it has answered, as it says.
    Column("device_class", Text, nullable=False),
    Column("asked_at", Instant, nullable=False),
    #: When it was asked last; None = it was not online yet.
    Column("repeated_at", Instant),
    #: On the service clock.
    Column("ends_at", Instant, nullable=False),
    Column("ended_at", Instant),
    #: blessed, refused or inconclusive; why, in words.
    Column("outcome", Text),
    Column("detail", Text, nullable=False, default=""),
    #: What was measured: `edgeops.protocol.messages.Benchmarked`.
    Column("result", Json),
    Index("ix_benchmarks_digest", "digest", "device_class"),
    Index("ix_benchmarks_run", "run_id"),
    Index("ix_benchmarks_ended", "ended_at"),
)

aliases = Table(
    "aliases",
    control,
    #: Append-only: the newest row of (model, alias) counts, a version of None = nobody holds it.
    Column("id", Serial, primary_key=True, autoincrement=True),
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
