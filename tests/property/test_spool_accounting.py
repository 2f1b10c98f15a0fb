"""Whatever happens between device and server, each row is counted exactly once in the end.

The model of the server keeps what the protocol says it keeps: records by seq, seqs that a record answers for,
and an ack that may be lost, late or repeated. The device may stop at any time between two calls.
"""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from device_agent.store.records import Entry
from device_agent.store.spool import Spool
from device_agent.store.spoolfile import Clock
from edgeops import limits
from edgeops.protocol.messages import Phase, SpoolAck, Window, decode, encode
from edgeops.protocol.topics import UpKind


class SpoolAndServer(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1000.0
        #: Rows per seq, as the database holds them, and all seqs it counts as received.
        self.stored: dict[int, int] = {}
        self.received: set[int] = set()
        self.in_flight: list = []
        self.rows = 0

    @initialize()
    def start(self) -> None:
        clock = Clock(wall=lambda: self.now, uptime=lambda: self.now, boot="b")
        self.spool = Spool.open(Path(self.folder.name) / "spool.db", limit_bytes=700, clock=clock)

    def teardown(self) -> None:
        self.spool.close()
        self.folder.cleanup()

    @rule(rows=st.integers(1, 500), deployment=st.sampled_from(["gas", "water"]), predictions=st.integers(0, 3))
    def close_a_window(self, rows, deployment, predictions) -> None:
        window = Window(
            deployment=deployment, digest=bytes(32), phase=Phase.LIVE, rows=rows, source_rows=rows, errors=0,
            dropped=0, duration_ms=1, latency_p50_us=1, latency_p95_us=1, sketch=b"",
        )  # fmt: skip
        self.rows += rows
        records = [Entry(UpKind.PREDICTIONS, bytes(50))] * predictions
        position = self.rows.to_bytes(8, "big")
        self.spool.append_entries([*records, Entry(UpKind.TELEMETRY, encode(window), ("all", position))])

    @rule(credit=st.integers(1, 20))
    def send(self, credit) -> None:
        self.in_flight += self.spool.take(credit)

    @rule()
    def lose_what_is_in_flight(self) -> None:
        self.in_flight.clear()

    @rule(data=st.data())
    def receive_some(self, data) -> None:
        for batch in data.draw(st.lists(st.sampled_from(self.in_flight), max_size=4)) if self.in_flight else []:
            for record in batch.body.records:
                if record.seq in self.received:
                    continue
                # Predictions that were given up may have arrived before; a window must not be counted twice.
                assert not self.stored.keys() & set(record.absorbed)
                self.received |= {record.seq, *record.absorbed}
                if batch.kind is UpKind.TELEMETRY:
                    self.stored[record.seq] = decode(record.data, Window).source_rows

    @rule(upto=st.integers(0, 100))
    def acknowledge(self, upto) -> None:
        seqs = sorted(seq for seq in self.received if seq <= upto)
        self.spool.acknowledge(SpoolAck(spool=self.spool.id, through=-1, ranges=tuple((s, s) for s in seqs)))

    @rule()
    def time_passes(self) -> None:
        self.now += limits.ACK_TIMEOUT.total_seconds()

    @rule()
    def the_agent_starts_anew(self) -> None:
        self.spool.close()
        self.start()

    @rule()
    def the_agent_is_killed(self) -> None:
        self.spool._connection.close()
        self.start()

    @rule()
    def everything_arrives(self) -> None:
        for _ in range(1000):
            self.spool.lost_contact()
            self.in_flight = self.spool.take(1000)
            if not self.in_flight:
                break
            for batch in self.in_flight:
                for record in batch.body.records:
                    if record.seq not in self.received and batch.kind is UpKind.TELEMETRY:
                        self.stored[record.seq] = decode(record.data, Window).source_rows
                    self.received |= {record.seq, *record.absorbed}
            self.acknowledge(10**9)
        assert self.spool.pending == 0
        assert sum(self.stored.values()) == self.rows

    @invariant()
    def never_more_rows_than_there_were(self) -> None:
        assert sum(self.stored.values()) <= self.rows


SpoolAndServer.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
test_each_row_is_counted_exactly_once = SpoolAndServer.TestCase
