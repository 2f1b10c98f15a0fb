"""Replay, downgrade, wrong device, wrong digest, unknown key, expired metadata, lower session: both directions.

Each is refused, and why comes to the server as a word that a program can read: as a counter or the reason of a report
on the way down, as the reason in the quarantine on the way up.
"""

import secrets
import shutil
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, seal
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import Reason, UpdateState
from edgeops.protocol.topics import Down, DownKind, UpKind
from edgeops.trust.repository import Repository
from tests.integration import agent_rig, link_rig
from tests.integration.agent_rig import DEPLOYMENT, DEVICE

pytestmark = pytest.mark.slow


# -- down: what an agent makes of a server, or of who pretends to be one -------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An agent with a committed model, and another model that is listed and never runs."""
    rig = agent_rig.Rig(tmp_path_factory.mktemp("refusals"))
    rig.digest, rig.target = rig.server.publish_model()
    rig.other = rig.server.publish_model(version=2)
    rig.play(200, loop=True, rate_hz=100)
    rig.old_speaker = rig.server._speaker
    rig.server.new_session()
    rig.start_agent()
    rig.server.desire(5, (DEPLOYMENT, rig.digest, rig.target))
    agent_rig.eventually(lambda: rig.committed(rig.digest), what="the model is committed")
    yield rig
    rig.close()


def said(rig, speaker, kind, body, *, seq=10_000):
    rig.server._client.publish(str(Down(DEVICE, kind)), seal(speaker, kind, seq=seq, body=messages.encode(body)), qos=1)


CREDIT = messages.Credit(records=9, at=datetime.now(UTC))


def replay(rig):
    for _ in range(2):
        said(rig, rig.server._speaker, DownKind.COMMAND, COMMAND)


def downgrade(rig):
    rig.server.desire(4, (DEPLOYMENT, *rig.other))


def wrong_device(rig):
    said(rig, replace(rig.server._speaker, device="somebody-else"), DownKind.CREDIT, CREDIT)


def wrong_kind(rig):
    payload = seal(rig.server._speaker, DownKind.ACK, seq=10_000, body=messages.encode(CREDIT))
    rig.server._client.publish(str(Down(DEVICE, DownKind.CREDIT)), payload, qos=1)


def unknown_key(rig):
    said(rig, replace(rig.server._speaker, key=SigningKey.generate()), DownKind.CREDIT, CREDIT)


def wrong_signature(rig):
    rig.server.say(DownKind.CREDIT, CREDIT, spoiled=True)


def lower_session(rig):
    said(rig, rig.old_speaker, DownKind.CREDIT, CREDIT)


def cloned_session(rig):
    own = rig.server._speaker
    said(rig, replace(own, session=Session(own.session.counter, secrets.token_bytes(8))), DownKind.CREDIT, CREDIT)


def not_a_message(rig):
    rig.server._client.publish(str(Down(DEVICE, DownKind.CREDIT)), b"\xc1junk", qos=1)


COMMAND = messages.Command(
    command="cmd-replayed",
    request=messages.Nominate(deployment="nothing", digest=digest_bytes(b"x"), count=1, random_share=0.0, seed=1),
)
DOWN = {
    replay: "envelope.repeated",
    downgrade: "desired.older",
    wrong_device: "envelope.wrong-device",
    wrong_kind: "envelope.wrong-kind",
    unknown_key: "envelope.unknown-key",
    wrong_signature: "envelope.signature",
    lower_session: "envelope.old-session",
    cloned_session: "envelope.cloned-session",
    not_a_message: "envelope.unparsable",
}


def test_what_a_device_does_not_believe_changes_nothing_and_is_counted_by_name_at_the_server(site):
    before = Counter(site.status()["counters"])
    for attack in DOWN:
        attack(site)
    names = set(DOWN.values())
    began = time.monotonic()
    agent_rig.eventually(
        lambda: names <= set(Counter(site.server.reported[-1].counters) - before), what="all of it is told"
    )
    assert time.monotonic() - began < 30, "a minute is the rhythm of what is not urgent"
    state = site.server.state()
    assert (state.active, state.state) == (site.digest, UpdateState.COMMITTED)
    assert [one.command for one in site.server.responses].count("cmd-replayed") == 1


@pytest.fixture
def honest(site):
    """What is served is itself again afterwards."""
    served = site.server._served
    yield served
    site.server._served = served
    site.server.repository.refresh(datetime.now(UTC), force=True)


def wrong_digest(_rig, _folder):
    return digest_bytes(b"smuggled")


def expired(rig, _folder):
    rig.server.repository.refresh(datetime.now(UTC) - limits.TIMESTAMP_LIFE - timedelta(days=1), force=True)


def older_metadata(rig, folder):
    """The agent has verified what came after this copy."""
    copy = shutil.copytree(rig.server._served, folder / "copy")
    rig.server.repository.refresh(datetime.now(UTC), force=True)
    rig.server.desire(rig.revision, (DEPLOYMENT, digest_bytes(b"to have it look"), rig.other[1]))
    rig.revision += 1
    rejected(rig, f"inst-{rig.revision - 1}")
    rig.server._served = copy


def metadata_of_somebody_else(rig, folder):
    forger = Repository.create(folder / "repository", folder / "keys", datetime.now(UTC))
    for _ in range(50):
        forger.refresh(datetime.now(UTC), force=True)
    rig.server._served = folder / "repository"


def rejected(rig, installation):
    """The reason of the report that an installation was rejected."""
    found = agent_rig.eventually(
        lambda: [one for one in rig.server.reports() if one.installation == installation], what="a final report"
    )
    assert found[0].state is UpdateState.REJECTED
    return found[0].reason


REPORTED = {
    wrong_digest: Reason.NOT_LISTED,
    expired: Reason.EXPIRED,
    older_metadata: Reason.ROLLBACK,
    metadata_of_somebody_else: Reason.TRUST,
}


@pytest.mark.parametrize("attack", REPORTED, ids=lambda attack: attack.__name__)
def test_what_may_not_run_is_rejected_with_its_reason_in_a_report_that_is_not_lost(site, honest, attack, tmp_path):
    del honest
    site.revision = max(10, getattr(site, "revision", 0) + 1)
    digest = attack(site, tmp_path) or site.other[0]
    site.server.desire(site.revision, (DEPLOYMENT, digest, site.other[1]))
    assert rejected(site, f"inst-{site.revision}") is REPORTED[attack]
    agent_rig.eventually(lambda: site.server.state().state is UpdateState.REJECTED, what="the state is told")
    assert site.server.state().active == site.digest


# -- up: what the link makes of a device, or of who pretends to be one -----------------------------


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    rig = link_rig.Rig(tmp_path_factory.mktemp("link"))
    rig.start_broker()
    rig.start_linked()
    yield rig
    rig.close()


def test_what_the_server_does_not_believe_is_put_aside_under_its_reason(link):
    device, other, stranger = link.device(), link.device("other"), link.device("stranger", enrolled=False)
    device.restart()
    old = Session(1, secrets.token_bytes(8))
    device.send_windows(0)
    own = device.sealed(UpKind.TELEMETRY, device.records((0, messages.encode(link_rig.window()))), seq=1)
    device.publish(UpKind.TELEMETRY, own)  # a replay: known, so acknowledged again and counted
    as_other = Speaker(other.id, device.key, 0, device.session)
    attacks = {
        "wrong-device": seal(as_other, UpKind.TELEMETRY, seq=9, body=b""),
        "wrong-kind": device.sealed(UpKind.REPORTS, b""),
        "unknown-key": device.sealed(UpKind.TELEMETRY, b"", key=SigningKey.generate()),
        "signature": own[:-1] + bytes([own[-1] ^ 1]),
        "old-session": device.sealed(UpKind.TELEMETRY, b"", session=old),
        "unparsable": b"\xc1junk",
        "body": device.sealed(UpKind.TELEMETRY, b"no records"),
    }
    for payload in attacks.values():
        device.publish(UpKind.TELEMETRY, payload)
    stranger.publish(UpKind.TELEMETRY, stranger.sealed(UpKind.TELEMETRY, b""))
    wanted = Counter({**dict.fromkeys(attacks, 1), "unknown-device": 1})

    def aside():
        return Counter(reason for (reason,) in link.rows("SELECT reason FROM quarantine"))

    link_rig.eventually(lambda: aside() == wanted, what=f"each is put aside once, under its reason: {wanted}")
    assert link.rows("SELECT count(*) FROM windows") == [(1,)]
    assert link.rows(f"SELECT repeated FROM marks WHERE device_id = '{device.id}'") == [(1,)]
    assert not link.rows(f"SELECT 1 FROM marks WHERE device_id = '{other.id}'"), "nobody spoke for another"
