"""The agent's link to a real mosquitto over TLS: which certificates it believes, by which clock."""

import os
import signal
import subprocess
from datetime import UTC, datetime
from queue import Empty, SimpleQueue

import pytest

from device_agent.link import Broker, Connected, Disconnected, Link, NotBelieved
from device_agent.tls import FleetTls
from edgeops.protocol.topics import CLIENT_ID_PREFIX, Down, DownKind, Up, UpKind, mosquitto_acl
from edgeops.trust.authorities import encode_authorities
from edgeops.trust.issuing import Issued, new_issuer
from fleet_server.broker import hash_password
from tests.integration.ports import free_port
from tests.integration.tls_rig import DAY, NOW, YEAR, certificate, key_pem
from tests.integration.waiting import ask_until, mosquitto

pytestmark = pytest.mark.slow

DEADLINE_S = 30.0
DEVICE = "meter-1a2b"
CA = new_issuer(NOW - YEAR)
ENDED_CA = new_issuer(NOW - YEAR, life=360 * DAY)
NEXT_CA = new_issuer(NOW)
KNOWN = (CA.authority, ENDED_CA.authority, NEXT_CA.authority)
IN_1970 = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
IN_2038 = datetime(2038, 1, 20, tzinfo=UTC)


class Site:
    """One mosquitto that shows the certificate it was given."""

    def __init__(self, folder, shown):
        self.folder = folder
        self.port = free_port()
        self.now = NOW
        self.pem = folder / "server.pem"
        (folder / "passwd").write_text(f"{DEVICE}:{hash_password('secret')}\n")
        (folder / "acl").write_text(mosquitto_acl("edgeops-server"))
        for name in ("passwd", "acl"):
            (folder / name).chmod(0o600)
        user = "user root\n" if os.geteuid() == 0 else ""
        (folder / "mosquitto.conf").write_text(
            f"{user}listener {self.port} 127.0.0.1\ntls_version tlsv1.2\ncertfile {self.pem}\nkeyfile {self.pem}\n"
            f"allow_anonymous false\nuse_username_as_clientid true\nclientid_prefixes {CLIENT_ID_PREFIX}\n"
            f"password_file {folder}/passwd\nacl_file {folder}/acl\npersistence false\n"
        )
        self.show(shown)
        self._log = (folder / "log").open("ab")
        self._process = subprocess.Popen(
            [mosquitto(), "-c", str(folder / "mosquitto.conf")], stdout=self._log, stderr=self._log
        )
        self.tls = FleetTls(folder, now=lambda: self.now)
        self.tls.store(encode_authorities(KNOWN))

    def show(self, issued):
        self.pem.write_bytes(issued.pem)
        self.pem.chmod(0o600)

    def hang_up(self):
        self._process.send_signal(signal.SIGHUP)

    def logins(self):
        return (self.folder / "log").read_text().count(f" as {DEVICE} ")

    def meets(self, wanted, *, host="127.0.0.1", tls=True, patient=False):
        """The first thing that a link of ours tells, or with patience what it tells at last."""
        events = SimpleQueue()
        link = Link(
            Broker(host, self.port, DEVICE, "secret", self.tls.context() if tls else None),
            will=lambda: (Up(DEVICE, UpKind.STATUS), b"gone"),
            on_event=events.put,
        )
        link.start()
        try:
            return ask_until(
                lambda: self._one(events, wanted, patient), what=f"{wanted} at the link", seconds=DEADLINE_S
            )
        finally:
            link.close()

    def is_broken_by_a_birth(self):
        """Whether a new connection is lost over all that is said at its beginning."""
        events = SimpleQueue()
        link = Link(
            Broker("127.0.0.1", self.port, DEVICE, "secret", self.tls.context()),
            will=lambda: (Up(DEVICE, UpKind.STATUS), b"gone"),
            on_event=events.put,
        )
        link.start()
        try:
            ask_until(lambda: self._one(events, Connected, patient=True), what="a connection", seconds=DEADLINE_S)
            first = link._client
            link.subscribe([Down(DEVICE, kind) for kind in DownKind], qos=1)
            for kind in UpKind:
                link.publish(Up(DEVICE, kind), bytes(3_000))

            def has_ended():
                return link._client is not first or not first._out_messages

            ask_until(has_ended, what="the broker's acknowledgements", seconds=DEADLINE_S)
            return not events.empty()
        finally:
            link.close()

    def _one(self, events, wanted, patient):
        try:
            event = events.get(timeout=0.1)
        except Empty:
            return None
        starting = isinstance(event, Disconnected) and "Connection refused" in event.reason
        if (starting or patient) and not isinstance(event, wanted):
            return None
        assert isinstance(event, wanted), event
        return event

    def close(self):
        self._process.terminate()
        self._process.wait(DEADLINE_S)
        self._log.close()


@pytest.fixture
def site(tmp_path):
    opened = []

    def open_site(shown, *, now=NOW):
        opened.append(Site(tmp_path, shown))
        opened[-1].now = now
        return opened[-1]

    yield open_site
    for one in opened:
        one.close()


@pytest.mark.parametrize("now", [NOW, IN_1970], ids=["now", "1970"])
def test_the_link_connects_whether_or_not_the_clock_was_ever_set(site, now):
    made = site(certificate(CA), now=now)
    made.meets(Connected)
    made.meets(Connected, host="localhost")
    assert made.logins() == 2


def test_a_certificate_that_begins_later_than_the_clock_says_is_believed(site):
    site(certificate(CA, at=NOW + 10 * DAY)).meets(Connected)


REFUSED = {
    "the clock is in 2038": (certificate(CA), IN_2038, "ended on"),
    "it ended": (certificate(CA, at=NOW - 100 * DAY), NOW, "ended on"),
    "another name": (certificate(CA, names=["elsewhere.example"]), NOW, "127.0.0.1"),
    "an unknown CA": (certificate(), IN_1970, "self-signed certificate in certificate chain"),
    "a CA that ended beside two that did not": (certificate(ENDED_CA, at=NOW - 50 * DAY), NOW, "ended on"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_server_that_cannot_prove_to_be_ours_gets_no_password(site, case):
    shown, now, words = REFUSED[case]
    made = site(shown, now=now)
    assert words in made.meets(NotBelieved).reason
    assert made.logins() == 0


def test_a_certificate_that_signed_itself_is_refused(site):
    stranger = new_issuer(NOW)
    made = site(Issued(stranger.authority.certificate, key_pem(stranger) + stranger.authority.pem.encode()))
    assert "self-signed" in made.meets(NotBelieved).reason


def test_a_renewed_certificate_is_shown_after_a_hang_up_without_a_restart(site):
    made = site(certificate(CA))
    made.meets(Connected)
    made.tls.store(encode_authorities([NEXT_CA.authority]))
    made.meets(NotBelieved)
    made.show(certificate(NEXT_CA))
    made.hang_up()
    made.meets(Connected, patient=True)


def test_the_link_does_not_speak_plain_to_a_tls_listener(site):
    made = site(certificate(CA))
    made.meets(Connected)
    made.meets(Disconnected, tls=False)
    assert made.logins() == 1


def test_what_another_thread_says_while_answers_come_breaks_no_connection(site):
    """OpenSSL knows one owner of a connection at a time; a birth is said by the main thread, right when it begins."""
    made = site(certificate(CA))
    assert [made.is_broken_by_a_birth() for _ in range(40)] == [False] * 40
