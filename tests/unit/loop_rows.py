"""Rows that the stores of the loop hang on, without the engine that makes them."""

import numpy as np

from edgeops.digest import digest_bytes
from edgeops.protocol.keys import SigningKey
from fleet_server.db import devices, nominations, rollups, samples
from fleet_server.db.tables import label_queue, labels, retrainings

DIGEST = digest_bytes(b"model")


def enrol(connection, device_id, *, now):
    devices.enrol(
        connection, device_id, name=device_id, hardware="board-1", public_key=SigningKey.generate().public, now=now
    )


def add_retraining(connection, retraining_id, *, now, deployment="digits", digest=DIGEST):
    connection.execute(
        retrainings.insert().values(
            id=retraining_id,
            model="digits",
            deployment=deployment,
            digest=digest,
            trigger="person",
            evidence={},
            decision="run",
            policy={},
            without_devices=[],
            state="nominating",
            created_by="test",
            created_at=now,
            updated_at=now,
            entered_at=now,
        )
    )


def ask(connection, asker="retrain-1", *, device_id="cam-1", count=30, deployment="digits", digest=DIGEST, now):
    """A nomination, without the command that goes with it."""
    return nominations.add(
        connection, asker=asker, device_id=device_id, deployment=deployment, digest=digest, count=count, now=now
    )


def add_to_queue(connection, sample_id, *, now, closed=False):
    connection.execute(
        label_queue.insert().values(
            sample_id=sample_id,
            model="digits",
            asker="retrain-1",
            device_id="cam-1",
            deployment="digits",
            input_id="0",
            position=0,
            by_chance=False,
            requested_at=now,
            state="dropped" if closed else "open",
            closed_at=now if closed else None,
        )
    )


def label(connection, sample_id, *, now):
    connection.execute(
        labels.insert().values(
            sample_id=sample_id, model="digits", device_id="cam-1", label="3", source="person", author="ann", at=now
        )
    )


def sample_row(number, received_at):
    return samples.SampleRow(
        id=f"sample-{number}",
        device_id="cam-1",
        deployment="digits",
        digest=DIGEST,
        nomination="nominate-1",
        input_id=str(number),
        answered_at=received_at,
        received_at=received_at,
        readings=np.array([1.5, np.nan], "<f4").tobytes(),
        answer=1.0,
        confidence=0.5,
        weight=3.0,
        by_chance=True,
        shadow_answer=2.0,
    )


def rollup(hour):
    return rollups.RollupRow(
        device_id="cam-1", deployment="digits", digest=DIGEST, hour=hour, windows=1, duration_ms=1, rows=1,
        source_rows=1, errors=0, dropped=0, latency_p50_us=1, latency_p95_us=1, record_bytes=1, sketch=b"",
        unsketched=0,
    )  # fmt: skip
