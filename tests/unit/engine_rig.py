"""A server's database with devices and models, without processes: what engine tests stand on."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from sqlalchemy import select, update

from edgeops.artifact.manifest import Task, Variant
from edgeops.digest import digest_bytes
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import (
    DeploymentState,
    DesiredDeployment,
    DeviceFacts,
    Presence,
    Reason,
    Reported,
    UpdateState,
)
from edgeops.rollout.health.device import DeviceHealth, Live, Period
from edgeops.rollout.health.wave import Shown
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.policy import Policy
from fleet_server import roster, service_clock
from fleet_server.config import ServerConfig
from fleet_server.db import devices, events, installations, models, rollouts, tables
from fleet_server.db.events import EventKind
from fleet_server.db.evidence import Shows, WaveShows, shows_of
from fleet_server.db.installations import Installation
from fleet_server.engine import Engine, create_rollout
from fleet_server.rollout_orders import By, abort_rollout
from fleet_server.rollout_plans import Order
from tests.golden.tiny import tiny_artifact, tiny_descriptor
from tests.stores import database_in
from tests.unit.run_rows import add_run

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
FACTS = DeviceFacts(
    arch="x86_64", runtime="litert", runtime_version="2.3", python="3.11", memory_bytes=1 << 30, disk_free_bytes=1 << 30
)
#: A wave is proven once its devices have committed, and nobody is asked twice, as far as a test says nothing else.
QUICK = Policy(bake=timedelta(0), retries=0)
#: Of every artifact of these tests.
DESCRIPTOR = msgspec.json.encode(tiny_descriptor(tiny_artifact()))
#: What a wave has shown of which all is well.
WELL = Shown(devices=1_000, heard=1_000, since=Period(rows=1_000_000))
ENOUGH = {"inferences": 20, "errors": 0, "latency_p50_us": 5, "latency_p95_us": 9, "memory_bytes": 0}


class Bugs(logging.Handler):
    """Steps that the engine had to undo; a test that does not expect one fails."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(self.format(record))


class Fleet:
    """Devices `dev-0`, `dev-1` ... that report the deployment `gas`, and a clock that only tests move."""

    def __init__(self, folder: Path, *, size: int) -> None:
        self._folder = folder
        self.database = database_in(folder)
        self.now = START
        self.bugs = Bugs()
        logging.getLogger("fleet_server.engine").addHandler(self.bugs)
        self.engine = Engine(self.database)
        #: The link is connected and commits.
        self.is_heard = True
        self.ids = [f"dev-{number}" for number in range(size)]
        for device_id in self.ids:
            self.enrol(device_id)
        with self.database.write() as connection:
            add_run(connection, "gas", START)
        for version in (1, 2, 3):
            self.train(version, published=version < 3)

    def close(self) -> None:
        """Give the database back, and tell what the engine had to undo."""
        logging.getLogger("fleet_server.engine").removeHandler(self.bugs)
        self.database.close()
        assert not self.bugs.told, self.bugs.told

    def enrol(self, device_id: str, *, deployments: tuple[str, ...] = ("gas",), facts: DeviceFacts = FACTS) -> None:
        with self.database.write() as connection:
            devices.enrol(
                connection,
                device_id,
                name=device_id,
                hardware="h",
                public_key=SigningKey.generate().public,
                now=self.now,
            )
            devices.set_presence(connection, device_id, presence=Presence.ONLINE, session_counter=1, now=self.now)
            states = tuple(DeploymentState(deployment=name, state=UpdateState.IDLE) for name in deployments)
            reported = Reported(desired_epoch=0, desired_revision=0, facts=facts, deployments=states)
            devices.set_reported(connection, device_id, reported, now=self.now)

    def train(self, version: int, *, published: bool) -> None:
        artifact = models.Artifact(
            digest=digest_of(version),
            model="gas",
            version=version,
            variant=Variant.INT8,
            size_bytes=1,
            tflite_bytes=1,
            target=target_of(version),
            descriptor=DESCRIPTOR,
            created_at=START,
            published_at=None,
            withdrawn_at=None,
        )
        with self.database.write() as connection:
            models.add_version(connection, "gas", version, task=Task.CLASSIFICATION, run_id="run-1", now=START)
            models.add_artifact(connection, artifact)
            if published:
                models.mark_published(connection, artifact, START, target=artifact.target)

    def publish(self, version: int) -> None:
        with self.database.write() as connection:
            artifact = models.get_artifact(connection, "gas", version, "int8")
            models.mark_published(connection, artifact, self.now, target=artifact.target)

    def withdraw(self, version: int) -> None:
        with self.database.write() as connection:
            artifact = models.get_artifact(connection, "gas", version, "int8")
            models.mark_withdrawn(connection, artifact, self.now)

    # -- what people do

    def roll_out(self, version: int = 1, **changes: object) -> str:
        rollout_id = self.order(version, **changes)
        self.run()
        return rollout_id

    def order(self, version: int = 1, **changes: object) -> str:
        """The same, and the engine has not looked."""
        wanted = {
            "model": "gas",
            "version": version,
            "variant": "int8",
            "deployment": "gas",
            "selector": "all",
            "waves": ("1", "100%"),
            "intent": "improve",
            "created_by": "me",
            "policy": QUICK,
            **changes,
        }
        return create_rollout(self.database, Order(**wanted), self.now)

    def abort(self, rollout_id: str) -> None:
        abort_rollout(self.database, rollout_id, self.me())

    def me(self, remark: str = "") -> By:
        return By(name="me", now=self.now, remark=remark)

    # -- what devices do

    def say(
        self,
        device_id: str,
        state: UpdateState,
        *,
        evidence: dict[str, int] | None = None,
        reason: Reason = Reason.NONE,
        detail: str = "",
        installation: Installation | None = None,
        run: bool = True,
    ) -> None:
        """A report about the newest installation of a device (or another one), as the link writes it down."""
        about = installation or self.newest(device_id)
        data = {
            "installation": about.id,
            "deployment": about.deployment,
            "digest": about.digest,
            "state": state,
            "reason": reason,
            "detail": detail,
            "evidence": evidence,
        }
        with self.database.write() as connection:
            events.append(connection, EventKind.REPORT_RECEIVED, device_id, data, self.now)
        if run:
            self.run()

    def commit(self, device_id: str, *, shown: bool = True, **changes: object) -> None:
        """The device commits; `shown` = its windows tell that all is well."""
        if shown:
            self.show(changes.get("installation") or self.newest(device_id))
        self.say(device_id, UpdateState.COMMITTED, evidence=ENOUGH, **changes)

    def bring(self, version: int, *device_ids: str, **changes: object) -> str:
        """A second later, a rollout of a version to these devices, or all, which take it; its id."""
        self.now += timedelta(seconds=1)
        chosen = {"selector": f"id={','.join(device_ids)}"} if device_ids else {}
        rollout_id = self.roll_out(version, **{"waves": ("100%",), **chosen, **changes})
        for device_id in device_ids or self.ids:
            self.commit(device_id)
        return rollout_id

    def show(self, about: Installation) -> None:
        """What a device and its wave show, as if windows of them had been gathered."""
        health = DeviceHealth(since=Period(rows=10_000), live=Live(rows=10_000))
        wave = WaveShows(canary=WELL)
        with self.database.write() as connection:
            own = tables.installations.c.id == about.id
            shows = Shows(incumbent=shows_of(about.health).incumbent, health=health)
            connection.execute(update(tables.installations).where(own).values(health=shows))
            of_rollout = tables.waves.c.rollout_id == about.rollout_id
            connection.execute(update(tables.waves).where(of_rollout).values(health=wave))

    def show_all(self, canary: Shown = WELL) -> None:
        """All devices and all waves show that all is well, or what else their canaries show."""
        health = Shows(health=DeviceHealth(since=Period(rows=10_000), live=Live(rows=10_000)))
        with self.database.write() as connection:
            connection.execute(update(tables.installations).values(health=health))
            connection.execute(update(tables.waves).values(health=WaveShows(canary=canary)))

    def report(self, device_id: str, *states: DeploymentState, facts: DeviceFacts = FACTS) -> None:
        """The retained `reported` of a device."""
        with self.database.write() as connection:
            device = devices.get(connection, device_id)
            reported = Reported(
                desired_epoch=device.desired_epoch,
                desired_revision=device.desired_revision,
                facts=facts,
                deployments=states,
            )
            devices.set_reported(connection, device_id, reported, now=self.now)
        self.run()

    def come(self, device_id: str) -> None:
        self._presence(device_id, Presence.ONLINE)

    def go(self, device_id: str) -> None:
        self._presence(device_id, Presence.OFFLINE)

    def remove(self, device_id: str) -> None:
        config = ServerConfig(self._folder)
        roster.remove(config, self.database, device_id, removed_by="me", now=self.now)
        self.run()

    def _presence(self, device_id: str, presence: Presence) -> None:
        with self.database.write() as connection:
            counter = devices.get(connection, device_id).session_counter + (presence is Presence.ONLINE)
            devices.set_presence(connection, device_id, presence=presence, session_counter=counter, now=self.now)
        self.run()

    # -- time

    def run(self) -> None:
        """Let the engine take in everything; the link hears devices meanwhile."""
        if self.is_heard:
            with self.database.write() as connection:
                service_clock.beat(connection, self.now)
        while self.engine.run_once(self.now):
            pass

    def wait(self, span: timedelta, *, step: timedelta = timedelta(seconds=30)) -> None:
        """Move the clock while the engine lives."""
        end = self.now + span
        while self.now < end:
            self.now = min(self.now + step, end)
            self.run()

    # -- what came of it

    def rollout(self, rollout_id: str) -> rollouts.Rollout:
        with self.database.read() as connection:
            return rollouts.get(connection, rollout_id)

    def waves(self, rollout_id: str) -> tuple[rollouts.Wave, ...]:
        with self.database.read() as connection:
            return rollouts.waves_of(connection, rollout_id)

    def installations(self, rollout_id: str) -> dict[str, Installation]:
        with self.database.read() as connection:
            return {one.device_id: one for one in installations.of_rollout(connection, rollout_id, limit=10_000)}

    def attempts(self, rollout_id: str) -> tuple[Installation, ...]:
        """Every row of a rollout, also those of devices that were asked again since."""
        with self.database.read() as connection:
            return installations.of_rollout(connection, rollout_id, limit=10_000)

    def states(self, rollout_id: str) -> dict[str, InstallationState]:
        return {device_id: one.state for device_id, one in self.installations(rollout_id).items()}

    def newest(self, device_id: str) -> Installation:
        with self.database.read() as connection:
            query = (
                select(tables.installations.c.id)
                .where(tables.installations.c.device_id == device_id)
                .order_by(tables.installations.c.id.desc())
                .limit(1)
            )
            return installations.get(connection, connection.execute(query).scalar_one())

    def desired(self, device_id: str) -> DesiredDeployment | None:
        with self.database.read() as connection:
            wanted = devices.desired_of(connection, device_id)
        return wanted.deployments[0] if wanted else None

    def desired_digest(self, device_id: str) -> str | None:
        wanted = self.desired(device_id)
        return wanted.digest if wanted else None

    def events(self, *kinds: EventKind) -> list[events.Event]:
        with self.database.read() as connection:
            return list(events.after(connection, 0, kinds, limit=100_000))


def digest_of(version: int) -> str:
    return digest_bytes(f"gas {version}".encode())


def target_of(version: int) -> str:
    return f"models/gas/{version}-int8.json"
