"""A benchmark, asked of a real agent over a real broker, beside the model that runs."""

import signal

import pytest

from edgeops.digest import digest_raw
from edgeops.protocol import messages
from edgeops.protocol.messages import Reason
from edgeops.protocol.topics import DownKind, UpKind
from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually
from tests.models.bad import Bad, bad_artifact

pytestmark = [pytest.mark.slow, pytest.mark.processes]


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def at_work(rig):
    """An agent that answers a row now and then, for ever; the digest of its model."""
    digest, target = rig.server.publish_model()
    rig.play(400, rate_hz=50.0, loop=True)
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    rig.start_agent()
    eventually(lambda: rig.committed(digest), what="the model is committed")
    return digest


def ask(rig, command, digest, target):
    request = messages.Benchmark(target=target, digest=digest, within_ms=600_000)
    rig.server.say(DownKind.COMMAND, messages.Command(command=command, request=request))


def records(rig, command):
    kept = [data for kind, data in rig.server.records.values() if kind is UpKind.BENCHMARKS]
    return [one for data in kept if (one := messages.decode(data, messages.Benchmarked)).benchmark == command]


def answered(rig, command):
    (record,) = eventually(lambda: records(rig, command), what=f"the answer to {command}")
    return record


def test_a_listed_model_is_measured_beside_the_one_that_goes_on_running(rig):
    digest = at_work(rig)
    other, target = rig.server.publish_artifact(bad_artifact(Bad.SLOW, version=2))
    before = len(rig.server.predictions())
    ask(rig, "bench-1", other, target)
    record = answered(rig, "bench-1")
    assert (record.reason, record.digest) == (Reason.NONE, digest_raw(other))
    assert record.latency_p95_us > 1_000
    assert len(rig.server.predictions()) > before
    state = rig.server.state()
    assert (state.active, state.previous) == (digest, None)
    assert not rig.state.benchmark.exists()


@pytest.mark.long
def test_a_benchmark_that_was_killed_in_the_middle_is_repeated(rig):
    digest = at_work(rig)
    other, target = rig.server.publish_artifact(bad_artifact(Bad.SLOW, version=2))
    ask(rig, "bench-1", other, target)
    slots = rig.state.benchmark / "slots"
    eventually(lambda: list(slots.glob("[!.]*/artifact.tflite")), what="the model is tried")
    rig.stop_agent(signal.SIGKILL)
    rig.start_agent()
    eventually(lambda: rig.server.statuses[-1][0] is messages.Presence.ONLINE, what="the agent is back")
    eventually(lambda: rig.committed(digest), what="its model answers")
    ask(rig, "bench-1", other, target)
    assert answered(rig, "bench-1").reason is Reason.NONE
    ask(rig, "bench-1", other, target)
    eventually(lambda: len(rig.server.responses) == 3, what="the third response")
    assert rig.server.responses[-1].detail == "answered before"


def test_a_model_that_ends_its_process_ends_no_agent(rig):
    digest = at_work(rig)
    ask(rig, "bench-1", *rig.server.publish_artifact(bad_artifact(Bad.CRASHING, version=2)))
    assert answered(rig, "bench-1").reason is Reason.PROBE
    assert not rig.died()
    assert rig.server.state().active == digest
