"""Benchmarks through the API and the command: who is asked, what is shown, what is refused."""

import json
import threading

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from edgeops.digest import digest_raw
from edgeops.errors import ConflictError, NotFoundError
from edgeops.exits import Exit
from edgeops.protocol.messages import Benchmarked, DeviceFacts, Presence, Reason, Reported
from fleet_server import blessings
from fleet_server.db import benchmarks, devices, models
from tests.contract.rig import ApiRig
from tests.contract.trained import MODEL, add_dataset, add_version
from tests.integration.waiting import ask_until

FACTS = DeviceFacts(
    arch="aarch64", runtime="litert", runtime_version="2.3", python="3.11", memory_bytes=1 << 30,
    disk_free_bytes=1 << 30, board="Raspberry Pi 4 Model B",
)  # fmt: skip
CLASS = "aarch64 / litert / Raspberry Pi 4 Model B"


@pytest.fixture
def rig(tmp_path):
    rig = ApiRig(tmp_path)
    snapshot = add_dataset(rig.config, rig.database, rig.now)
    for version in (1, 2):
        add_version(rig.config, rig.database, version, rig.now, snapshot=snapshot)
    with rig.database.write() as connection:
        artifact = models.get_artifact(connection, MODEL, 1, "int8")
        models.mark_published(connection, artifact, rig.now, target=artifact.target)
    for device_id in ("pi-1", "pi-2"):
        rig.enrol_device(device_id)
    with rig.database.write() as connection:
        devices.set_presence(connection, "pi-1", presence=Presence.ONLINE, session_counter=1, now=rig.now)
        reported = Reported(desired_epoch=0, desired_revision=0, facts=FACTS, deployments=())
        devices.set_reported(connection, "pi-1", reported, now=rig.now)
    yield rig
    rig.close()


def edgeops(rig, *arguments):
    return run([*arguments, "--url", rig.url, "--token", rig.tokens[Role.OPERATOR]])


def ask(rig, *, version=1, device="pi-1", **more):
    return rig.client(Role.OPERATOR).benchmarks.ask(MODEL, version, variant="int8", device=device, **more)


def answer(rig, asked, **changes):
    values = {
        "benchmark": asked.id, "digest": digest_raw(asked.digest), "reason": Reason.NONE,
        "detail": "8 golden vectors answered, worst difference 0", "arch": FACTS.arch, "runtime": FACTS.runtime,
        "runtime_version": FACTS.runtime_version, "board": FACTS.board, "inferences": 1_000, "latency_p50_us": 30,
        "latency_p95_us": 42, "latency_p99_us": 66, "memory_bytes": 4 << 20, "millicelsius_before": 48_200,
        "millicelsius_after": 51_500,
    }  # fmt: skip
    with rig.database.write() as connection:
        blessings.take(connection, Benchmarked(**values | changes), rig.now)


def test_a_device_is_asked_and_its_answer_belongs_to_version_and_run(rig):
    asked = ask(rig)
    assert (asked.device_class, asked.outcome, asked.asked_by) == (CLASS, None, "a operator")
    assert asked.repeated_at == rig.now
    answer(rig, asked)
    client = rig.client(Role.VIEWER)
    found = client.benchmarks.get(asked.id)
    assert (found.outcome, found.result.latency_p99_us, found.result.throttled) == ("blessed", 66, None)
    version = client.version(MODEL, 1)
    assert version.benchmarks == (found,)
    assert client.run(version.run_id).benchmarks == (found,)
    assert client.version(MODEL, 2).benchmarks == ()
    assert all(one.benchmarks is None for one in client.model(MODEL).versions)


def test_a_device_that_is_away_is_asked_later(rig):
    assert ask(rig, device="pi-2").repeated_at is None


def test_the_same_benchmark_is_asked_for_once(rig):
    assert ask(rig).id == ask(rig).id


def test_what_cannot_be_tried_is_refused_with_its_reason(rig):
    with pytest.raises(ConflictError, match="tiny@2 int8 is not published"):
        ask(rig, version=2)
    with pytest.raises(NotFoundError, match="has no version 9"):
        ask(rig, version=9)
    with pytest.raises(NotFoundError, match="no device 'pi-9'"):
        ask(rig, device="pi-9")
    with pytest.raises(NotFoundError, match="has no deployment 'pump'"):
        ask(rig, deployment="pump")
    with pytest.raises(NotFoundError, match="no benchmark 'bench-9'"):
        rig.client(Role.VIEWER).benchmarks.get("bench-9")


def test_nothing_is_asked_of_a_device_in_quarantine(rig):
    with rig.database.write() as connection:
        devices.quarantine(connection, "pi-1", reason="two speakers", now=rig.now)
    with pytest.raises(ConflictError, match="release it: edgeops devices release pi-1"):
        ask(rig)


def test_the_command_prints_what_was_measured(rig, capsys):
    answer(rig, ask(rig))
    for noun in ("model", "run"):
        assert edgeops(rig, noun, "show", f"{MODEL}@1") == Exit.OK
        table = capsys.readouterr().out
        assert "Raspberry Pi 4 Model B" in table
        assert "blessed" in table
    assert edgeops(rig, "benchmark", f"{MODEL}@1", "--device", "pi-1", "--no-wait", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["outcome"] is None


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({}, Exit.OK, "48.2 to 51.5 C, throttling unknown"),
        ({"throttled": True, "latency_p95_us": 60_000}, Exit.GATE, "held back by heat or power"),
        ({"reason": Reason.DISK, "detail": "no space", "inferences": 0}, Exit.FAILED, "could not try tiny@1 int8"),
    ],
)
def test_the_command_waits_and_ends_as_the_benchmark_did(rig, capsys, changes, code, words):
    def device():
        answer(rig, ask_until(lambda: open_one(rig), what="the device is asked", seconds=30), **changes)

    thread = threading.Thread(target=device)
    thread.start()
    assert edgeops(rig, "benchmark", f"{MODEL}@1", "--device", "pi-1") == code
    thread.join()
    told = capsys.readouterr()
    assert words in told.out + told.err


def open_one(rig):
    with rig.database.read() as connection:
        return next((one for one in benchmarks.of_run(connection, "run-0001") if one.ended_at is None), None)
