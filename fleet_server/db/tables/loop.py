"""What was found to drift, and how it is healed."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, Table, Text

from fleet_server.db.columns import Instant, Json, Serial
from fleet_server.db.tables.schema import control

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
    #: The command's id; one per device and asker.
    Column("id", Text, primary_key=True),
    #: The retraining or rollout that asks.
    Column("asker", Text, nullable=False),
    Column("device_id", Text, ForeignKey("devices.id"), nullable=False),
    #: Whose inputs, and by which artifact answered.
    Column("deployment", Text, nullable=False),
    Column("digest", Text, nullable=False),
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
    Index("ix_nominations_asker", "asker"),
)

label_queue = Table(
    "label_queue",
    control,
    #: Exactly the samples that were chosen for a label.
    Column("sample_id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    #: The retraining or rollout that asks.
    Column("asker", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("input_id", Text, nullable=False),
    #: Of a rollout: the classes that the new and the old model said, which differ.
    Column("new_answer", Text),
    Column("old_answer", Text),
    #: Place in the order in which they help most.
    Column("position", Integer, nullable=False),
    Column("by_chance", Boolean, nullable=False),
    Column("requested_at", Instant, nullable=False),
    #: open, labelled, disputed or dropped.
    Column("state", Text, nullable=False),
    Column("closed_at", Instant),
    Index("ix_label_queue_model", "model", "state", "position"),
    Index("ix_label_queue_asker", "asker", "state"),
)

labels = Table(
    "labels",
    control,
    #: Append-only: who said what; the newest of each author counts.
    Column("id", Serial, primary_key=True, autoincrement=True),
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
