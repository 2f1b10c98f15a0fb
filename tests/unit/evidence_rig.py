"""Devices that run the tiny model, the engine, and what gathers the evidence of a rollout of its second version."""

from datetime import timedelta

from edgeops.digest import digest_raw
from edgeops.protocol.messages import DeploymentState, Paired, Reported, UpdateState, encode
from edgeops.rollout.evidence import Proof
from edgeops.rollout.installation import InstallationEvent
from edgeops.rollout.policy import HealthPolicy, Policy
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.db import devices, evidence, ingest, installations, rollouts
from fleet_server.engine import Engine, Order, create_rollout
from fleet_server.evidence_gathering import EvidenceGatherer
from fleet_server.rollout_steps import take
from tests.unit.drift_rig import DEPLOYMENT, FACTS, DriftRig, digest, sketch_of

OLD, NEW = 1, 2
ENOUGH = Proof(inferences=20, memory_bytes=4_000_000, committed=True)
POLICY = Policy(
    bake=timedelta(seconds=30),
    evidence_timeout=timedelta(minutes=10),
    health=HealthPolicy(min_rows=100),
)


class EvidenceRig:
    """A fleet in memory of which tests say what each device does; nothing happens between two calls."""

    def __init__(self, folder, *, size=3):
        self.ids = [f"edge-{number:02}" for number in range(size)]
        self.drift = DriftRig(folder, devices_=self.ids)
        self.drift.publish(NEW)
        self.database = self.drift.database
        self.restart()
        self._seq = 10_000

    def close(self):
        self.drift.close()

    def restart(self):
        """Everything that was only in memory is gone."""
        self.engine = Engine(self.database)
        self.gatherer = EvidenceGatherer(self.database, Artifacts(Blobs(self.drift.config)))

    @property
    def now(self):
        return self.drift.now

    def wait(self, seconds):
        self.drift.wait(seconds, turn=False)

    # -- people

    def roll_out(self, *, waves=("1", "100%"), policy=POLICY, **changes):
        order = Order(
            model="tiny", version=NEW, variant="int8", deployment=DEPLOYMENT, selector="all", waves=waves,
            intent="improve", created_by="me", policy=policy, **changes,
        )  # fmt: skip
        rollout_id = create_rollout(self.database, order, self.now)
        self.run()
        return rollout_id

    # -- devices

    def window(self, device_id, version, rows=50, *, age_s=0.0, lasts_s=2.0, phase="live", **values):
        """A window that closed `age_s` ago and arrives now."""
        self._seq += 1
        paired = values.pop("paired", None)
        row = ingest.WindowRow(
            device_id=device_id, spool=b"12345678", seq=self._seq, deployment=DEPLOYMENT, digest=digest(version),
            phase=phase, closed_at=self.now - timedelta(seconds=age_s), received_at=self.now,
            duration_ms=int(lasts_s * 1000), rows=rows, source_rows=rows, errors=values.pop("errors", 0),
            dropped=values.pop("dropped", 0), latency_p50_us=values.pop("p50", 5_000),
            latency_p95_us=values.pop("p95", 9_000), record_bytes=100, sketch=values.pop("sketch", b""),
            paired=b"" if paired is None else encode(paired),
        )  # fmt: skip
        assert not values, values
        with self.database.write_telemetry() as connection:
            ingest.add_windows(connection, [row])

    def sketch(self, rows):
        return sketch_of(self.drift.weather.rows(rows))

    def commit(self, device_id):
        """It trusts the new model from now on; the engine does not look."""
        state = DeploymentState(
            deployment=DEPLOYMENT, state=UpdateState.COMMITTED, active=digest(NEW), previous=digest(OLD)
        )
        with self.database.write() as connection:
            reported = Reported(desired_epoch=0, desired_revision=9, facts=FACTS, deployments=(state,))
            devices.set_reported(connection, device_id, reported, now=self.now)
            take(connection, newest(connection, device_id), InstallationEvent.COMMIT, proof=ENOUGH, now=self.now)

    # -- the server

    def run(self):
        while self.engine.run_once(self.now):
            pass

    def gather(self):
        return self.gatherer.run_once(self.now)

    # -- what came of it

    def rollout(self, rollout_id):
        with self.database.read() as connection:
            return rollouts.get(connection, rollout_id)

    def wave(self, rollout_id, position=0):
        with self.database.read() as connection:
            return evidence.wave_shows_of(rollouts.get_wave(connection, rollout_id, position).health)

    def shows(self, device_id):
        with self.database.read() as connection:
            return evidence.shows_of(newest(connection, device_id).health)

    def desired(self, device_id):
        with self.database.read() as connection:
            wanted = devices.desired_of(connection, device_id)
        return wanted.deployments[0] if wanted else None


def newest(connection, device_id):
    found = installations.unfinished_on(connection, [device_id]) or (
        installations.last_committed(connection, device_id, DEPLOYMENT),
    )
    return found[-1]


def pairs(rows=50, *, differ=0, shadow=OLD, **values):
    """Both models answered `rows` inputs and said another class to `differ` of them."""
    agreed = rows - differ
    cells = (agreed // 3, differ, 0, 0, agreed // 3, 0, 0, 0, agreed - 2 * (agreed // 3))
    return Paired(
        shadow=digest_raw(digest(shadow)), rows=rows, cells=cells, latency_p50_us=5_000, latency_p95_us=9_000,
        shadow_latency_p50_us=5_000, shadow_latency_p95_us=9_000, **values,
    )  # fmt: skip
