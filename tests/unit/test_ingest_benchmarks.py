"""What devices measured is taken in once, and only from the device that was asked."""

import pytest

from edgeops.digest import digest_bytes, digest_raw
from edgeops.protocol.messages import Benchmarked, Reason
from edgeops.protocol.topics import UpKind
from edgeops.rollout.blessing import Outcome
from fleet_server import blessings
from fleet_server.db import benchmarks
from fleet_server.db.events import EventKind
from fleet_server.link.entries import Taken
from tests.unit.engine_rig import Fleet, digest_of
from tests.unit.test_ingest_records import details, of, opened, read


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=2)
    yield fleet
    fleet.close()


@pytest.fixture
def asked(fleet):
    with fleet.database.write() as connection:
        return blessings.ask(connection, "dev-0", digest_of(1), asked_by="me", now=fleet.now)


def told(asked, **changes):
    values = {
        "benchmark": asked.id, "digest": digest_raw(asked.digest), "reason": Reason.NONE, "arch": "x86_64",
        "runtime": "litert", "runtime_version": "2.3", "latency_p95_us": 9,
    }  # fmt: skip
    return Benchmarked(**values | changes)


def take(fleet, body, device_id="dev-0", first_seq=0):
    return read(fleet.database, opened(body, device_id=device_id, kind=UpKind.BENCHMARKS, first_seq=first_seq))


def kept(fleet, asked):
    with fleet.database.read() as connection:
        return benchmarks.get(connection, asked.id)


def test_an_answer_is_kept_and_told(fleet, asked):
    reading = take(fleet, told(asked))
    assert len(of(reading, Taken)) == 1
    assert (kept(fleet, asked).outcome, kept(fleet, asked).result["latency_p95_us"]) == (Outcome.BLESSED, 9)
    (event,) = fleet.events(EventKind.BENCHMARK_ENDED)
    assert (event.subject, event.data["device"], event.data["outcome"]) == (asked.id, "dev-0", "blessed")


def test_an_answer_that_comes_again_changes_nothing(fleet, asked):
    take(fleet, told(asked))
    take(fleet, told(asked, reason=Reason.GOLDEN), first_seq=1)
    assert kept(fleet, asked).outcome is Outcome.BLESSED


@pytest.mark.parametrize(
    ("changes", "device_id"),
    [
        ({}, "dev-1"),
        ({"benchmark": "benchmark-nobodys"}, "dev-0"),
        ({"digest": digest_raw(digest_bytes(b"another"))}, "dev-0"),
    ],
)
def test_an_answer_that_nobody_asked_for_is_put_aside_and_counts_as_received(fleet, asked, changes, device_id):
    reading = take(fleet, told(asked, **changes), device_id=device_id)
    (detail,) = details(reading)
    assert "that this device was not asked for" in detail
    assert len(of(reading, Taken)) == 1
    assert kept(fleet, asked).outcome is None
