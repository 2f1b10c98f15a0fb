"""The commands of docs/runbooks.md, in the order of the page, against a real server and a device's real trust client."""

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from device_agent.cli import main as agent
from device_agent.config import Device, StateFolder, write_device
from edgeops.api.roles import Role
from edgeops.api.shapes import KeyRole
from edgeops.digest import digest_bytes
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.trust.floor import NEVER
from edgeops.trust.frames import FailureKind, Result
from fleet_server.certificates import Certificates
from fleet_server.freshness import Freshness
from tests.docs.console import Command, commands_in
from tests.integration.key_rig import AUTO, SIGNED, Listener, Site
from tests.integration.trust_rig import kind_of

pytestmark = [pytest.mark.slow, pytest.mark.processes]

PAGE = Path(__file__).resolve().parents[2] / "docs/runbooks.md"
RUNBOOKS = {
    text.splitlines()[0]: commands_in(text) for text in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
}
FIRST = "Before anything happens: three people, two must agree"
ASKING = ("key sign", "model sign", "key begin-again", "devices remove")


class Desk:
    """Where a person sits: names of the page become those of this site."""

    def __init__(self, site, folder):
        self._site, self._folder = site, folder
        self.names = {"/media": str(folder / "media"), "gas": "tiny", "/var/lib/edgeops-agent": str(folder / "agent")}

    def path(self, name):
        return self._folder / "media" / name

    def go_through(self, title):
        for command in RUNBOOKS[title]:
            self.do(command)

    def do(self, command: Command):
        line = command.line
        for said, meant in self.names.items():
            line = line.replace(said, meant)
        program, *words = shlex.split(line)
        if program == "edgeops-agent":
            assert agent(words) == 0, line
            return ""
        asks = " ".join(words[:2]) in ASKING
        return self._site.run(*words, *(["--yes"] if asks else []), data=False).out

    def key_id(self, role, folder):
        """As `key list` shows it, of the key that lies in a folder."""
        public = (self.path(folder) / f"{role}.pub").read_text().strip()
        return next(key.key_id for key in self._site.trusted if key.public_hex == public)

    def ids(self, role):
        return {key.key_id for key in self._site.trusted if key.role == role}


@pytest.fixture
def site(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path, capsys)
    monkeypatch.setenv("EDGEOPS_DATA", str(site.config.data))
    yield site
    site.close()


@pytest.fixture
def desk(site, tmp_path):
    return Desk(site, tmp_path)


def test_the_page_has_a_runbook_for_each_loss():
    assert next(iter(RUNBOOKS)) == FIRST
    assert all(RUNBOOKS.values())


def test_keys_and_machines_are_lost_one_after_the_other_and_devices_follow(site, desk, tmp_path):
    device = Listener(tmp_path / "early", site)
    assert SIGNED not in device.listed()

    desk.go_through(FIRST)
    assert len(desk.ids(KeyRole.ROOT)) == 3
    assert {key.threshold for key in site.trusted if key.role is KeyRole.ROOT} == {2}

    site.run("key", "move-offline", str(desk.path("ann")))
    assert len(desk.ids(KeyRole.ROOT)) == 3, "harmless to repeat, also with several people"

    site.run("publish", "tiny@1")
    assert site.standing == "awaiting-signature"
    desk.go_through("A model signed where no server can be reached")
    assert site.standing == "published"
    assert SIGNED in device.listed()

    lost = desk.ids(KeyRole.TARGETS)
    (desk.path("ann") / "targets.pem").unlink()
    desk.go_through("The targets key is lost")
    assert not lost & desk.ids(KeyRole.TARGETS)
    assert SIGNED in device.listed()
    site.run("key", "renew", "targets", "--keys", str(desk.path("ann")))

    carol = desk.key_id("root", "carol")
    desk.names["3f9a1c07"] = carol[:8]
    Path("trust-root.change").unlink()
    desk.go_through("A root key is lost, and enough are left")
    assert carol not in desk.ids(KeyRole.ROOT)
    assert desk.key_id("root", "dave") in desk.ids(KeyRole.ROOT)
    assert SIGNED in device.listed()


@pytest.fixture
def open_site(tmp_path, capsys, monkeypatch):
    """One that listens beyond its own machine, since yesterday."""
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path, capsys, start=datetime.now(UTC) - timedelta(days=1), tls=True)
    site.rig.now = datetime.now(UTC)
    monkeypatch.setenv("EDGEOPS_DATA", str(site.config.data))
    yield site
    site.close()


def test_after_a_theft_of_the_server_nothing_that_was_on_it_is_trusted(open_site, tmp_path):
    site, desk = open_site, Desk(open_site, tmp_path)
    device = Listener(tmp_path / "early", site)
    desk.go_through(FIRST)
    site.run("publish", "tiny@1")
    site.run("key", "delegate", "tiny", "--version", "1", "--yes", "--keys", str(desk.path("ann")))
    site.repository.publish({AUTO: b"{}"}, site.rig.now)
    device.listed()
    assert device.fleet_epochs() == {1}
    # The thief says that it is 300 days later: whatever the server signs has ended by that.
    device.clock.told(site.rig.now + timedelta(days=300), place=(1, 2**52, 1))
    assert kind_of(device.ask()) is FailureKind.EXPIRED
    stolen = {path.name: path.read_bytes() for path in site.config.keys.glob("*.pem")}
    before = {role: desk.ids(role) for role in (KeyRole.SNAPSHOT, KeyRole.TIMESTAMP, KeyRole.FLEET, KeyRole.AUTO)}
    token = site.client.create_token("old", Role.OPERATOR)
    (authority,) = site.client.authorities().authorities
    desk.names |= {"TOKEN": token.id, "51c0ffee": authority.fingerprint}

    desk.go_through("The server is stolen, or was in other hands")

    for role, ids in before.items():
        assert not ids & desk.ids(role), role
    Certificates(site.config).keep_fresh(site.rig.now)
    left = {path.read_bytes() for path in site.config.keys.glob("*.pem")}
    assert not left & set(stolen.values())
    assert device.fleet_epochs() == {2}
    assert device.clock.floor == NEVER
    assert AUTO not in device.listed()
    revoked = {one.id: one.revoked_at for one in site.client.tokens()}
    assert revoked[token.id] is not None
    assert authority.fingerprint not in {one.fingerprint for one in site.client.authorities().authorities}


def test_a_device_that_was_stolen_is_none_of_the_fleet(site, desk):
    site.rig.enrol_device()
    desk.go_through("A device is stolen")
    assert list(site.client.devices()) == []


def test_everything_expired_and_no_device_is_visited(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = datetime(2012, 1, 1, tzinfo=UTC)
    site = Site(tmp_path, capsys, start=begun)
    monkeypatch.setenv("EDGEOPS_DATA", str(site.config.data))
    try:
        desk, device = Desk(site, tmp_path), Listener(tmp_path / "early", site)
        site.run("key", "move-offline", str(desk.path("ann")))
        site.repository.refresh(begun, force=True)
        device.listed()
        today = datetime.now(UTC)
        assert kind_of(device.ask(now=today)) is FailureKind.EXPIRED
        site.rig.now = today
        Freshness(site.config, site.rig.database).keep(today)
        assert kind_of(device.ask(now=today)) is FailureKind.EXPIRED, "root and targets are not the server's to sign"

        desk.go_through("Everything has expired")

        assert isinstance(device.ask(now=today + timedelta(minutes=1)), Result)
        assert isinstance(Listener(tmp_path / "late", site).ask(now=today + timedelta(minutes=1)), Result)
    finally:
        site.close()


def test_below_the_threshold_of_root_each_device_is_told_by_hand(site, desk, tmp_path):
    state = StateFolder(tmp_path / "agent")
    device, other = Listener(state.trust, site), Listener(tmp_path / "other", site)
    write_private_key(state.key, SigningKey.generate())
    write_device(
        state,
        Device(
            id="pump-0001", name="pump", server="http://127.0.0.1:1", tuf_url="http://127.0.0.1:1/tuf",
            broker_host="127.0.0.1", broker_port=1, broker_user="pump-0001", broker_password="x",
        ),
    )  # fmt: skip
    desk.go_through(FIRST)
    for listener in (device, other):
        listener.listed()
    desk.path("bob").rename(tmp_path / "burnt-1")
    desk.path("carol").rename(tmp_path / "burnt-2")
    steps = RUNBOOKS["Root below its threshold"]

    desk.do(steps[0])
    assert kind_of(device.ask()) is FailureKind.UNSIGNED
    desk.names["sha256:FINGERPRINT"] = digest_bytes((desk.path("new") / "root.json").read_bytes())
    desk.do(steps[1])

    assert device.listed() == set(site.repository.listed())
    assert kind_of(other.ask()) is FailureKind.UNSIGNED, "nobody told it"
    site.run("publish", "tiny@1")
    site.run("model", "sign", "tiny@1", "--keys", str(desk.path("new")))
    assert SIGNED in device.listed()
    assert SIGNED in Listener(tmp_path / "late", site).listed()
