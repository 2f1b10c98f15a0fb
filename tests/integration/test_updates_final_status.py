"""A final status is said until its signed ack is there, whoever dies in between; and whatever is newer supersedes.

The device is real up to its spool, the server from its ingestion on; what lies between them is a broker that keeps
what was not acknowledged, and lets either side die at a named moment.
"""

import threading
from datetime import UTC, datetime

import pytest

from device_agent.probe import ProbeVerdict
from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, open_envelope, seal
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import Ack, Reason, UpdateState
from edgeops.protocol.topics import Down, DownKind, Up, UpKind
from fleet_server.db import devices, events
from fleet_server.db.database import Database
from fleet_server.db.events import EventKind
from fleet_server.db.migrate import upgrade
from fleet_server.link.ingestion import Ingestion
from fleet_server.link.keyring import Keyring
from fleet_server.link.mqtt import Delivery
from fleet_server.link.voice import Voice
from tests.golden.tiny import tiny_artifact
from tests.integration.updates_rig import Device, Server

pytestmark = [pytest.mark.slow, pytest.mark.processes]

DEVICE = "meter-1a2b"


class DiedError(Exception):
    """kill -9 of the link."""


class Link:
    """Starts of the server's link over one database, and the broker in front of them."""

    def __init__(self, folder):
        self.database = Database.in_folder(folder)
        upgrade(self.database)
        self.device_key, self.fleet_key = SigningKey.generate(), SigningKey.generate()
        with self.database.write() as connection:
            devices.enrol(
                connection, DEVICE, name="meter", hardware="h", public_key=self.device_key.public, now=datetime.now(UTC)
            )
        self.starts, self.seq = 0, 0
        #: What the broker has not been told to forget.
        self.kept: list[Delivery] = []
        self.dies_at = ""
        self.acks: list[bytes] = []

    def carry(self, device) -> None:
        """Publish what the device's spool holds, and let the link work until it has answered or died."""
        speaker = Speaker(DEVICE, self.device_key, 0, Session(1, bytes(8)))
        for batch in device.spool.take(1000):
            self.seq += 1
            payload = seal(speaker, batch.kind, seq=self.seq, body=messages.encode(batch.body))
            topic = str(Up(DEVICE, UpKind(batch.kind)))
            self.kept.append(Delivery(topic, payload, False, datetime.now(UTC), self.seq, 1))
        self.work()

    def work(self) -> None:
        """A start of the link takes in what the broker kept."""
        self.starts += 1
        self._stopping = threading.Event()
        ingestion = Ingestion(
            self.database,
            broker=self,
            voice=Voice(self.fleet_key, epoch=1, session=Session(self.starts, bytes(8))),
            keyring=Keyring(self.database),
            send_desired=lambda _: None,
            stopping=self._stopping,
        )
        for delivery in self.kept:
            ingestion.put(delivery)
        try:
            if self.kept:
                ingestion.run()
        except DiedError:
            self.dies_at = ""

    # -- the broker, as ingestion uses it

    def acknowledge(self, *deliveries):
        if self.dies_at == "puback":
            raise DiedError
        for delivery in deliveries:
            self.kept.remove(delivery)

    def publish(self, topic, payload, *, qos):
        assert qos == 1
        if topic != str(Down(DEVICE, DownKind.ACK)):
            return  # a link that has just started tells whom it hears the time
        self._stopping.set()
        if self.dies_at == "ack":
            raise DiedError
        self.acks.append(payload)

    # -- and what came of it

    def answer(self, device) -> None:
        """The device hears the acks, verified."""
        keys = {self.fleet_key.public.key_id: self.fleet_key.public}
        for payload in self.acks:
            envelope = open_envelope(payload, device=DEVICE, kind="ack", keys=keys)
            for ack in messages.decode(envelope.body, Ack).spools:
                device.spool.acknowledge(ack)
        self.acks.clear()
        device.updates.acknowledged()

    def finals(self):
        with self.database.read() as connection:
            told = events.after(connection, 0, [EventKind.REPORT_RECEIVED])
        return [(one.data["state"], one.data["reason"]) for one in told if one.data["state"] != UpdateState.TRIAL]


@pytest.fixture(scope="module")
def artifacts():
    return [tiny_artifact(version=version) for version in (1, 2)]


@pytest.fixture
def link(tmp_path):
    made = Link(tmp_path / "db")
    yield made
    made.database.close()


def verdict(reason):
    return lambda _path, _set: ProbeVerdict(reason=reason, detail="")


def started(tmp_path, server, *, probe=Reason.NONE):
    return Device(tmp_path, server, probe=verdict(probe))


def lost_spool(tmp_path, server):
    """The next start, which finds no database where the spool was."""
    (tmp_path / "device" / "spool.db").write_bytes(b"no database at all " * 300)
    device = started(tmp_path, server)
    assert device.spool.counters["spool.corrupt"] == 1
    return device


def committed(device, link):
    device.infer()
    link.carry(device)
    link.answer(device)


def quiet(device, _link):
    device.later(limits.TRIAL_TIMEOUT.total_seconds())


def without_ack(device, _link):
    device.infer()
    device.later(limits.TRIAL_TIMEOUT.total_seconds())


def broken(device, _link):
    device.infer(1, ok=False)


def nothing(_device, _link):
    """It has ended already."""


#: How an update ends -> what makes it end so, what the probe says, the final state and reason.
ENDINGS = {
    "committed": (committed, Reason.NONE, UpdateState.COMMITTED, Reason.NONE),
    "rejected": (nothing, Reason.NONE, UpdateState.REJECTED, Reason.NOT_LISTED),
    "failed": (nothing, Reason.GOLDEN, UpdateState.FAILED, Reason.GOLDEN),
    "rolled back": (broken, Reason.NONE, UpdateState.ROLLED_BACK, Reason.INFERENCE),
    "no input": (quiet, Reason.NONE, UpdateState.ROLLED_BACK, Reason.INCONCLUSIVE),
    "no contact": (without_ack, Reason.NONE, UpdateState.ROLLED_BACK, Reason.INCONCLUSIVE),
}


def brought_to(ending, folder, link, artifacts):
    """A server and a device whose update has just come to this end, and that end."""
    end, probe, state, reason = ENDINGS[ending]
    server = Server(folder)
    device = started(folder, server, probe=probe)
    digest = digest_bytes(b"smuggled") if state is UpdateState.REJECTED else None
    device.desire(server.publish(artifacts[0]), revision=1, digest=digest)
    device.run()
    end(device, link)
    return server, device, state, reason


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_final_status_is_said_again_until_its_ack_whoever_dies_before_that(tmp_path, link, artifacts, ending):
    server, device, state, reason = brought_to(ending, tmp_path, link, artifacts)
    assert (device.state, device.updates.state().reason) == (state, reason)

    device.close()  # before anything has left
    device = started(tmp_path, server)
    for moment in ("puback", "ack"):
        link.dies_at = moment
        link.carry(device)
        link.answer(device)
        assert device.spool.pending, "nothing is forgotten without an ack"
        device.close()
        device = started(tmp_path, server)
        device.spool.lost_contact()
    link.carry(device)
    link.answer(device)
    device.spool.lost_contact()
    assert (device.spool.pending, list(device.spool.take(10))) == (0, [])
    assert link.kept == []
    assert link.finals() == [(state, reason)], "said often, taken in once"

    device.close()
    device = started(tmp_path, server)
    assert device.spool.pending == 0, "what was acknowledged is not said again"
    device.close()


@pytest.mark.parametrize(("ending", "heard"), [*((ending, False) for ending in ENDINGS), ("committed", True)])
def test_a_final_status_outlives_the_spool_that_it_was_in(tmp_path, link, artifacts, ending, heard):
    """The device says it once more, for it does not know what the server heard."""
    server, device, state, reason = brought_to(ending, tmp_path, link, artifacts)
    if heard:
        link.carry(device)
        link.answer(device)
    device.close()

    device = lost_spool(tmp_path, server)
    assert [(one.state, one.reason) for one in device.reports()] == [(state, reason)]
    device.close()
    device = started(tmp_path, server)
    assert len(device.reports()) == 1, "it lies in the new one"
    device.spool.lost_contact()
    link.carry(device)
    link.answer(device)
    assert device.spool.pending == 0
    assert set(link.finals()) == {(state, reason)}
    device.close()


def test_a_newer_model_waits_until_the_end_of_the_one_before_lies_in_the_new_spool(tmp_path, artifacts):
    server = Server(tmp_path)
    first, second = (server.publish(artifact) for artifact in artifacts)
    device = started(tmp_path, server, probe=Reason.GOLDEN)
    device.desire(first, revision=1)
    device.run()
    device.close()
    device = lost_spool(tmp_path, server)
    device.desire(second, revision=2, installation="inst-2")
    device.run()
    assert [(one.installation, one.state) for one in device.reports()] == [("inst-1", UpdateState.FAILED)]
    assert device.state is UpdateState.TRIAL
    device.close()


def test_the_evidence_of_a_trial_outlives_the_spool_that_it_was_in(tmp_path, artifacts):
    server = Server(tmp_path)
    device = started(tmp_path, server)
    device.desire(server.publish(artifacts[0]), revision=1)
    device.run()
    device.infer()
    device.close()
    device = lost_spool(tmp_path, server)
    assert [one.state for one in device.reports()] == [UpdateState.TRIAL]
    assert device.active is None, "nobody acknowledged it"
    device.acknowledge()
    assert device.state is UpdateState.COMMITTED
    device.close()


def test_an_ack_of_somebody_else_ends_nothing(tmp_path, link, artifacts):
    server = Server(tmp_path)
    device = started(tmp_path, server)
    device.desire(server.publish(artifacts[0]), revision=1, digest=digest_bytes(b"smuggled"))
    device.run()
    device.spool.acknowledge(messages.SpoolAck(spool=bytes(8), through=10**6))
    device.spool.lost_contact()
    assert [one.state for one in device.reports()] == [UpdateState.REJECTED]
    device.close()


# -- what is newer wins ------------------------------------------------------------------------------


WAY = (UpdateState.FETCHING, UpdateState.VERIFYING, UpdateState.STAGED, UpdateState.PROBING, UpdateState.TRIAL)


@pytest.mark.parametrize("state", [*WAY, "awaiting its ack"])
@pytest.mark.parametrize("restarted", [False, True], ids=["at once", "after a restart"])
def test_a_newer_desired_state_supersedes_in_every_state(tmp_path, artifacts, state, restarted):
    server = Server(tmp_path)
    first, second = (server.publish(artifact) for artifact in artifacts)
    device = started(tmp_path, server)
    device.desire(first, revision=1)
    device.run_until(state if state in WAY else UpdateState.TRIAL)
    if state not in WAY:
        device.infer()
        assert device.reports()[-1].state is UpdateState.TRIAL
    if restarted:
        device.close()
        device = started(tmp_path, server)
    device.desire(second, revision=2, installation="inst-2")
    device.run_until(UpdateState.VERIFYING)
    assert device.updates.state().candidate == second.digest
    assert device.updates.running().candidate is None, "the first one answers nothing any more"
    if state not in WAY:
        device.acknowledge()  # of the first one's evidence: too late
        assert device.active is None
    ends = [(one.installation, one.state, one.reason) for one in device.reports() if one.state is not UpdateState.TRIAL]
    assert ends == ([("inst-1", UpdateState.SUPERSEDED, Reason.NEWER)] if state in WAY else [])
    device.close()


def test_an_active_model_that_is_desired_again_tells_again_what_it_showed(tmp_path, artifacts):
    """A server that was restored from a backup may not have heard it."""
    server = Server(tmp_path)
    first, second = (server.publish(artifact) for artifact in artifacts)
    device = started(tmp_path, server)
    device.desire(first, revision=1)
    device.run()
    device.infer()
    device.acknowledge()
    device.close()
    device = started(tmp_path, server)
    device.desire(second, revision=2, installation="inst-2")
    device.run()
    device.infer(1, ok=False)
    device.acknowledge()
    device.desire(first, revision=3, installation="inst-3")
    [again] = device.reports()
    assert (again.installation, again.state, again.evidence.inferences, again.evidence.errors) == (
        "inst-3",
        UpdateState.COMMITTED,
        5,
        0,
    )
    device.close()
