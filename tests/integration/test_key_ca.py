"""`edgeops key ca` against a real API: what is listed, by whose signature, and what is refused."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from edgeops.cli.app import run
from edgeops.exits import Exit
from edgeops.local.endpoints import Endpoints, write_endpoints
from edgeops.trust import custody
from edgeops.trust.authorities import AUTHORITIES_TARGET, decode_authorities, encode_authorities, why_refused
from edgeops.trust.issuing import issue, new_issuer, write_issuer
from edgeops.trust.repository import Repository
from fleet_server import certificates
from fleet_server.config import ServerConfig
from tests.contract.rig import ApiRig
from tests.integration.tls_rig import NOW

pytestmark = pytest.mark.slow


class Site:
    """A server that speaks TLS since yesterday, and a terminal on its machine."""

    def __init__(self, folder, capsys, *, first_ca=None):
        if first_ca is not None:
            _show_since_long(ServerConfig(folder / "data", tls=True), first_ca)
        self.rig = ApiRig(folder, tls=True, now=NOW - timedelta(days=1))
        self.rig.now = NOW
        self.config = self.rig.config
        self._capsys = capsys
        write_endpoints(self.config.data, Endpoints(url=self.rig.url, broker_host="127.0.0.1", broker_port=1, pid=1))

    def run(self, *line, code=Exit.OK):
        self._capsys.readouterr()
        ended = run(["key", "ca", *line, "--data", str(self.config.data)])
        shown = self._capsys.readouterr()
        assert ended == code, shown.err
        return shown

    @property
    def repository(self):
        return Repository.open(self.config.repository, self.config.keys)

    @property
    def listed(self):
        return decode_authorities(self.repository.read(AUTHORITIES_TARGET))

    @property
    def shown(self):
        return json.loads(self.run("show", "--json").out)


@pytest.fixture
def site(tmp_path, capsys):
    made = Site(tmp_path, capsys)
    yield made
    made.rig.close()


def test_a_ca_is_renewed_switched_to_and_retired(site):
    (old,) = site.listed
    assert old.fingerprint in site.run("show").out
    said = site.run("renew")
    old, new = site.listed
    assert f"CA {new.fingerprint}" in said.err
    assert "edgeops key ca switch" in said.err
    assert [one["signs"] for one in site.shown["authorities"]] == [True, False]
    assert "let another one sign first" in site.run("retire", old.fingerprint, code=Exit.CONFLICT).err
    assert site.run("switch").out.strip() == new.fingerprint
    assert [one["signs"] for one in site.shown["authorities"]] == [False, True]
    assert {"127.0.0.1", "localhost"} <= set(site.shown["certificate"]["names"])
    site.run("retire", old.fingerprint[:20])
    assert site.listed == (new,)
    assert site.run("show", "--pem").out == new.pem


def test_what_cannot_be_is_refused_in_words(site):
    (only,) = site.listed
    assert "only CA" in site.run("retire", only.fingerprint, code=Exit.CONFLICT).err
    assert "names no CA" in site.run("retire", "sha256:0000000000", code=Exit.NOT_FOUND).err
    site.run("renew")
    assert "does not sign yet" in site.run("renew", code=Exit.CONFLICT).err


def test_without_the_targets_key_a_renewal_is_a_file_for_who_has_it(site, tmp_path):
    stick = tmp_path / "stick"
    custody.move_offline(site.config.keys, stick)
    change = tmp_path / "renew.change"
    site.run("renew", "--out", str(change))
    assert len(site.listed) == 1
    assert run(["key", "sign", str(change), "--keys", str(stick), "--yes"]) == Exit.OK
    assert run(["key", "submit", str(change), "--data", str(site.config.data)]) == Exit.OK
    assert len(site.listed) == 2


def test_a_ca_that_the_server_slipped_in_is_not_signed_for(site):
    """Its own list is another one than targets keys signed: it hopes that the next signature takes it along."""
    path = next((site.config.targets / "fleet").glob("*ca.json"))
    path.write_bytes(encode_authorities([*site.listed, new_issuer(NOW).authority]))
    assert "other CAs than were signed" in site.run("renew", code=Exit.FAILED).err


def test_a_list_without_a_ca_of_this_server_is_not_taken(site):
    stranger = new_issuer(NOW)
    change = _change(site, [stranger.authority])
    answer = site.rig.request("POST", "/api/v1/keys/changes", role="admin", content=change)
    assert answer.status_code == 409
    assert "none has its key on this server" in answer.json()["detail"]


def _change(site, authorities):
    from edgeops.local import ceremony
    from edgeops.trust.change import encode_change, sign
    from edgeops.trust.signers import by_id

    draft = ceremony.begin(site.rig.client(), site.config.keys, NOW)
    draft.list({AUTHORITIES_TARGET: encode_authorities(authorities)})
    change = draft.finish()
    sign(change, by_id(site.config.keys))
    return encode_change(change)


def test_a_server_without_tls_has_nothing_to_switch(tmp_path):
    rig = ApiRig(tmp_path, now=NOW)
    try:
        answer = rig.request("POST", "/api/v1/authorities/switch", role="admin")
        assert answer.status_code == 409
        assert "speaks no TLS" in answer.json()["detail"]
        assert len(certificates.listed_authorities(rig.config)) == 1
    finally:
        rig.close()


def test_a_token_comes_with_the_address_that_devices_elsewhere_use(site, capsys):
    names = ServerConfig(site.config.data, tls=True, names=("2001:db8::7", "fleet.example"))
    certificates.Certificates(names).keep_fresh(NOW)
    assert run(["devices", "token", "--data", str(site.config.data)]) == Exit.OK
    said = capsys.readouterr()
    assert said.out.strip().endswith(f"@{site.listed[0].fingerprint}")
    assert f"edgeops-agent enrol https://[2001:db8::7]:{site.rig.url.rpartition(':')[2]} --token" in said.err


# -- the runbook


def _show_since_long(config, issuer):
    """What is left in the folder of a server whose CA has ended."""
    config.keys.mkdir(parents=True)
    config.tls_folder.mkdir()
    write_issuer(config.keys, issuer)
    config.certificate.write_bytes(issue(issuer, ["127.0.0.1", "localhost"], issuer.authority.begins).pem)


def _runbook(title):
    page = (Path(__file__).resolve().parents[2] / "docs/runbooks.md").read_text()
    (section,) = [text for text in re.split(r"^## ", page, flags=re.MULTILINE) if text.startswith(title)]
    return re.findall(r"^\$ edgeops key ca (.*)$", section, re.MULTILINE)


def test_the_runbook_of_a_ca_that_ended(tmp_path, capsys):
    ended = new_issuer(NOW - timedelta(days=400), life=timedelta(days=395))
    site = Site(tmp_path, capsys, first_ca=ended)
    try:
        stick = tmp_path / "ann"
        custody.move_offline(site.config.keys, stick)
        assert site.listed == (ended.authority,)
        assert why_refused(_shown(site), site.listed, now=NOW) is not None
        for line in _runbook("The CA expired"):
            words = line.replace("/media/ann", str(stick)).replace("OLD", ended.authority.fingerprint).split()
            said = site.run(*words)
            # What the jobs process does every two seconds.
            certificates.Certificates(site.config).keep_fresh(NOW)
            site.rig.show_certificate()
        (new,) = site.listed
        assert said.out == new.pem
        assert why_refused(_shown(site), (new,), now=NOW) is None
    finally:
        site.rig.close()


def _shown(site):
    return certificates.shown_certificate(site.config).public_bytes(Encoding.DER)
