"""Rows that the stores of the loop hang on, without the engine that makes them."""

from edgeops.digest import digest_bytes
from edgeops.protocol.keys import SigningKey
from fleet_server.db import devices
from fleet_server.db.tables import retrainings

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
