"""The server's certificate over the years: issued, renewed, signed by the next CA, and what is left when a CA ended."""

import stat
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.errors import ConflictError
from edgeops.trust.authorities import AUTHORITIES_TARGET, encode_authorities, names_in, why_refused
from edgeops.trust.issuing import new_issuer, write_issuer
from edgeops.trust.repository import Repository
from fleet_server import certificates
from fleet_server.certificates import Certificates, listed_authorities, newest_authority, pinned, shown_certificate
from fleet_server.cli import main
from fleet_server.config import ServerConfig
from fleet_server.setup import init

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ENDED = NOW + limits.CA_LIFE + DAY


class Server:
    """What `init` makes for TLS, without a database; and what the jobs process and the owner do at a moment."""

    def __init__(self, folder):
        self.config = ServerConfig(folder / "data", tls=True, names=("fleet.example",))
        issuer = new_issuer(NOW)
        repository = Repository.create(self.config.repository, self.config.keys, NOW)
        write_issuer(self.config.keys, issuer)
        repository.publish({AUTHORITIES_TARGET: encode_authorities([issuer.authority])}, NOW)
        self._certificates = Certificates(self.config)
        self.keep_fresh(NOW)

    def keep_fresh(self, now):
        self._certificates.keep_fresh(now)

    def renew(self, now):
        """`edgeops key ca renew`, of which the targets key's part is here."""
        made = certificates.prepare(self.config, now).authority
        self.list([*self.listed, made], now)
        return made

    def switch(self, now):
        return certificates.switch(self.config, now).authority

    def retire(self, authority, now):
        self.list([one for one in self.listed if one != authority], now)

    def list(self, authorities, now):
        self.repository.publish({AUTHORITIES_TARGET: encode_authorities(authorities)}, now)

    @property
    def repository(self):
        return Repository.open(self.config.repository, self.config.keys)

    @property
    def shown(self):
        return shown_certificate(self.config)

    @property
    def listed(self):
        return listed_authorities(self.config)


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


def test_a_fresh_server_shows_a_certificate_of_the_only_listed_ca(server):
    (authority,) = server.listed
    assert authority.signed(server.shown)
    assert set(names_in(server.shown)) == {"fleet.example", "localhost", "127.0.0.1", "::1"}
    assert stat.S_IMODE(server.config.certificate.stat().st_mode) == 0o600
    assert server.config.authorities.read_text() == authority.pem


def test_init_makes_a_ca_and_a_certificate_and_is_harmless_to_repeat(tmp_path):
    config = ServerConfig(tmp_path, tls=True)
    init(config, now=NOW)
    before = shown_certificate(config), listed_authorities(config)
    init(config, now=NOW + DAY)
    assert before == (shown_certificate(config), listed_authorities(config))
    (authority,) = before[1]
    assert authority.signed(before[0])


def test_a_server_beyond_loopback_is_made_with_the_names_that_its_owner_gives(tmp_path, capsys):
    command = ["init", "--data", str(tmp_path), "--listen", "0.0.0.0"]
    assert main(command) == 2
    assert "--host" in capsys.readouterr().err
    assert main([*command, "--host", "fleet.example"]) == 0
    assert "fleet.example" in names_in(shown_certificate(ServerConfig(tmp_path)))
    assert "listener 8471 0.0.0.0" in ServerConfig(tmp_path).broker_conf.read_text()


def test_without_tls_a_ca_is_listed_for_later_and_nothing_is_shown(tmp_path):
    config = ServerConfig(tmp_path)
    init(config, now=NOW)
    Certificates(config).keep_fresh(NOW)
    assert len(listed_authorities(config)) == 1
    assert not config.tls_folder.exists()
    assert newest_authority(config) == ()


def test_a_certificate_is_renewed_when_a_third_of_its_life_is_left(server):
    first = server.shown
    server.keep_fresh(NOW + 59 * DAY)
    assert server.shown == first
    server.keep_fresh(NOW + 61 * DAY)
    assert server.shown.not_valid_after_utc == NOW + 61 * DAY + limits.SERVER_CERTIFICATE_LIFE
    assert server.listed[0].signed(server.shown)


def test_another_name_makes_another_certificate(server):
    config = ServerConfig(server.config.data, tls=True, names=("fleet.example", "192.168.1.7"))
    Certificates(config).keep_fresh(NOW)
    assert "192.168.1.7" in names_in(server.shown)


def test_the_next_ca_is_listed_before_it_signs_and_the_first_one_goes_when_it_is_told_to(server):
    (old,) = server.listed
    new = server.renew(NOW + DAY)
    assert server.listed == (old, new)
    server.keep_fresh(NOW + 29 * DAY)
    assert old.signed(server.shown)
    server.keep_fresh(NOW + 31 * DAY)
    assert new.signed(server.shown)
    assert server.config.authorities.read_text() == old.pem + new.pem
    server.retire(old, NOW + 40 * DAY)
    server.keep_fresh(NOW + 40 * DAY)
    assert server.listed == (new,)
    assert [path.name for path in server.config.keys.glob("ca-*")] == [f"ca-{new.fingerprint[7:23]}.pem"]


def test_a_ca_can_sign_at_once_and_stays_the_one_that_signs(server):
    new = server.renew(NOW + DAY)
    assert server.switch(NOW + DAY) == new
    server.keep_fresh(NOW + DAY)
    assert new.signed(server.shown)
    assert "fleet.example" in names_in(server.shown)


def test_two_new_cas_at_a_time_are_one_too_many(server):
    server.renew(NOW + DAY)
    with pytest.raises(ConflictError, match="does not sign yet"):
        server.renew(NOW + 2 * DAY)


def test_what_was_made_and_never_listed_is_forgotten_by_the_next_one(server):
    first, second = (certificates.prepare(server.config, NOW + days * DAY).authority for days in (1, 2))
    server.keep_fresh(NOW + 2 * DAY)
    held = {path.name for path in server.config.keys.glob("ca-*")}
    assert held == {f"ca-{one.fingerprint[7:23]}.pem" for one in (*server.listed, second)}
    assert first != second


def test_a_ca_that_ended_is_replaced_at_once_and_devices_that_learn_the_new_one_go_on(server):
    (old,) = server.listed
    before = server.shown
    server.keep_fresh(ENDED)
    assert server.shown == before
    new = server.renew(ENDED)
    server.keep_fresh(ENDED)
    shown = server.config.certificate.read_bytes()
    assert new.signed(server.shown)
    assert b"PRIVATE KEY" in shown
    der = _der(server.shown)
    assert why_refused(der, (old,), now=ENDED) is not None
    assert why_refused(der, server.listed, now=ENDED) is None


def test_a_ca_whose_key_is_not_here_signs_nothing(server):
    first = server.shown
    for path in server.config.keys.glob("ca-*"):
        path.unlink()
    server.keep_fresh(NOW + 80 * DAY)
    assert server.shown == first
    with pytest.raises(ConflictError, match="edgeops key ca renew"):
        server.switch(NOW + 80 * DAY)
    new = server.renew(NOW + 80 * DAY)
    server.keep_fresh(NOW + 80 * DAY)
    assert new.signed(server.shown)


def test_people_are_told_of_the_end_of_the_newest_ca(server):
    (told,) = newest_authority(server.config)
    assert (told.role, told.expires, told.at_hand) == ("ca", NOW + limits.CA_LIFE, True)


def test_a_token_carries_the_fingerprint_of_the_ca_that_a_device_meets(server):
    (authority,) = server.listed
    assert pinned(server.config, "enrol_1_2") == f"enrol_1_2@{authority.fingerprint}"


def _der(certificate):
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)
