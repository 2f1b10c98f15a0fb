"""A window that the spool loses, repeats or merges changes no count: not one row, not one bin of a histogram.

Both sides are the real ones: the device's spool, and the server's reading, ledger and tables with their hourly sums.
Between them messages get lost, come twice, late and in any order; the spool is too small, the agent is killed, the
machine restarts, the server starts anew. What reached the tables never says more than the device sketched, and once
everything has arrived both say the same.
"""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select

from device_agent.store.records import Entry
from device_agent.store.spool import Spool
from device_agent.store.spoolfile import Clock
from edgeops import limits
from edgeops.protocol.envelope import Envelope, Session
from edgeops.protocol.messages import Phase, Prediction, Predictions, SpoolAck, Window, encode
from edgeops.protocol.topics import Up, UpKind
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack, unpack
from edgeops.sketch.window import Sketcher, merge_all
from fleet_server.db.tables import rollups, windows
from fleet_server.link.catalog import Catalog
from fleet_server.link.keyring import Opened
from fleet_server.link.mqtt import Delivery
from fleet_server.link.reading import Reading
from fleet_server.link.standing import Standing
from fleet_server.link.writing import Writer
from tests.stores import database_in

CHANNELS = 2
DIGEST = bytes(32)
START = datetime(2026, 11, 23, 10, 40, tzinfo=UTC)
REFERENCE = build_reference(
    np.random.default_rng(1).normal(size=(400, CHANNELS)).astype(np.float32), ["a", "b"], discrete=()
)
FIELDS = ("rows", "counts", "total", "squares", "pairs", "steps", "low", "high")
numbers = count(1)


class Site:
    """One server's tables; every run of the machine is a device of its own in them."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.database = database_in(Path(self.folder))

    def close(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module", autouse=True)
def site():
    SpoolAndTables.site = Site()
    yield
    SpoolAndTables.site.close()


class SpoolAndTables(RuleBasedStateMachine):
    site: Site

    def __init__(self) -> None:
        super().__init__()
        self.device = f"meter-{next(numbers)}"
        self.now_s = 1000.0
        self.boot = 0
        self.seqs = count(1)
        self.in_flight: list = []
        self.acks: list[SpoolAck] = []
        #: What the device sketched, by deployment.
        self.sketched = {"gas": [], "water": []}
        self.random = np.random.default_rng(7)
        self.the_server_starts_anew()

    @initialize()
    def the_agent_starts(self) -> None:
        clock = Clock(wall=lambda: self.now_s, uptime=lambda: self.now_s, boot=str(self.boot))
        self.spool = Spool.open(Path(self.site.folder) / f"{self.device}.db", limit_bytes=600, clock=clock)

    def teardown(self) -> None:
        try:
            self.everything_arrives()
        finally:
            self.spool.close()

    # -- the device ---------------------------------------------------------------------

    @rule(rows=st.integers(1, 300), deployment=st.sampled_from(["gas", "water"]), answers=st.integers(0, 4))
    def a_window_closes(self, rows, deployment, answers) -> None:
        sketcher = Sketcher(REFERENCE)
        values = self.random.normal(scale=2, size=(rows, CHANNELS)).astype(np.float32)
        values[self.random.random(values.shape) < 0.1] = np.nan
        sketcher.add(values)
        sketch = sketcher.sketch()
        window = Window(
            deployment=deployment, digest=DIGEST, phase=Phase.LIVE, rows=rows, source_rows=rows + 1, errors=1,
            dropped=0, duration_ms=1, latency_p50_us=1, latency_p95_us=1, sketch=pack(sketch),
        )  # fmt: skip
        answer = Prediction(input_id="1", age_ms=0, answer=1.0, confidence=0.5)
        predictions = Predictions(deployment=deployment, digest=DIGEST, phase=Phase.LIVE, predictions=(answer,))
        # Every other one is no record at all: the server puts it aside and goes on.
        others = [Entry(UpKind.PREDICTIONS, encode(predictions) if at % 2 else bytes(60)) for at in range(answers)]
        position = len(self.sketched[deployment]).to_bytes(8, "big")
        self.spool.append_entries([*others, Entry(UpKind.TELEMETRY, encode(window), (deployment, position))])
        self.sketched[deployment].append(sketch)

    @rule(credit=st.integers(1, 30))
    def send(self, credit) -> None:
        self.in_flight += self.spool.take(credit)

    @rule()
    def lose_what_is_in_flight(self) -> None:
        self.in_flight.clear()
        self.acks.clear()

    @rule(data=st.data())
    @precondition(lambda self: self.acks)
    def hear_some_ack(self, data) -> None:
        self.spool.acknowledge(data.draw(st.sampled_from(self.acks)))

    @rule(seconds=st.sampled_from([limits.ACK_TIMEOUT.total_seconds(), 1800.0]))
    def time_passes(self, seconds) -> None:
        self.now_s += seconds

    @rule()
    def the_connection_is_new(self) -> None:
        self.spool.lost_contact()

    @rule()
    def the_agent_is_killed(self) -> None:
        self.spool._connection.close()
        self.the_agent_starts()

    @rule()
    def the_machine_restarts(self) -> None:
        self.boot += 1
        self.the_agent_is_killed()

    # -- the server ---------------------------------------------------------------------

    @rule(data=st.data())
    @precondition(lambda self: self.in_flight)
    def receive_some(self, data) -> None:
        self._receive(data.draw(st.lists(st.sampled_from(self.in_flight), max_size=5)))

    @rule()
    def the_server_starts_anew(self) -> None:
        self.standing = Standing(self.site.database)
        self.writer = Writer(self.site.database, self.standing)

    def everything_arrives(self) -> None:
        for _ in range(1000):
            self.spool.lost_contact()
            batches = self.spool.take(1000)
            if not batches:
                break
            self._receive(batches)
            self.spool.acknowledge(self.acks[-1])
        assert self.spool.pending == 0
        for deployment, stored in self._stored().items():
            sketched = merge_all(self.sketched[deployment], channels=CHANNELS)
            for field in FIELDS:
                assert np.array_equal(getattr(stored, field), getattr(sketched, field)), (deployment, field)
        self._check_hours()

    @invariant()
    def the_tables_never_say_more_than_the_device_sketched(self) -> None:
        for deployment, stored in self._stored().items():
            sketched = merge_all(self.sketched[deployment], channels=CHANNELS)
            assert stored.rows <= sketched.rows
            assert (stored.counts <= sketched.counts).all()

    # -- below --------------------------------------------------------------------------

    def _receive(self, batches) -> None:
        """One ingestion batch; the envelope is always fresh, so that the ledger alone tells what was there before."""
        now = START + timedelta(seconds=self.now_s)
        reading = Reading(self.standing, Catalog(self.site.database), is_quarantined=lambda _: False)
        for batch in batches:
            topic = Up(self.device, batch.kind)
            envelope = Envelope(
                1, batch.kind, self.device, "key", 0, Session(1, b"s" * 8), next(self.seqs), encode(batch.body), b""
            )
            reading.take(Opened(Delivery(str(topic), b"", False, now, 1, 1), topic, envelope))
        reading.finish()
        self.writer.write(reading.control, reading.telemetry, now=now)
        for key in reading.touched:
            ledger = self.standing.ledger(key)
            self.acks.append(SpoolAck(spool=key[1], through=ledger.through, ranges=ledger.ranges))

    def _stored(self):
        query = select(windows).where(windows.c.device_id == self.device)
        with self.site.database.read_telemetry() as connection:
            rows = connection.execute(query).all()
        stored = {name: [unpack(row.sketch) for row in rows if row.deployment == name] for name in self.sketched}
        return {name: merge_all(sketches, channels=CHANNELS) for name, sketches in stored.items()}

    def _check_hours(self) -> None:
        """The hourly sums say what the windows say."""
        query = select(rollups).where(rollups.c.device_id == self.device)
        with self.site.database.read_telemetry() as connection:
            hours = connection.execute(query).all()
        for deployment, sketches in self.sketched.items():
            own = [hour for hour in hours if hour.deployment == deployment]
            assert sum(hour.rows for hour in own) == sum(sketch.rows for sketch in sketches)
            assert sum(hour.source_rows - hour.errors for hour in own) == sum(sketch.rows for sketch in sketches)
            summed = merge_all([unpack(hour.sketch) for hour in own], channels=CHANNELS)
            assert pack(summed) == pack(merge_all(sketches, channels=CHANNELS))


SpoolAndTables.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_no_count_changes_on_the_way = SpoolAndTables.TestCase
