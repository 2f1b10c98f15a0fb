"""What is on its way to a receiver of webhooks goes in the order in which it happened, tests too."""

from datetime import timedelta

import pytest

from fleet_server import receivers
from fleet_server.config import ServerConfig
from fleet_server.courier import Courier
from fleet_server.db import events, webhooks
from tests.unit.engine_rig import Fleet


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=1)
    yield fleet
    fleet.close()


@pytest.fixture
def receiver(fleet):
    """Of all events from now on; its host is on no list, so nothing is sent."""
    with fleet.database.write() as connection:
        webhook = webhooks.Webhook(
            id="webhook-1", url="https://hooks.example/", kinds=[], created_by="me", created_at=fleet.now,
            cursor=events.last_id(connection),
        )  # fmt: skip
        webhooks.add(connection, webhook)
    return webhook


def happen(fleet, subject):
    with fleet.database.write() as connection:
        events.append(connection, "group.changed", subject, {}, fleet.now)


def ask_for_test(fleet, receiver):
    return receivers.test(fleet.database, receiver.id, asked_by="me", now=fleet.now).id


def test_a_test_waits_for_what_happened_before_it_and_goes_before_what_comes_after(fleet, receiver, tmp_path):
    config = ServerConfig(tmp_path)
    config.webhook_secret.parent.mkdir()
    courier = Courier(config, fleet.database)
    happen(fleet, "one")
    tests = [ask_for_test(fleet, receiver)]
    courier.run_once(fleet.now)
    fleet.now += timedelta(seconds=1)
    tests.append(ask_for_test(fleet, receiver))
    happen(fleet, "two")
    fleet.now += timedelta(hours=1)
    courier.run_once(fleet.now)
    with fleet.database.read() as connection:
        waiting = webhooks.due(connection, receiver.id, now=fleet.now + timedelta(days=1), limit=10)
        listed = webhooks.page(connection, receiver.id, after=None, limit=10)
    one, *asked, two = [delivery.id for delivery in waiting]
    assert (asked, [waiting[0].kind, waiting[-1].kind]) == (tests, ["group.changed", "group.changed"])
    assert [delivery.id for delivery in listed] == [two, *reversed(asked), one]


def test_two_tests_at_once_are_two_messages(fleet, receiver):
    assert ask_for_test(fleet, receiver) != ask_for_test(fleet, receiver)
