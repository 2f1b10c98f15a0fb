"""What is known of a small version, as a value."""

from datetime import UTC, datetime

import msgspec

from edgeops.artifact.manifest import Promotion, Task
from edgeops.card.facts import Facts
from edgeops.data.reasons import Reason
from edgeops.data.schema import FORMAT, ColumnStatistics, Schema
from edgeops.digest import digest_bytes
from tests.golden.tiny import COLUMNS, LABELS, tiny_artifact, tiny_descriptor

SNAPSHOT, SOURCE = digest_bytes(b"snapshot"), digest_bytes(b"source")
DATASET = "tiny-rows"


def schema_of(**given):
    values = {
        "format": FORMAT,
        "task": Task.CLASSIFICATION,
        "label": "state",
        "units": "",
        "columns": COLUMNS,
        "shape": (len(COLUMNS),),
        "classes": LABELS,
        "rows": 600,
        "split_rows": (420, 60, 120),
        "class_rows": (300, 260, 40),
        "statistics": tuple(
            ColumnStatistics(minimum=-3, maximum=3 + place, mean=0, std=1, missing=place, quantiles=(-2, -1, 0, 1, 2))
            for place in range(len(COLUMNS))
        ),
        "source": SOURCE,
        "where": (),
        "hold_out": 0.2,
        "seed": 0,
        "refused": {Reason.DUPLICATE: 7},
    }
    return Schema(**(values | given))


def descriptor_of(version=3, *, promotion=None, host="here"):
    described = tiny_descriptor(tiny_artifact("tiny", version))
    manifest = described.manifest
    lineage = msgspec.structs.replace(
        manifest.lineage, snapshot=SNAPSHOT, libraries={"numpy": "2.4.0", "tensorflow-cpu": "2.21.0+local"}
    )
    metrics = {"accuracy": 0.99, "accuracy-low": 0.97, "accuracy-high": 0.995, "macro-f1": 0.98}
    return msgspec.structs.replace(
        described,
        manifest=msgspec.structs.replace(manifest, lineage=lineage, metrics=metrics),
        promotion=promotion or described.promotion,
        host=host,
    )


def facts_of(*, version=3, promotion=None, host="here", **given):
    schema = schema_of(**{name: given.pop(name) for name in tuple(given) if name in Schema.__struct_fields__})
    values = {
        "model": "tiny",
        "version": version,
        "created_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "run": "run-0003",
        "files": (descriptor_of(version, promotion=promotion or Promotion(passed=True), host=host),),
        "dataset": DATASET,
        "schema": schema,
    }
    return Facts(**(values | given))
