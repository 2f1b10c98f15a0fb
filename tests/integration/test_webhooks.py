"""Webhooks against a real receiver on loopback: signed, in order, retried, and nowhere that is not listed."""

import base64
import json
import select
import socket
import threading
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edgeops import limits
from edgeops.api.roles import Role
from edgeops.errors import InputError
from fleet_server.courier import Courier
from fleet_server.db import events, settings
from fleet_server.db.events import EventKind
from fleet_server.db.retention import drop_old
from tests.contract.rig import ApiRig

pytestmark = pytest.mark.processes


class Receiver:
    """Keeps what it gets, and answers what `answers` says, 204 when that is used up."""

    def __init__(self):
        self.got, self.answers = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((dict(self.headers), body))
                status, headers = outer.answers.pop(0) if outer.answers else (204, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def rig(tmp_path):
    rig = ApiRig(tmp_path)
    rig.config.webhook_hosts.write_text("127.0.0.1  # a test\n")
    yield rig
    rig.close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def neighbour():
    neighbour = Receiver()
    yield neighbour
    neighbour.close()


@pytest.fixture
def courier(rig):
    courier = Courier(rig.config, rig.database)
    courier.run_once(rig.now)
    return courier


def happen(rig, kind=EventKind.DEVICE_RELEASED, subject="pump-0001"):
    with rig.database.write() as connection:
        events.append(connection, kind, subject, {"why": "a test"}, rig.now)


def states(rig, webhook):
    return [(one.state, one.attempts) for one in rig.client().webhooks.deliveries(webhook.id)]


def verify(public, headers, body):
    """As a receiver does, with what `webhook add` printed."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key.verify(base64.b64decode(headers["webhook-signature"].removeprefix("v1a,")), signed)


def test_a_receiver_gets_what_it_asked_for_signed_with_its_own_key(rig, receiver, courier):
    webhook = rig.client().webhooks.add(receiver.url, ["device."])
    other = rig.client().webhooks.add(receiver.url.replace("/hook", "/other"), ["rollout.changed"])
    happen(rig)
    happen(rig, EventKind.JOB_CHANGED, "job-1")
    courier.run_once(rig.now)
    ((headers, body),) = receiver.got
    verify(webhook.public_key, headers, body)
    with pytest.raises(InvalidSignature):
        verify(other.public_key, headers, body)
    told = json.loads(body)
    assert (told["type"], told["webhook"], told["data"]["subject"]) == ("device.released", webhook.id, "pump-0001")
    assert headers["webhook-timestamp"] == str(int(rig.now.timestamp()))
    assert states(rig, webhook) == [("delivered", 1)]


def test_what_happened_before_is_for_nobody_and_a_test_says_nothing(rig, receiver, courier):
    happen(rig)
    courier.run_once(rig.now)
    rig.pass_time()
    webhook = rig.client().webhooks.add(receiver.url)
    rig.client().webhooks.test(webhook.id)
    courier.run_once(rig.now)
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["webhook.test"]


def test_a_failure_is_retried_under_the_same_id_and_holds_back_what_came_later(rig, receiver, courier):
    webhook = rig.client().webhooks.add(receiver.url, ["device."])
    receiver.answers = [(503, {}), (500, {})]
    happen(rig, subject="first")
    happen(rig, subject="second")
    courier.run_once(rig.now)
    courier.run_once(rig.now)
    assert len(receiver.got) == 1, "it is not asked again at once"
    for _ in range(3):
        rig.pass_time(limits.WEBHOOK_RETRY_MIN * 4)
        courier.run_once(rig.now)
    subjects = [json.loads(body)["data"]["subject"] for _, body in receiver.got]
    assert subjects == ["first", "first", "first", "second"]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2
    assert states(rig, webhook) == [("delivered", 1), ("delivered", 3)]


def test_what_nobody_takes_for_a_day_is_dead_and_lets_the_next_one_pass(rig, receiver, courier):
    webhook = rig.client().webhooks.add(receiver.url, ["device."])
    receiver.answers = [(500, {})] * limits.WEBHOOK_ATTEMPTS
    happen(rig)
    for _ in range(limits.WEBHOOK_ATTEMPTS):
        courier.run_once(rig.now)
        rig.pass_time(limits.WEBHOOK_RETRY_MAX)
    assert states(rig, webhook) == [("dead", limits.WEBHOOK_ATTEMPTS)]
    happen(rig)
    courier.run_once(rig.now)
    assert states(rig, webhook)[0] == ("delivered", 1)


def test_a_redirect_is_a_failure_and_is_not_followed(rig, receiver, courier):
    webhook = rig.client().webhooks.add(receiver.url)
    receiver.answers = [(307, {"Location": receiver.url})]
    rig.client().webhooks.test(webhook.id)
    courier.run_once(rig.now)
    assert len(receiver.got) == 1
    assert states(rig, webhook) == [("waiting", 1)]


def test_a_host_that_the_owner_took_off_the_list_gets_nothing_more(rig, receiver, courier):
    webhook = rig.client().webhooks.add(receiver.url)
    rig.config.webhook_hosts.write_text("")
    rig.client().webhooks.test(webhook.id)
    courier.run_once(rig.now)
    assert receiver.got == []
    (delivery,) = rig.client().webhooks.deliveries(webhook.id)
    assert "not on the list" in delivery.detail


def test_a_listed_name_that_leads_inside_gets_nothing(rig, receiver, courier):
    """DNS rebinding: the name is listed, and resolves to this machine."""
    rig.config.webhook_hosts.write_text("localhost\n")
    webhook = rig.client().webhooks.add(receiver.url.replace("127.0.0.1", "localhost"))
    rig.client().webhooks.test(webhook.id)
    courier.run_once(rig.now)
    assert receiver.got == []
    (delivery,) = rig.client().webhooks.deliveries(webhook.id)
    assert "not a public address" in delivery.detail


def test_a_receiver_that_is_not_listed_is_refused_with_the_field(rig, receiver):
    rig.config.webhook_hosts.unlink()
    with pytest.raises(InputError, match="is not on the list"):
        rig.client().webhooks.add(receiver.url)
    answer = rig.request("POST", "/api/v1/webhooks", role=Role.ADMIN, json={"url": "ftp://hooks.example/"})
    assert [one["pointer"] for one in answer.json()["errors"]] == ["#/url"]


def test_a_kind_that_no_event_has_is_refused_with_the_field(rig, receiver):
    body = {"url": receiver.url, "kinds": ["rollout.", "rollout.change", "pump."]}
    first, second = rig.request("POST", "/api/v1/webhooks", role=Role.ADMIN, json=body).json()["errors"]
    assert first["pointer"] == "#/kinds/1"
    assert "no event is called rollout.change, did you mean rollout.changed?" in first["detail"]
    assert second["pointer"] == "#/kinds/2"
    assert list(rig.client().webhooks.list()) == []


def test_a_name_with_several_addresses_is_reached_by_the_one_that_may_be_and_answers(
    rig, receiver, courier, monkeypatch
):
    rig.config.webhook_hosts.write_text("localhost\n127.0.0.1\n")
    resolve = socket.getaddrinfo

    def both(host, *arguments, **wanted):
        hosts = ("::1", "127.0.0.1") if host == "localhost" else (host,)
        return [found for one in hosts for found in resolve(one, *arguments, **wanted)]

    monkeypatch.setattr("fleet_server.courier.socket.getaddrinfo", both)
    webhook = rig.client().webhooks.add(receiver.url.replace("127.0.0.1", "localhost"))
    rig.client().webhooks.test(webhook.id)
    courier.run_once(rig.now)
    assert states(rig, webhook) == [("delivered", 1)]


def test_a_removed_receiver_gets_nothing_that_was_on_its_way(rig, receiver, courier):
    webhook = rig.client().webhooks.add(receiver.url)
    rig.client().webhooks.test(webhook.id)
    rig.client().webhooks.remove(webhook.id)
    courier.run_once(rig.now)
    assert receiver.got == []


def test_the_audit_trail_names_a_receiver_without_what_its_address_keeps_secret(rig, receiver):
    webhook = rig.client().webhooks.add(f"{receiver.url}?token=hush")
    rig.client().webhooks.remove(webhook.id)
    trail = b"".join(rig.client(Role.VIEWER).audit.export())
    assert b"hush" not in trail
    assert receiver.url.removesuffix("/hook").encode() in trail


@pytest.mark.parametrize("at_once", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["its status", "its headers"])
def test_an_answer_that_drips_ends_at_the_deadline(rig, courier, monkeypatch, at_once):
    """One byte every so often renews every timeout of the socket."""
    monkeypatch.setattr(limits, "WEBHOOK_TIMEOUT", timedelta(seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        webhook = rig.client().webhooks.add(url)
        rig.client().webhooks.test(webhook.id)
        dripping = threading.Thread(target=drip, args=(listener, at_once))
        dripping.start()
        courier.run_once(rig.now)
        dripping.join()
    assert states(rig, webhook) == [("waiting", 1)]


def drip(listener, at_once):
    """Until the other side has gone."""
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        connection.sendall(at_once)
        for byte in b"HTTP/1.1 200 OK\r\n".removeprefix(at_once) + b"X: " + b"x" * 10_000:
            connection.send(bytes([byte]))
            if select.select([connection], [], [], 0.1)[0] and not connection.recv(65536):
                return


def test_the_secret_that_keys_are_made_of_is_for_its_owner_alone(rig, receiver):
    rig.client().webhooks.add(receiver.url)
    assert rig.config.webhook_secret.stat().st_mode & 0o777 == 0o600


def test_what_became_of_a_message_is_kept_for_a_week(rig, receiver, courier):
    webhook = rig.client().webhooks.add(receiver.url)
    rig.client().webhooks.test(webhook.id)
    courier.run_once(rig.now)
    drop_old(rig.database, rig.now + limits.DELIVERY_LIFE)
    assert states(rig, webhook) == [("delivered", 1)]
    drop_old(rig.database, rig.now + limits.DELIVERY_LIFE + timedelta(seconds=1))
    assert states(rig, webhook) == []


# -- a receiver that is away for long


def subjects(receiver):
    return [json.loads(body)["data"].get("subject", json.loads(body)["type"]) for _, body in receiver.got]


def test_what_happens_while_a_receiver_is_away_waits_in_the_events_and_comes_in_order(
    rig, receiver, neighbour, courier, monkeypatch
):
    monkeypatch.setattr(limits, "DELIVERIES_WAITING", 3)
    monkeypatch.setattr(limits, "EVENTS_KEPT", 1)
    webhook = rig.client().webhooks.add(receiver.url, ["device."])
    other = rig.client().webhooks.add(neighbour.url, ["job."])
    receiver.answers = [(503, {})]
    for number in range(150):
        happen(rig, subject=f"pump-{number}")
    happen(rig, EventKind.JOB_CHANGED, "job-1")
    taken_in(rig)
    courier.run_once(rig.now)
    assert len(states(rig, webhook)) < 150, "its table does not grow by all that happens"
    assert states(rig, other) == [("delivered", 1)], "nobody else waits for it"
    drop_old(rig.database, rig.now)
    for _ in range(60):
        rig.pass_time(limits.WEBHOOK_RETRY_MIN)
        courier.run_once(rig.now)
    told = [one for one in subjects(receiver) if one.startswith("pump")]
    assert told == ["pump-0", *(f"pump-{number}" for number in range(150))]


def taken_in(rig):
    """The engine has seen all that happened."""
    with rig.database.write() as connection:
        settings.write(connection, settings.ENGINE_CURSOR, str(events.last_id(connection)))


def test_a_receiver_that_was_away_too_long_is_told_what_it_missed(rig, receiver, courier, monkeypatch):
    monkeypatch.setattr(limits, "DELIVERIES_WAITING", 1)
    monkeypatch.setattr(limits, "EVENTS_KEPT", 2)
    monkeypatch.setattr(limits, "EVENTS_KEPT_UNTOLD", 5)
    webhook = rig.client().webhooks.add(receiver.url, ["device."])
    receiver.answers = [(503, {})]
    happen(rig, subject="first")
    courier.run_once(rig.now)
    with rig.database.read() as connection:
        seen = events.last_id(connection)
    for number in range(8):
        happen(rig, subject=f"pump-{number}")
    taken_in(rig)
    drop_old(rig.database, rig.now)
    for _ in range(12):
        rig.pass_time(limits.WEBHOOK_RETRY_MIN)
        courier.run_once(rig.now)
    assert subjects(receiver) == ["first", "first", "webhook.missed", "pump-3", "pump-4", "pump-5", "pump-6", "pump-7"]
    assert json.loads(receiver.got[2][1])["data"] == {"after": seen, "through": seen + 3}
    assert {state for state, _ in states(rig, webhook)} == {"delivered"}


def test_messages_that_are_taken_come_in_a_row(rig, receiver, courier, monkeypatch):
    monkeypatch.setattr(limits, "DELIVERIES_IN_A_ROW", 3)
    rig.client().webhooks.add(receiver.url, ["device."])
    receiver.answers = [(204, {}), (204, {}), (503, {})]
    for number in range(5):
        happen(rig, subject=f"pump-{number}")
    courier.run_once(rig.now)
    assert subjects(receiver) == ["pump-0", "pump-1", "pump-2"]
    courier.run_once(rig.now)
    assert len(receiver.got) == 3, "the one that failed holds back the rest"
