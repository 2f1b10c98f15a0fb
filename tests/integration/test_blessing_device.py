"""A device tries a listed artifact without installing it: real TUF child, real blocks, real spool."""

from dataclasses import replace

import pytest

from device_agent.benchmark import Measured, run_benchmark
from device_agent.blessing import Blessings
from device_agent.facts import device_facts
from device_agent.fetch import BlockFetch, MetaFetch
from device_agent.trust import FleetKeys, Trust
from device_agent.updates import Surroundings
from edgeops import limits
from edgeops.artifact.manifest import target_path
from edgeops.digest import digest_bytes, digest_raw
from edgeops.errors import DiskError
from edgeops.protocol.messages import Benchmark, Benchmarked, Reason, decode
from edgeops.protocol.topics import UpKind
from tests.golden.tiny import tiny_artifact
from tests.integration.updates_rig import Device, Server
from tests.models.bad import Bad, bad_artifact

WELL = Measured(reason=Reason.NONE, detail="", inferences=9, latency_p50_us=1, latency_p95_us=2, latency_p99_us=3)


class Bench:
    """A device with nothing installed, and its answers."""

    def __init__(self, folder, server, *, run=run_benchmark):
        self.device = Device(folder, server)
        self.is_busy = False
        self.waiting = []
        self.changes = 0
        meta = MetaFetch(server, monotonic=self._hasten)
        blocks = BlockFetch(server, monotonic=self._hasten)
        server.attach(meta, blocks)
        trust = folder / "device" / "trust"
        self.around = Surroundings(
            spool=self.device.spool,
            trust=Trust(trust, meta, self.device.clock, FleetKeys(trust)),
            meta=meta,
            blocks=blocks,
            facts=lambda: device_facts(folder),
            submit=self.waiting.append,
            now=self.device.clock.certain,
        )
        self.folder = folder / "device" / "benchmark"
        self.run = run
        self.begin()

    def begin(self, **changes):
        self.blessings = Blessings(
            self.folder,
            replace(self.around, **changes),
            is_busy=lambda: self.is_busy,
            on_change=self._changed,
            run=self.run,
            monotonic=lambda: self.device.now,
        )

    def _changed(self):
        self.changes += 1

    def _hasten(self):
        self.device.now += 0.5
        return self.device.now

    def ask(self, command, descriptor, *, work=True, **changes):
        request = {"target": target_path(descriptor.manifest), "digest": descriptor.digest, "within_ms": 600_000}
        response = self.blessings.answer(command, Benchmark(**request | changes))
        while work and self.waiting:
            self.waiting.pop(0)()
        return response

    def records(self):
        self.device.spool.lost_contact()
        batches = [one for one in self.device.spool.take(1000) if one.kind is UpKind.BENCHMARKS]
        return [decode(record.data, Benchmarked) for batch in batches for record in batch.body.records]


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


@pytest.fixture
def bench(tmp_path, server):
    bench = Bench(tmp_path, server)
    yield bench
    bench.device.close()


def test_a_listed_artifact_is_measured_and_not_installed(bench, server):
    descriptor = server.publish(tiny_artifact())
    assert bench.ask("bench-1", descriptor).ok
    (record,) = bench.records()
    assert (record.benchmark, record.digest) == ("bench-1", digest_raw(descriptor.digest))
    assert (record.reason, record.runtime) == (Reason.NONE, "litert")
    assert record.inferences > 0
    assert record.latency_p99_us >= record.latency_p95_us >= record.latency_p50_us > 0
    assert bench.device.active is None
    assert not bench.folder.exists()
    assert bench.changes == 1


def test_what_is_not_listed_is_not_fetched(bench, server):
    descriptor = server.publish(tiny_artifact())
    bench.ask("bench-1", descriptor, target="models/tiny/9-int8.json")
    bench.ask("bench-2", descriptor, digest=digest_bytes(b"smuggled"))
    assert {one.reason for one in bench.records()} == {Reason.NOT_LISTED}
    assert not server.sent_blocks


def test_what_does_not_fit_the_disk_is_not_fetched(bench, server):
    bench.begin(reserve_bytes=1 << 60)
    bench.ask("bench-1", server.publish(tiny_artifact()))
    (record,) = bench.records()
    assert record.reason is Reason.DISK
    assert not server.sent_blocks


def test_a_command_is_answered_once_however_often_it_comes(bench, server):
    descriptor = server.publish(tiny_artifact())
    bench.ask("bench-1", descriptor)
    bench.begin()  # the agent started anew
    assert bench.ask("bench-1", descriptor).detail == "answered before"
    assert len(bench.records()) == 1


def test_a_command_that_comes_again_while_it_is_carried_out_is_carried_out_once(bench, server):
    descriptor = server.publish(tiny_artifact())
    bench.ask("bench-1", descriptor, work=False)
    assert bench.ask("bench-1", descriptor, work=False).ok
    assert not bench.ask("bench-2", descriptor, work=False).ok
    assert len(bench.waiting) == 1


def test_an_update_comes_first(bench, server):
    bench.is_busy = True
    response = bench.ask("bench-1", server.publish(tiny_artifact()))
    assert not response.ok
    assert "an update is under way" in response.detail
    assert bench.records() == []


def test_without_contact_it_is_asked_again(bench, server):
    descriptor = server.publish(tiny_artifact())
    server.connected = False
    bench.ask("bench-1", descriptor)
    assert bench.records() == []
    server.connected = True
    bench.ask("bench-1", descriptor)
    assert [one.reason for one in bench.records()] == [Reason.NONE]


def test_what_comes_too_late_is_not_carried_out(bench, server):
    bench.ask("bench-1", server.publish(tiny_artifact()), within_ms=0)
    assert bench.records() == []
    assert not server.sent_blocks


def test_blocks_that_do_not_come_are_told(bench, server):
    server.largest = limits.BLOCK_BYTES // 64
    bench.ask("bench-1", server.publish(tiny_artifact()))
    (record,) = bench.records()
    assert record.reason is Reason.FETCH


def test_a_model_that_ends_its_process_costs_the_agent_nothing(bench, server):
    bench.ask("bench-1", server.publish(bad_artifact(Bad.CRASHING)))
    (record,) = bench.records()
    assert record.reason is Reason.PROBE
    assert "killed by" in record.detail


def test_what_an_end_of_the_process_left_goes_with_the_next_start(bench):
    (bench.folder / "fetch").mkdir(parents=True)
    (bench.folder / "fetch" / "left").write_bytes(b"half of a model")
    bench.begin()
    assert not bench.folder.exists()


def test_an_answer_that_the_disk_does_not_take_is_asked_for_again(tmp_path, server, monkeypatch):
    bench = Bench(tmp_path, server, run=lambda _path: WELL)
    descriptor = server.publish(tiny_artifact())
    append = bench.device.spool.append

    def full(*_args, **_more):
        raise DiskError("no space left")

    monkeypatch.setattr(bench.device.spool, "append", full)
    bench.ask("bench-1", descriptor)
    assert bench.blessings.failures == 1
    monkeypatch.setattr(bench.device.spool, "append", append)
    bench.ask("bench-1", descriptor)
    assert len(bench.records()) == 1
    bench.device.close()


def test_what_the_owner_has_no_source_for_is_told_of_the_deployment_that_was_named(bench, server):
    facts = replace_sensors(bench, gas=("x1", "x2"))
    bench.begin(facts=lambda: facts)
    bench.ask("bench-1", server.publish(tiny_artifact()), deployment="gas")
    (record,) = bench.records()
    assert record.reason is Reason.INCOMPATIBLE
    assert "x3" in record.detail


def replace_sensors(bench, **sensors):
    return device_facts(bench.folder.parent, sensors=sensors)
