"""A whole site that speaks TLS: real processes, and its CA replaced while one device is there and one is away."""

import json
import socket
import ssl

import pytest

from edgeops.api.client import Client
from edgeops.cli.app import run
from edgeops.errors import UnreachableError
from edgeops.local.endpoints import admin_token_file, authorities_file
from edgeops.local.listening import Listening
from edgeops.local.up import Site
from edgeops.protocol.messages import Presence
from edgeops.trust.issuing import new_issuer
from edgeops.trust.transport import believing
from tests.integration.tls_rig import NOW
from tests.integration.waiting import ask_until

pytestmark = pytest.mark.slow

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("up"), agents=2, listening=Listening(forced_tls=True)) as running:
        yield running


def eventually(question, what):
    return ask_until(question, what=what, seconds=DEADLINE_S)


def presence(site, agent):
    return site.client.device(agent.device_id).presence


def known_to(agent):
    """The CAs that a device believes."""
    return json.loads((agent.state / "trust/ca.json").read_bytes())["certificates"]


def shown_at(site, port):
    """The certificate that a listener shows, whoever signed it."""
    return ssl.get_server_certificate(("127.0.0.1", port))


def key_ca(site, capsys, verb, *arguments):
    capsys.readouterr()
    assert run(["key", "ca", verb, *arguments, "--json", "--data", str(site.data)]) == 0
    return json.loads(capsys.readouterr().out)


def test_agents_are_online_and_the_command_line_believes_the_cas_of_the_folder(site, capsys):
    assert site.endpoints.url.startswith("https://")
    assert [presence(site, agent) for agent in site.agents] == [Presence.ONLINE] * 2
    assert run(["devices", "list", "--json", "--data", str(site.data)]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.parametrize("which", ["api", "broker"])
def test_plain_tcp_gets_no_answer_from_a_listener(site, which):
    port = site.endpoints.api_port if which == "api" else site.endpoints.broker_port
    # A GET for the API; for the broker a CONNECT of MQTT 3.1.1 by nobody.
    said = (
        b"GET /api/v1/health HTTP/1.0\r\n\r\n"
        if which == "api"
        else b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04edge"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(said)
        try:
            answer = connection.recv(100)
        except ConnectionError:
            answer = b""
    assert not answer.startswith((b"HTTP", b"\x20"))


def test_the_command_line_refuses_a_server_of_another_ca(site, tmp_path, monkeypatch, capsys):
    other = tmp_path / "other.pem"
    other.write_text(new_issuer(NOW).authority.pem)
    monkeypatch.setenv("EDGEOPS_CA", str(other))
    assert run(["devices", "list", "--data", str(site.data)]) == 5
    assert "certificate verify failed" in capsys.readouterr().err
    with pytest.raises(UnreachableError, match="certificate verify failed"):
        Client(site.endpoints.url, admin_token_file(site.data).read_text().strip()).health()


@pytest.mark.long
def test_the_ca_is_replaced_while_one_device_is_there_and_one_is_away(site, capsys):
    here, away = site.agents
    site.stop_agent(away)
    before = shown_at(site, site.endpoints.api_port)
    (old,) = (one["fingerprint"] for one in key_ca(site, capsys, "show")["authorities"])

    assert key_ca(site, capsys, "renew")["published"]
    new = key_ca(site, capsys, "show")["authorities"][1]["fingerprint"]
    # It asks once a day while it is connected, and when it starts.
    site.stop_agent(here)
    site.start_agent(here)
    eventually(lambda: len(known_to(here)) == 2, "the device that is here learns the next CA")

    assert key_ca(site, capsys, "switch")["fingerprint"] == new
    for port in (site.endpoints.api_port, site.endpoints.broker_port):
        eventually(lambda port=port: shown_at(site, port) != before, "the listener shows the new certificate")
    assert key_ca(site, capsys, "retire", old)["published"]
    eventually(
        lambda: authorities_file(site.data).read_text().count("BEGIN") == 1, "the server writes the new list of CAs"
    )

    token = admin_token_file(site.data).read_text().strip()
    with Client(site.endpoints.url, token, context=believing(authorities_file(site.data))) as client:

        def is_online(agent):
            return client.device(agent.device_id).presence == Presence.ONLINE

        eventually(lambda: not is_online(away), "the server knows that it is away")
        assert len(known_to(away)) == 1
        site.start_agent(away)
        eventually(lambda: is_online(away), "the device finds back that was away")
        eventually(lambda: is_online(here), "the device is there that was there")
    assert known_to(away) == [authorities_file(site.data).read_text()]
