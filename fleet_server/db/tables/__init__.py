"""All tables. `control` holds decisions, `telemetry` what devices sent; on SQLite they are two files.

Ids are text made by the server, times aware UTC, documents JSON. A row that other processes wait for
is announced in `events` in the same transaction.
"""

from fleet_server.db.tables.incidents import incidents
from fleet_server.db.tables.loop import findings, label_queue, labels, nominations, retrain_policies, retrainings
from fleet_server.db.tables.models import (
    aliases,
    artifacts,
    benchmarks,
    datasets,
    epochs,
    jobs,
    models,
    promotion_policies,
    runs,
    snapshots,
    versions,
)
from fleet_server.db.tables.receivers import deliveries, webhooks
from fleet_server.db.tables.records import marks, predictions, quarantine, rollups, samples, spools, windows
from fleet_server.db.tables.rollouts import installations, rollouts, waves
from fleet_server.db.tables.schema import control, telemetry
from fleet_server.db.tables.server import audit, events, idempotency_keys, leases, outbox, settings
from fleet_server.db.tables.speakers import api_tokens, broker_accounts, desired, device_keys, devices, enrolment_tokens
from fleet_server.db.tables.targets import device_groups, pins

__all__ = [
    "aliases",
    "api_tokens",
    "artifacts",
    "audit",
    "benchmarks",
    "broker_accounts",
    "control",
    "datasets",
    "deliveries",
    "desired",
    "device_groups",
    "device_keys",
    "devices",
    "enrolment_tokens",
    "epochs",
    "events",
    "findings",
    "idempotency_keys",
    "incidents",
    "installations",
    "jobs",
    "label_queue",
    "labels",
    "leases",
    "marks",
    "models",
    "nominations",
    "outbox",
    "pins",
    "predictions",
    "promotion_policies",
    "quarantine",
    "retrain_policies",
    "retrainings",
    "rollouts",
    "rollups",
    "runs",
    "samples",
    "settings",
    "snapshots",
    "spools",
    "telemetry",
    "versions",
    "waves",
    "webhooks",
    "windows",
]
