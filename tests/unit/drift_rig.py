"""A server's database with devices that run the tiny model and send windows: what tests of monitoring stand on."""

import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from edgeops.artifact.manifest import Task, Variant, encode_value
from edgeops.artifact.package import open_artifact
from edgeops.digest import digest_bytes
from edgeops.model.model import Model
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import DeploymentState, DeviceFacts, Presence, Reported, UpdateState
from edgeops.sketch.packing import pack
from edgeops.sketch.reference import decode_reference
from edgeops.sketch.window import Sketcher
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import devices, events, findings, ingest, models
from fleet_server.db.events import EventKind
from fleet_server.monitoring import Monitoring
from tests.golden.tiny import tiny_artifact, tiny_descriptor, tiny_rows
from tests.stores import database_in
from tests.unit.run_rows import add_run

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
FACTS = DeviceFacts(
    arch="x86_64", runtime="litert", runtime_version="2.3", python="3.11", memory_bytes=2**30, disk_free_bytes=2**30
)
DEPLOYMENT = "bench"
CHANNELS = ("x1", "x2", "x3", "x4", "answer", "confidence", "margin")


@cache
def artifact(version=1):
    return tiny_artifact(version=version)


@cache
def digest(version=1):
    return digest_bytes(artifact(version))


@cache
def descriptor(version=1):
    """With an accuracy that leaves room for the answers of a test."""
    one = tiny_descriptor(artifact(version))
    return encode_value(replace(one, manifest=replace(one.manifest, metrics={"accuracy": 0.9})))


@cache
def reference():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(artifact())
        return decode_reference(open_artifact(path).reference)


@cache
def _channel_values():
    """What the tiny model's channels show on 3,000 rows it has never seen."""
    rows, _ = tiny_rows(3_000, seed=11)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(artifact())
        model = Model.load(path)
        values = np.array([model.predict(row[np.newaxis]).channels for row in rows])
        model.close()
    return values


class Weather:
    """Rows as the channels of the tiny model show them; `shift` moves column x2 by so many standard deviations."""

    def __init__(self, seed=0):
        self._random = np.random.default_rng(seed)

    def rows(self, count, *, shift=0.0):
        values = _channel_values()
        drawn = values[self._random.integers(0, len(values), count)].copy()
        drawn[:, 1] += shift * values[:, 1].std()
        return drawn


def sketch_of(rows):
    sketcher = Sketcher(reference())
    sketcher.add(np.asarray(rows, np.float32))
    return pack(sketcher.sketch())


class DriftRig:
    """Devices that run the tiny model, a clock that only tests move, and monitoring."""

    def __init__(self, folder, *, devices_=("edge-1", "edge-2", "edge-3"), config=None, database=None):
        self.config = config or ServerConfig(folder / "data")
        self.database = database or database_in(self.config.db)
        self._owns_database = database is None
        self.artifacts = Artifacts(Blobs(self.config))
        self.monitoring = Monitoring(self.database, self.artifacts)
        self.now = START
        self.weather = Weather()
        self._seq = 0
        self.publish(1)
        for device_id in devices_:
            self.enrol(device_id)

    def close(self):
        if self._owns_database:
            self.database.close()

    def restart(self):
        self.monitoring = Monitoring(self.database, Artifacts(Blobs(self.config)))

    # -- the fleet

    def publish(self, version):
        Blobs(self.config).put(artifact(version))
        with self.database.write() as connection:
            if version == 1:
                add_run(connection, "tiny", START)
            models.add_version(connection, "tiny", version, task=Task.CLASSIFICATION, run_id="run-1", now=self.now)
            one = models.Artifact(
                digest=digest(version), model="tiny", version=version, variant=Variant.INT8, size_bytes=1,
                tflite_bytes=1, target=f"models/tiny/{version}-int8.json", descriptor=descriptor(version),
                created_at=self.now - timedelta(days=30), published_at=None, withdrawn_at=None,
            )  # fmt: skip
            models.add_artifact(connection, one)
            models.mark_published(connection, one, target=one.target, now=self.now)

    def enrol(self, device_id, *, version=1):
        with self.database.write() as connection:
            devices.enrol(
                connection, device_id, name=device_id, hardware="h", public_key=SigningKey.generate().public,
                now=self.now,
            )  # fmt: skip
            devices.set_presence(connection, device_id, presence=Presence.ONLINE, session_counter=1, now=self.now)
        self.report(device_id, version=version)

    def report(self, device_id, *, version=1):
        state = DeploymentState(deployment=DEPLOYMENT, state=UpdateState.IDLE, active=digest(version))
        with self.database.write() as connection:
            reported = Reported(desired_epoch=0, desired_revision=0, facts=FACTS, deployments=(state,))
            devices.set_reported(connection, device_id, reported, now=self.now)

    # -- what devices send

    def send(self, device_id, rows, *, version=1, phase="live", closed_at=None, duration_s=3, sketch=None):
        """One window of `rows` (n, 7), as the link stores it."""
        self._seq += 1
        row = ingest.WindowRow(
            device_id=device_id, spool=b"12345678", seq=self._seq, deployment=DEPLOYMENT, digest=digest(version),
            phase=phase, closed_at=closed_at or self.now, received_at=self.now, duration_ms=int(duration_s * 1000),
            rows=len(rows), source_rows=len(rows), errors=0, dropped=0, latency_p50_us=5, latency_p95_us=9,
            record_bytes=600, sketch=sketch_of(rows) if sketch is None else sketch, paired=b"",
        )  # fmt: skip
        with self.database.write_telemetry() as connection:
            ingest.add_windows(connection, [row])

    def round(self, count=100, *, shift=0.0, of=("edge-1", "edge-2", "edge-3"), shifts=None, every_s=10, **values):
        """A window of every device, then ten seconds and a turn of monitoring."""
        for device_id in of:
            moved = (shifts or {}).get(device_id, shift)
            self.send(device_id, self.weather.rows(count, shift=moved), **values)
        judged = self.monitoring.run_once(self.now)
        self.wait(every_s, turn=False)
        return judged

    def wait(self, seconds, *, turn=True):
        self.now += timedelta(seconds=seconds)
        if turn:
            self.monitoring.run_once(self.now)

    # -- what came of it

    def stream(self, version=1):
        return findings.Stream("tiny", version, digest(version), DEPLOYMENT)

    def fleet(self, version=1):
        with self.database.read() as connection:
            return findings.newest(connection, self.stream(version))

    def local(self, device_id, version=1):
        with self.database.read() as connection:
            return findings.newest(connection, self.stream(version), device_id)

    def spells(self, device_id=""):
        with self.database.read() as connection:
            found = findings.page(connection, "tiny", device_id=device_id, limit=1_000)
        return list(reversed(found))

    def news(self):
        with self.database.read() as connection:
            return list(events.after(connection, 0, [EventKind.DRIFT_JUDGED], limit=10_000))
