"""A device gets in with a one-time token, through a real API and a real broker, and reaches only its own topics."""

import io
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgeops.api.roles import Role
from edgeops.cli.app import run
from edgeops.errors import AccessError, InputError, NotFoundError
from edgeops.exits import Exit
from edgeops.local.mosquitto import find_mosquitto
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.topics import client_id
from fleet_server import broker
from fleet_server.db import audit, devices
from tests.contract.rig import DEADLINE_S, ApiRig
from tests.integration.link_rig import BROKER, eventually
from tests.integration.ports import free_port

pytestmark = pytest.mark.slow

NOT_AUTHORIZED = "Not authorized"


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = ApiRig(tmp_path_factory.mktemp("api"))
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def mosquitto(rig, tmp_path_factory):
    """The broker of the rig's data folder, on a free port."""
    config = replace(rig.config, broker_port=free_port())
    broker.write_configuration(config)
    log = (tmp_path_factory.mktemp("broker") / "output").open("wb")
    command = [sys.executable, "-c", BROKER, config.data, str(config.broker_port), find_mosquitto(config.data)]
    child = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        eventually(lambda: broker.broker_pid(config) is not None, what="the broker has written its pid")
        yield config
    finally:
        child.terminate()
        child.wait(DEADLINE_S)
        log.close()


def enrol(rig, *, name="pump", token=None):
    client = rig.client(Role.OPERATOR)
    token = token or client.enrolment_tokens()[0].token
    return client.enrol(token, name, hardware="board-1", public_key=SigningKey.generate().public.hex)


class Terminal(io.StringIO):
    """What a person types."""

    def isatty(self):
        return True


class Peer:
    """A client of the broker that tells what the broker said to each wish."""

    def __init__(self, port, username, password):
        self.answers = []
        self.heard = []
        self.lost = False
        self._told = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id(username), protocol=paho.MQTTv5)
        self._client.username_pw_set(username, password)
        self._client.on_connect = lambda _c, _u, _f, code, _p: self._answer(str(code))
        self._client.on_disconnect = lambda *_: setattr(self, "lost", True)
        self._client.on_subscribe = lambda _c, _u, _m, codes, _p: self._answer(str(codes[0]))
        self._client.on_publish = lambda _c, _u, _m, code, _p: self._answer(str(code))
        self._client.on_message = lambda _c, _u, message: self.heard.append((message.topic, message.payload))
        self.connected = self._ask(lambda: self._client.connect("127.0.0.1", port), start=True)

    def subscribe(self, topic):
        return self._ask(lambda: self._client.subscribe(topic, qos=1))

    def publish(self, topic, payload=b"x"):
        return self._ask(lambda: self._client.publish(topic, payload, qos=1))

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()

    def _ask(self, wish, *, start=False):
        self._told.clear()
        wish()
        if start:
            self._client.loop_start()
        assert self._told.wait(DEADLINE_S)
        return self.answers[-1]

    def _answer(self, text):
        self.answers.append(text)
        self._told.set()


@pytest.fixture
def peers():
    opened = []
    yield lambda *arguments: opened.append(Peer(*arguments)) or opened[-1]
    for peer in opened:
        peer.close()


def connect_when_known(peers, port, username, password):
    """The broker reads its accounts again a moment after it was told to."""
    deadline = time.monotonic() + DEADLINE_S
    while (peer := peers(port, username, password)).connected != "Success":
        peer.close()
        assert time.monotonic() < deadline, peer.connected
    return peer


def test_an_enrolled_device_reaches_its_own_topics_and_no_others(rig, mosquitto, peers):
    mine, other = enrol(rig, name="mine"), enrol(rig, name="other")
    server = connect_when_known(peers, mosquitto.broker_port, "edgeops-server", broker.server_password(mosquitto))
    assert server.subscribe("edgeops/v1/up/+/+") == "Granted QoS 1"
    peer = connect_when_known(peers, mosquitto.broker_port, mine.device_id, mine.broker.password)

    assert peer.publish(f"edgeops/v1/up/{mine.device_id}/status") == "Success"
    assert peer.publish(f"edgeops/v1/up/{other.device_id}/status") == NOT_AUTHORIZED
    assert peer.publish(f"edgeops/v1/down/{mine.device_id}/desired") == NOT_AUTHORIZED
    assert peer.publish(f"edgeops/v1/blob/{'0' * 64}/0") == NOT_AUTHORIZED
    assert peer.subscribe(f"edgeops/v1/down/{mine.device_id}/+") == "Granted QoS 1"
    for topic in (f"edgeops/v1/down/{other.device_id}/desired", "edgeops/v1/up/+/+", f"edgeops/v1/blob/{'0' * 64}/1"):
        peer.subscribe(topic)  # mosquitto grants a subscription and filters what it delivers
    for topic in (
        f"edgeops/v1/down/{other.device_id}/desired",
        f"edgeops/v1/blob/{'0' * 64}/1",
        f"edgeops/v1/down/{mine.device_id}/ack",
    ):
        assert server.publish(topic) in {"Success", "No matching subscribers"}
    last = f"edgeops/v1/down/{mine.device_id}/ack"
    eventually(lambda: any(topic == last for topic, _ in peer.heard), what="the device hears its ack")
    assert {topic for topic, _ in peer.heard} == {last, f"edgeops/v1/blob/{'0' * 64}/1"}
    assert {topic for topic, _ in server.heard} == {f"edgeops/v1/up/{mine.device_id}/status"}


def test_wrong_and_foreign_passwords_are_refused(rig, mosquitto, peers):
    mine, other = enrol(rig), enrol(rig)
    connect_when_known(peers, mosquitto.broker_port, mine.device_id, mine.broker.password)
    assert peers(mosquitto.broker_port, mine.device_id, other.broker.password).connected == NOT_AUTHORIZED
    assert peers(mosquitto.broker_port, "nobody", "nothing").connected == NOT_AUTHORIZED


def test_a_connected_device_stays_while_others_enrol(rig, mosquitto, peers):
    mine = enrol(rig)
    peer = connect_when_known(peers, mosquitto.broker_port, mine.device_id, mine.broker.password)
    later = enrol(rig)
    connect_when_known(peers, mosquitto.broker_port, later.device_id, later.broker.password)
    assert peer.publish(f"edgeops/v1/up/{mine.device_id}/status") in {"Success", "No matching subscribers"}
    assert not peer.lost


def test_a_removed_device_loses_its_connection_and_gets_no_other(rig, mosquitto, peers):
    mine, other = enrol(rig), enrol(rig)
    peer, stays = (
        connect_when_known(peers, mosquitto.broker_port, one.device_id, one.broker.password) for one in (mine, other)
    )
    admin = rig.client(Role.ADMIN)
    admin.remove_device(mine.device_id)
    eventually(lambda: peer.lost, what="the broker cuts the device off")
    assert peers(mosquitto.broker_port, mine.device_id, mine.broker.password).connected == NOT_AUTHORIZED
    assert not stays.lost
    with pytest.raises(NotFoundError, match="was removed at"):
        admin.device(mine.device_id)
    assert mine.device_id not in [one.id for one in admin.devices()]
    with rig.database.read() as connection:
        assert isinstance(audit.verify(connection), audit.Intact)


def edgeops(rig, *words, role=Role.ADMIN):
    return run([*words, "--url", rig.url, "--token", rig.tokens[role]])


def test_a_person_removes_a_device_from_the_command_line(rig, capsys, monkeypatch):
    device_id = enrol(rig).device_id
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert edgeops(rig, "devices", "remove", device_id) == Exit.USAGE
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert edgeops(rig, "devices", "remove", device_id) == Exit.FAILED
    assert f"remove {device_id} for good?" in capsys.readouterr().err
    assert edgeops(rig, "devices", "remove", device_id, "--yes", role=Role.OPERATOR) == Exit.ACCESS
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert edgeops(rig, "devices", "remove", device_id) == Exit.OK
    assert edgeops(rig, "devices", "remove", device_id, "--yes") == Exit.NOT_FOUND


def test_a_person_believes_a_device_again_from_the_command_line(rig, capsys):
    device_id = enrol(rig).device_id
    assert edgeops(rig, "devices", "release", device_id, role=Role.OPERATOR) == Exit.CONFLICT
    assert "not in quarantine" in capsys.readouterr().err
    with rig.database.write() as connection:
        devices.quarantine(connection, device_id, reason="two speakers", now=rig.now)
    assert edgeops(rig, "devices", "release", device_id, role=Role.OPERATOR) == Exit.OK
    assert not rig.client(Role.VIEWER).device(device_id).quarantined
    assert edgeops(rig, "devices", "release", "nobody", role=Role.OPERATOR) == Exit.NOT_FOUND


def test_a_message_beyond_the_limit_does_not_pass(rig, mosquitto, peers):
    mine = enrol(rig)
    peer = connect_when_known(peers, mosquitto.broker_port, mine.device_id, mine.broker.password)
    topic = f"edgeops/v1/up/{mine.device_id}/reports"
    assert peer.publish(topic, b"x" * (64 * 1024)) in {"Success", "No matching subscribers"}
    peer._client.publish(topic, b"x" * (80 * 1024), qos=1)
    eventually(lambda: "packet" in mosquitto.broker_log.read_text().lower(), what="the broker complains")


def test_enrolment_answers_what_a_device_needs(rig):
    welcome = enrol(rig, name="Küche, Pi #4")
    assert welcome.device_id.startswith("kuche-pi-4-")
    assert welcome.broker.username == welcome.device_id
    assert welcome.broker.port == rig.config.broker_port
    assert welcome.tuf_url == f"{rig.url}/tuf"
    root = rig.http.get(f"{welcome.tuf_url}/metadata/1.root.json")
    assert root.text == welcome.root
    device = rig.client(Role.VIEWER).device(welcome.device_id)
    assert (device.name, device.hardware, device.presence) == ("Küche, Pi #4", "board-1", "offline")


def test_the_fleet_key_is_listed_in_the_trust_repository(rig):
    targets = rig.http.get(f"{rig.url}/tuf/metadata/2.targets.json").json()["signed"]["targets"]
    digest = targets["fleet/keys.json"]["hashes"]["sha256"]
    listed = rig.http.get(f"{rig.url}/tuf/targets/fleet/{digest}.keys.json").json()
    keys = rig.client(Role.VIEWER).keys()
    (fleet,) = (key for key in keys if key.role == "fleet")
    assert listed == {"epoch": 1, "keys": [{"epoch": 1, "public_hex": fleet.public_hex}]}


def test_a_token_enrols_one_device_even_when_two_ask_at_once(rig):
    token = rig.client(Role.OPERATOR).enrolment_tokens()[0].token

    def attempt(number):
        try:
            return enrol(rig, name=f"twin-{number}", token=token).device_id
        except AccessError:
            return None

    with ThreadPoolExecutor(8) as pool:
        enrolled = [device_id for device_id in pool.map(attempt, range(8)) if device_id]
    assert len(enrolled) == 1
    with rig.database.read() as connection:
        assert [one.id for one in devices.page(connection, limit=1000) if one.name.startswith("twin-")] == enrolled


def test_devices_that_enrol_at_once_all_get_their_accounts(rig):
    tokens = rig.client(Role.OPERATOR).enrolment_tokens(12)
    with ThreadPoolExecutor(6) as pool:
        enrolled = list(pool.map(lambda token: enrol(rig, name="same", token=token.token), tokens))
    assert len({welcome.device_id for welcome in enrolled}) == 12
    accounts = dict(line.split(":", 1) for line in rig.config.broker_passwd.read_text().splitlines())
    for welcome in enrolled:
        assert broker.password_matches(accounts[welcome.device_id], welcome.broker.password)


def test_a_used_token_says_when_and_for_which_device(rig):
    token = rig.client(Role.OPERATOR).enrolment_tokens()[0].token
    welcome = enrol(rig, token=token)
    with pytest.raises(AccessError, match=welcome.device_id):
        enrol(rig, token=token)


def test_an_expired_token_says_until_when_it_was_good(rig):
    token = rig.client(Role.OPERATOR).enrolment_tokens()[0].token
    before = rig.now
    rig.pass_time(timedelta(hours=1))
    try:
        with pytest.raises(AccessError, match="good until"):
            enrol(rig, token=token)
    finally:
        rig.now = before
    assert enrol(rig, token=token).device_id


@pytest.mark.parametrize("token", ["", "enrol_000000000000_x", "x" * 200])
def test_an_invented_token_is_refused(rig, token):
    with pytest.raises(AccessError):
        enrol(rig, token=token or "enrol__")


def test_a_key_that_is_none_is_named(rig):
    token = rig.client(Role.OPERATOR).enrolment_tokens()[0].token
    with pytest.raises(InputError, match="public_key"):
        rig.client().enrol(token, "pump", hardware="b", public_key="zz")
    assert enrol(rig, token=token).device_id


@pytest.mark.parametrize(
    "path",
    [
        "metadata/..%2f..%2fkeys%2froot.pem",
        "metadata/root.pem",
        "metadata/.lock",
        "targets/..%2f..%2fkeys/root.pem",
        "targets/../../keys/root.pem",
        "targets/fleet/..%2f..%2f..%2fdb/control.db",
        "targets/%2fetc/passwd",
        "targets/fleet",
        "targets/",
        "targets/fleet%00",
    ],
)
def test_no_path_leads_out_of_the_trust_repository(rig, path):
    answer = rig.http.get(f"{rig.url}/tuf/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_data_folder_keeps_its_keys_to_itself(rig):
    config = rig.config
    for path in (config.keys, *config.keys.iterdir(), config.broker, config.broker_passwd, config.server_password):
        assert path.stat().st_mode & 0o077 == 0, path
