"""The first tables of telemetry."""

import sqlalchemy as sa
from alembic import op

revision = "telemetry_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "marks",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("session_counter", sa.BigInteger(), nullable=False),
        sa.Column("session_nonce", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("repeated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "kind"),
    )
    op.create_table(
        "predictions",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("input_id", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("answer", sa.Float(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "deployment", "digest", "input_id"),
    )
    op.create_index("ix_predictions_latest", "predictions", ["device_id", "deployment", "answered_at"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_quarantine_device", "quarantine", ["device_id", "id"], unique=False)
    op.create_table(
        "rollups",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("windows", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("source_rows", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("latency_p50_us", sa.BigInteger(), nullable=False),
        sa.Column("latency_p95_us", sa.BigInteger(), nullable=False),
        sa.Column("record_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=False),
        sa.Column("unsketched", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "deployment", "digest", "hour"),
    )
    op.create_index("ix_rollups_hour", "rollups", ["hour", "deployment", "digest"], unique=False)
    op.create_table(
        "samples",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("nomination", sa.Text(), nullable=False),
        sa.Column("input_id", sa.Text(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("readings", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.Float(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("by_chance", sa.Boolean(), nullable=False),
        sa.Column("shadow_answer", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_samples_digest", "samples", ["digest", "received_at", "id"], unique=False)
    op.create_index("ix_samples_input", "samples", ["device_id", "deployment", "input_id"], unique=False)
    op.create_index("ix_samples_nomination", "samples", ["nomination"], unique=False)
    op.create_index("ix_samples_received", "samples", ["received_at", "id"], unique=False)
    op.create_table(
        "spools",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("spool", sa.LargeBinary(), nullable=False),
        sa.Column("through", sa.BigInteger(), nullable=False),
        sa.Column("ranges", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "spool"),
    )
    op.create_table(
        "windows",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("spool", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("source_rows", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("latency_p50_us", sa.BigInteger(), nullable=False),
        sa.Column("latency_p95_us", sa.BigInteger(), nullable=False),
        sa.Column("record_bytes", sa.Integer(), nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=False),
        sa.Column("paired", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "spool", "seq"),
    )
    op.create_index("ix_windows_digest", "windows", ["digest", "received_at"], unique=False)
    op.create_index("ix_windows_received", "windows", ["received_at", "device_id", "spool", "seq"], unique=False)
    op.create_index("ix_windows_time", "windows", ["device_id", "deployment", "closed_at"], unique=False)
