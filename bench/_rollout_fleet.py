"""A server's database with a fleet of any size in the middle of a rollout: what `engine_events` stands on.

Devices are played by the rig of the engine's tests. SQLite files are real, but nobody waits for the disk: what is
measured is what the server does.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, event, func, select
from sqlalchemy import Engine as SqlEngine

from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import DeploymentState, Presence, Reported, UpdateState
from edgeops.rollout.evidence import Proof
from edgeops.rollout.installation import IN_FLIGHT, InstallationState
from edgeops.rollout.policy import Policy
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import devices, ingest, installations, rollouts, tables
from fleet_server.db.database import Database
from fleet_server.engine import Engine
from fleet_server.evidence_gathering import EvidenceGatherer
from tests.stores import hasty
from tests.unit.engine_rig import ENOUGH, FACTS, Fleet, digest_of

#: Of the devices, one in so many is offline and was never asked.
OFFLINE = 10
IDLE = DeploymentState(deployment="gas", state=UpdateState.IDLE)
_ONLINE = tables.devices.c.presence == Presence.ONLINE
PROOF = Proof(inferences=20, committed=True)
_LONG = timedelta(days=1)
#: Nothing ends by itself while it is measured.
POLICY = Policy(
    retries=0,
    bake=_LONG,
    evidence_timeout=_LONG,
    offer_timeout=_LONG,
    progress_timeout=_LONG,
    wave_timeout=_LONG,
    min_success=0.0,
    max_failure=1.0,
)


@dataclass
class Cost:
    """What something took: seconds of this thread's processor time, statements, and the longest transaction."""

    seconds: float = 0.0
    statements: int = 0
    longest_s: float = 0.0


class Watch:
    """Counts the statements of some databases, and times their writes."""

    def __init__(self, *engines: SqlEngine) -> None:
        self._statements = 0
        self._began = self._longest = 0.0
        for engine in engines:
            event.listen(engine, "before_cursor_execute", self._executes)
            event.listen(engine, "begin", self._begins)
            event.listen(engine, "commit", self._commits)

    @contextmanager
    def adding_to(self, cost: Cost) -> Iterator[None]:
        """What happens inside."""
        before, self._longest = self._statements, 0.0
        began = time.thread_time()
        yield
        cost.seconds += time.thread_time() - began
        cost.statements += self._statements - before
        cost.longest_s = max(cost.longest_s, self._longest)

    def _executes(self, *_: Any) -> None:
        self._statements += 1

    def _begins(self, _: Any) -> None:
        self._began = time.thread_time()

    def _commits(self, _: Any) -> None:
        self._longest = max(self._longest, time.thread_time() - self._began)


class RolloutFleet(Fleet):
    """Devices `dev-0` ..., of which every tenth is offline, and after `begin` one rollout of the first version."""

    rollout_id: str

    def __init__(self, folder: Path, *, size: int) -> None:
        super().__init__(folder, size=0)
        tables.telemetry.create_all(self.database.telemetry)
        self.folder = folder
        self.size = size
        self._seq = 0
        with self.database.write() as connection:
            for number in range(size):
                self._add(connection, f"dev-{number}", Presence.ONLINE if number % OFFLINE else Presence.OFFLINE)
        self.now += timedelta(seconds=1)
        self._open()

    def _open(self) -> None:
        self.engine = Engine(self.database)
        self.gatherer = EvidenceGatherer(self.database, Artifacts(Blobs(ServerConfig(self.folder))))
        self.watch = Watch(self.database.control, self.database.telemetry)

    def _add(self, connection: Connection, device_id: str, presence: Presence) -> None:
        key = SigningKey.generate().public
        devices.enrol(connection, device_id, name=device_id, hardware="h", public_key=key, now=self.now)
        devices.set_presence(connection, device_id, presence=presence, session_counter=1, now=self.now)
        devices.set_reported(connection, device_id, _reported(IDLE), now=self.now)

    def copied(self, to: Path) -> "RolloutFleet":
        """The same fleet in another folder; this one is closed."""
        self.database.close()
        to.mkdir()
        for name in ("control.db", "telemetry.db"):
            shutil.copy(self.folder / name, to / name)
        twin = object.__new__(RolloutFleet)
        twin.__dict__.update(self.__dict__)
        twin.folder = to
        twin.database = hasty(Database.in_folder(to))
        twin._open()
        return twin

    def begin(self, policy: Policy) -> None:
        """Roll the first version out."""
        self.run()
        self.rollout_id = self.roll_out(1, waves=("100%",), policy=policy, continuous=True)

    # -- leading it on

    def tick(self) -> None:
        """A second passes, and the engine looks."""
        self.now += timedelta(seconds=1)
        self.run()

    def ask_everybody(self) -> None:
        """Let the engine ask all that are online."""
        while self.count(InstallationState.PENDING) > -(-self.size // OFFLINE):
            self.tick()

    def have_committed(self, number: int) -> None:
        """So many devices more run the model: those that were asked, then others, as the store keeps it."""
        some = [*self._in(IN_FLIGHT, limit=number), *self._in([InstallationState.PENDING], _ONLINE, limit=number)][
            :number
        ]
        with self.database.write() as connection:
            for one in some:
                if one.wave == 0:
                    asked = installations.move(connection, one, InstallationState.OFFERED, now=self.now)
                    installations.move(connection, asked, InstallationState.COMMITTED, evidence=PROOF, now=self.now)

    # -- where it is

    def open_offers(self) -> list[installations.Installation]:
        """Of devices that are at it, in the order in which they were asked."""
        return self._in(IN_FLIGHT)

    def committed(self) -> list[installations.Installation]:
        """Of devices that run the model."""
        return self._in([InstallationState.COMMITTED])

    def offline(self) -> list[installations.Installation]:
        """Of devices that are offline and were not asked."""
        return self._in([InstallationState.PENDING], ~_ONLINE)

    def _in(
        self, states: Iterable[InstallationState], *more: ColumnElement[bool], limit: int = 100
    ) -> list[installations.Installation]:
        table = tables.installations
        query = (
            select(table)
            .join(tables.devices, tables.devices.c.id == table.c.device_id)
            .where(table.c.rollout_id == self.rollout_id, table.c.state.in_(list(states)), *more)
        )
        with self.database.read() as connection:
            return list(
                installations.installations_in(connection, query.order_by(table.c.wave, table.c.id).limit(limit))
            )

    def wave(self) -> rollouts.Wave:
        """The first wave."""
        return self.waves(self.rollout_id)[0]

    def count(self, *states: InstallationState) -> int:
        """How many devices stand so."""
        table = tables.installations
        query = select(func.count()).where(table.c.rollout_id == self.rollout_id, table.c.state.in_(states))
        with self.database.read() as connection:
            return connection.execute(query).scalar_one()

    # -- what devices say, written down and not yet taken in

    def says(self, one: installations.Installation, state: UpdateState, **more: Any) -> None:
        """A report."""
        self.say(one.device_id, state, installation=one, run=False, **more)

    def commits(self, one: installations.Installation) -> None:
        """The report of a commit with its proof."""
        self.says(one, UpdateState.COMMITTED, evidence=ENOUGH)

    def shows_a_window(self, one: installations.Installation) -> None:
        """A telemetry window of the new model."""
        self._seq += 1
        row = ingest.WindowRow(
            device_id=one.device_id, spool=b"12345678", seq=self._seq, deployment="gas", digest=digest_of(1),
            phase="live", closed_at=self.now, received_at=self.now, duration_ms=1, rows=50, source_rows=50, errors=0,
            dropped=0, latency_p50_us=5_000, latency_p95_us=9_000, record_bytes=100, sketch=b"", paired=b"",
        )  # fmt: skip
        with self.database.write_telemetry() as connection:
            ingest.add_windows(connection, [row])

    def reports(self, device_id: str, state: DeploymentState) -> None:
        """What a device runs."""
        with self.database.write() as connection:
            devices.set_reported(connection, device_id, _reported(state), now=self.now)

    def comes_back(self, device_id: str) -> None:
        """It is online."""
        with self.database.write() as connection:
            devices.set_presence(connection, device_id, presence=Presence.ONLINE, session_counter=2, now=self.now)

    def joins(self) -> None:
        """A device is enrolled and tells what it runs; that it is online was taken in."""
        self._seq += 1
        device_id = f"new-{self._seq}"
        with self.database.write() as connection:
            key = SigningKey.generate().public
            devices.enrol(connection, device_id, name=device_id, hardware="h", public_key=key, now=self.now)
        self.comes_back(device_id)
        self.run()
        self.reports(device_id, IDLE)


def _reported(state: DeploymentState) -> Reported:
    return Reported(desired_epoch=0, desired_revision=0, facts=FACTS, deployments=(state,))
