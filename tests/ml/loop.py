"""Devices around a job desk that see rows, nominate and are labelled, for tests that heal a model."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from sqlalchemy import insert

from edgeops.artifact.manifest import Variant
from edgeops.learning.labels import LabelSource
from edgeops.model.model import Model
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import DeploymentState, DeviceFacts, Presence, Reported, UpdateState
from edgeops.sketch.packing import pack
from edgeops.sketch.window import Sketcher
from fleet_server.db import devices, ingest, labels, models, nominations, samples
from fleet_server.db.jobs import Job, Publish, Retrain
from fleet_server.db.labels import NewLabel
from fleet_server.db.samples import SampleRow
from fleet_server.db.tables import retrainings
from tests.ml.desk import Desk

DEPLOYMENT = "bench"
FACTS = DeviceFacts(
    arch="x86_64", runtime="litert", runtime_version="2.3", python="3.11", memory_bytes=1, disk_free_bytes=1
)


@dataclass(frozen=True)
class Seen:
    """Rows that one device nominated, with what a person would say of them."""

    device: str
    values: np.ndarray
    labels: list[str]


class Loop:
    """The devices `edge-1`, `edge-2` ... run the int8 file of version 1 of `model`."""

    def __init__(self, desk: Desk, model: str, *, devices_: int = 3) -> None:
        self.desk, self.model = desk, model
        self.devices = [f"edge-{number + 1}" for number in range(devices_)]
        self._count = 0
        self.run(1)

    def artifact(self, version: int, variant: Variant = Variant.INT8) -> models.Artifact:
        with self.desk.database.read() as connection:
            found = models.get_artifact(connection, self.model, version, variant)
        assert found is not None
        return found

    def loaded(self, version: int, variant: Variant = Variant.INT8) -> Model:
        return Model.load(self.desk.blobs.path(self.artifact(version, variant).digest))

    def run(self, version: int) -> None:
        """Publish a version, and let every device report that it runs it."""
        self.desk.succeed(Publish(model=self.model, version=version))
        self.digest = self.artifact(version).digest
        state = DeploymentState(deployment=DEPLOYMENT, state=UpdateState.IDLE, active=self.digest)
        reported = Reported(desired_epoch=0, desired_revision=0, facts=FACTS, deployments=(state,))
        now = datetime.now(UTC)
        with self.desk.database.write() as connection:
            for device_id in self.devices:
                if devices.get(connection, device_id) is None:
                    key = SigningKey.generate().public
                    devices.enrol(connection, device_id, name=device_id, hardware="h", public_key=key, now=now)
                devices.set_presence(connection, device_id, presence=Presence.ONLINE, session_counter=1, now=now)
                devices.set_reported(connection, device_id, reported, now=now)

    def see(self, device: str, rows: np.ndarray) -> None:
        """A window of what a device saw."""
        model = Model.load(self.desk.blobs.path(self.digest))
        assert model.reference is not None
        sketcher = Sketcher(model.reference)
        for row in rows:
            sketcher.push(model.predict(row[np.newaxis]).channels)
        model.close()
        now = datetime.now(UTC)
        self._count += 1
        row = ingest.WindowRow(
            device_id=device, spool=self.model.encode().rjust(8)[-8:], seq=self._count, deployment=DEPLOYMENT, digest=self.digest,
            phase="live", closed_at=now, received_at=now, duration_ms=1000, rows=len(rows), source_rows=len(rows),
            errors=0, dropped=0, latency_p50_us=5, latency_p95_us=9, record_bytes=600, sketch=pack(sketcher.sketch()), paired=b"",
        )  # fmt: skip
        with self.desk.database.write_telemetry() as connection:
            ingest.add_windows(connection, [row])

    def retraining(self, *seen: Seen, labelled: bool = True, source: LabelSource = LabelSource.PERSON) -> str:
        """A retraining for which devices nominated these rows, and a person labelled them."""
        now = datetime.now(UTC)
        self._count += 1
        retraining = f"{self.model}-retraining-{self._count}"
        rows: list[SampleRow] = []
        with self.desk.database.write() as connection:
            connection.execute(
                insert(retrainings).values(
                    id=retraining,
                    model=self.model,
                    deployment=DEPLOYMENT,
                    digest=self.digest,
                    trigger="person",
                    evidence={},
                    decision="run",
                    policy={},
                    without_devices=[],
                    state="training",
                    created_by="test",
                    created_at=now,
                    updated_at=now,
                    entered_at=now,
                )
            )
            for one in seen:
                asked = nominations.add(
                    connection,
                    asker=retraining,
                    device_id=one.device,
                    deployment=DEPLOYMENT,
                    digest=self.digest,
                    count=len(one.values),
                    now=now,
                )
                given = []
                for place, (values, label) in enumerate(zip(one.values, one.labels, strict=True)):
                    row = _sample(one.device, asked.id, place, values, digest=self.digest, now=now)
                    rows.append(row)
                    given.append(
                        NewLabel(
                            sample_id=row["id"],
                            model=self.model,
                            device_id=one.device,
                            label=label,
                            source=source,
                            author="lab",
                        )
                    )
                if labelled:
                    labels.add(connection, given, now)
        with self.desk.database.write_telemetry() as connection:
            samples.add(connection, rows)
        return retraining

    def request(self, retraining: str, **values: object) -> Retrain:
        return Retrain(retraining=retraining, model=self.model, digest=self.digest, deployment=DEPLOYMENT, **values)  # type: ignore[arg-type]

    def desk_parameters(self, job: Job) -> dict[str, object]:
        """A job's request as it lies in the database."""
        parameters: dict[str, object] = msgspec.to_builtins(job.request)
        return parameters

    def heal(self, retraining: str, **values: object) -> Job:
        return self.desk.succeed(self.request(retraining, **values))


def _sample(device: str, nomination: str, place: int, values: np.ndarray, *, digest: str, now: datetime) -> SampleRow:
    return SampleRow(
        id=f"{nomination}-{place}", device_id=device, deployment=DEPLOYMENT, digest=digest, nomination=nomination,
        input_id=str(place), answered_at=now, received_at=now, readings=values.astype("<f4").tobytes(),
        answer=0.0, confidence=0.5, weight=10.0, by_chance=place % 5 == 0, shadow_answer=None,
    )  # fmt: skip


def world(rows: int, *, aged: bool = False, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Rows of three classes that can be told apart, and their classes; with age, what tells them apart moves."""
    random = np.random.default_rng(seed)
    classes = np.arange(rows) % 3
    values = 0.6 * random.normal(size=(rows, 5)) + classes[:, None] * [2.0, -1.5, 0.0, 1.0, 0.0]
    if aged:
        values += [3.0, -2.0, 1.5, 0.0, 2.0]
    return values.astype(np.float32), [["idle", "on", "worn"][one] for one in classes]


def write_world(path: Path, *, rows: int) -> Path:
    """The young world as a file."""
    values, labels = world(rows, seed=1_000)
    np.savez(path, X=values, y=np.array(labels))
    return path
