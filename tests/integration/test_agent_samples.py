"""Requests for samples, answered by a real agent over a real broker."""

import pytest

from device_agent.cli import main
from edgeops.protocol import messages
from edgeops.protocol.topics import DownKind
from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def installed(rig, *, rows=400):
    """An agent with a committed model that has answered a whole file; the digest."""
    digest, target = rig.server.publish_model(embedding=True)
    rig.play(rows)
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    rig.start_agent()
    eventually(lambda: rig.committed(digest), what="the model is committed")
    eventually(rig.ended, what="the file is played")
    return digest


def ask(rig, command, digest, *, count=30, deployment=DEPLOYMENT, **more):
    request = messages.Nominate(deployment=deployment, digest=digest, count=count, random_share=0.2, seed=1, **more)
    rig.server.say(DownKind.COMMAND, messages.Command(command=command, request=request))


def answered(rig, command):
    return eventually(lambda: rig.server.samples(command), what=f"the answer to {command}")


def response(rig, command):
    return eventually(
        lambda: [one for one in rig.server.responses if one.command == command], what=f"a response to {command}"
    )[-1]


def test_a_nomination_is_answered_by_inputs_of_the_model_in_charge(rig):
    digest = installed(rig)
    ask(rig, "nom-1", digest)
    (answer,) = answered(rig, "nom-1")
    assert response(rig, "nom-1").ok
    assert (answer.deployment, answer.pool) == (DEPLOYMENT, 400)
    assert len(answer.samples) == 30
    assert sum(sample.weight for sample in answer.samples) == 400
    predictions = rig.server.predictions()
    for sample in answer.samples:
        assert len(sample.values) == 4 * 4
        assert sample.answer == predictions[sample.input_id].answer
    eventually(lambda: rig.status()["pending_records"] == 0, what="all is acknowledged")


def test_a_repeated_command_is_carried_out_once_also_over_a_restart(rig):
    digest = installed(rig)
    ask(rig, "nom-1", digest)
    first = answered(rig, "nom-1")
    eventually(lambda: rig.status()["pending_records"] == 0, what="all is acknowledged")
    before = len(rig.server.records)
    ask(rig, "nom-1", digest)
    eventually(lambda: len(rig.server.responses) == 2, what="a second response")
    rig.stop_agent()
    eventually(lambda: rig.server.statuses[-1][0] is messages.Presence.OFFLINE, what="the farewell")
    rig.start_agent()
    eventually(lambda: rig.server.statuses[-1][0] is messages.Presence.ONLINE, what="the agent is back")
    ask(rig, "nom-1", digest)
    eventually(lambda: len(rig.server.responses) == 3, what="a third response")
    assert all(one.ok for one in rig.server.responses)
    assert len(rig.server.records) == before
    assert rig.server.samples("nom-1") == first


def test_what_cannot_be_nominated_is_answered_with_its_reason(rig):
    digest = installed(rig, rows=60)
    other = "sha256:" + "0" * 64
    ask(rig, "nom-1", other)
    ask(rig, "nom-2", digest, deployment="no-such-one")
    ask(rig, "nom-3", digest, within_ms=0)
    for command, reason in (("nom-1", "not in charge"), ("nom-2", "no deployment"), ("nom-3", "in the time asked for")):
        (answer,) = answered(rig, command)
        assert answer.samples == ()
        assert reason in answer.detail
    assert [response(rig, command).ok for command in ("nom-1", "nom-2", "nom-3")] == [True, False, True]


def test_an_owner_may_forbid_samples(rig):
    digest = installed(rig, rows=60)
    file = rig.folder / f"{DEPLOYMENT}-run-1.csv"
    common = ["--state", str(rig.state.path), "replay", str(file), "--deployment", DEPLOYMENT, "--rate", "max"]
    assert main([*common, "--once", "--no-samples"]) == 0
    eventually(lambda: rig.server.rows() == 120, what="the file is played again")
    ask(rig, "nom-1", digest)
    (answer,) = answered(rig, "nom-1")
    assert (answer.samples, answer.detail) == ((), "the owner of the device forbids samples")
    assert rig.status()["counters"]["samples.declined"] == 1
    assert main([*common, "--once", "--samples"]) == 0
    eventually(lambda: rig.server.rows() == 180, what="the file is played a third time")
    ask(rig, "nom-2", digest)
    assert answered(rig, "nom-2")[0].pool == 60
