"""kill -9 before every statement and every commit of what the server writes: each thing is done once, and none by half.

What gathers evidence, retrains and takes in telemetry has tests of the same kind of its own
(tests/unit/test_evidence_gathering.py, test_retraining_crashes.py, tests/integration/test_link_ingestion.py).
"""

import asyncio
import json
from collections import Counter
from datetime import timedelta

import httpx
import pytest

from edgeops import limits
from edgeops.api.roles import Role
from edgeops.protocol.messages import Reason, UpdateState
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutState
from fleet_server import service_clock
from fleet_server.access import Access
from fleet_server.app import create_app
from fleet_server.courier import Courier
from fleet_server.db import audit, events, settings, webhooks
from fleet_server.db.events import EventKind
from fleet_server.db.retention import drop_old
from fleet_server.db.webhooks import DeliveryState
from fleet_server.engine import Engine
from fleet_server.receivers import add
from tests.integration.test_webhooks import Receiver
from tests.kills import kill_everywhere, stage_of
from tests.stores import ON_BOTH, config_for
from tests.unit.engine_rig import Fleet, digest_of

pytestmark = [pytest.mark.slow, pytest.mark.long, ON_BOTH]


class Site(Fleet):
    """A fleet whose database is that of a data folder."""

    def __init__(self, folder, *, size):
        self.config = config_for(folder / "data")
        super().__init__(self.config.db, size=size)

    def stage(self, more=""):
        return stage_of(self.config, self.now, more)

    def kill_engine_everywhere(self):
        """Before each of its statements; what is left to do is then done."""
        deaths = kill_everywhere(turn_engine, self.stage())
        self.engine = Engine(self.database)
        self.run()
        return deaths

    def changes_of_desired(self):
        return [(one.subject, one.data["digest"]) for one in self.events(EventKind.DESIRED_CHANGED)]

    def assert_audit_is_intact(self, action, *, times):
        with self.database.read() as connection:
            assert isinstance(audit.verify(connection), audit.Intact)
            entries = audit.page(connection, after=None, limit=1_000)
        assert [one.action for one in entries].count(action) == times


def turn_engine(stage):
    Engine(stage.open()).run_once(stage.now)


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path, size=3)
    yield site
    site.close()


def test_the_engine_offers_and_advances_exactly_once(site):
    rollout = site.roll_out()
    site.commit("dev-0", run=False)
    assert site.kill_engine_everywhere() > 20
    assert site.rollout(rollout).wave == 1
    site.commit("dev-1", run=False)
    site.commit("dev-2", run=False)
    assert site.kill_engine_everywhere() > 20
    assert site.rollout(rollout).state is RolloutState.FINISHED
    assert site.changes_of_desired() == [(device_id, digest_of(1)) for device_id in site.ids]
    assert [(wave.size, wave.offered, wave.committed) for wave in site.waves(rollout)] == [(1, 1, 1), (2, 2, 2)]


def test_what_failed_is_taken_back_exactly_once(site):
    rollout = site.roll_out(waves=("100%",))
    site.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN, run=False)
    assert site.kill_engine_everywhere() > 20
    assert site.rollout(rollout).state is RolloutState.FAILED
    assert Counter(site.changes_of_desired()) == Counter(
        (device_id, digest) for device_id in site.ids for digest in (digest_of(1), None)
    )


def test_deadlines_are_kept_exactly_once(site):
    rollout = site.roll_out(waves=("100%",), policy=Policy(bake=timedelta(0), retries=0))
    for device_id in site.ids:
        site.say(device_id, UpdateState.FETCHING)
    deadline = min(one.deadline_at for one in site.installations(rollout).values())
    site.wait(deadline - site.now - timedelta(seconds=30))
    assert site.rollout(rollout).state is RolloutState.RUNNING
    site.now += timedelta(minutes=1)
    with site.database.write() as connection:
        service_clock.beat(connection, site.now)
    assert site.kill_engine_everywhere() > 20
    assert site.rollout(rollout).state is RolloutState.FAILED
    ends = [one.subject for one in site.events(EventKind.ROLLOUT_CHANGED) if one.data["state"] == RolloutState.FAILED]
    assert ends == [rollout]
    assert max(Counter(site.changes_of_desired()).values()) == 1


# -- what people ask for


def ask(stage):
    """One request to an API process that begins and ends with it."""
    wanted = json.loads(stage.more)
    app = create_app(stage.config, now=lambda: stage.now)
    stage.arm(app.state.server.database)

    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.post(wanted["path"], json=wanted["said"], headers=wanted["headers"])

    answer = asyncio.run(send())
    assert answer.is_success, answer.text


def asked_everywhere(site, path, said):
    token = Access(site.database).create_token("me", Role.ADMIN, created_by="test", now=site.now).text
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "of-this-request"}
    stage = site.stage(json.dumps({"path": f"/api/v1{path}", "said": said, "headers": headers}))
    deaths = kill_everywhere(ask, stage)
    again = kill_everywhere(ask, stage)
    assert again < deaths, "the answer is kept: who asks once more gets it, and nothing is done again"
    return deaths


def test_a_rollout_is_created_once_by_a_request_that_is_repeated_until_it_is_answered(site):
    said = {"model": "gas", "version": 1, "variant": "int8", "deployment": "gas", "to": "all", "waves": ["100%"]}
    assert asked_everywhere(site, "/rollouts", said) > 20
    site.run()
    (created,) = site.events(EventKind.ROLLOUT_CREATED)
    assert len(site.installations(created.subject)) == 3
    assert len(site.changes_of_desired()) == 3
    site.assert_audit_is_intact("rollout.created", times=1)


def test_a_rollout_is_aborted_and_taken_back_once(site):
    rollout = site.roll_out(waves=("1", "100%"))
    site.commit("dev-0")
    assert asked_everywhere(site, f"/rollouts/{rollout}/abort", {"roll_back": True}) > 20
    site.run()
    assert Counter(site.changes_of_desired()) == Counter(
        (device_id, digest) for device_id in site.ids for digest in (digest_of(1), None)
    )
    site.assert_audit_is_intact("rollout.taken-back", times=1)


# -- what receivers of webhooks get


def turn_courier(stage):
    Courier(stage.config, stage.open()).run_once(stage.now)


def test_a_receiver_gets_every_message_in_order_and_knows_what_came_again(site):
    receiver = Receiver()
    try:
        site.config.keys.mkdir(parents=True)
        site.config.webhook_hosts.write_text("127.0.0.1\n")
        webhook = add(site.config, site.database, receiver.url, ["device."], added_by="me", now=site.now)
        with site.database.write() as connection:
            for number in range(5):
                events.append(connection, EventKind.DEVICE_RELEASED, f"pump-{number}", {}, site.now)
        assert kill_everywhere(turn_courier, site.stage()) > 10
    finally:
        receiver.close()
    ids = list(dict.fromkeys(headers["webhook-id"] for headers, _ in receiver.got))
    assert len(receiver.got) > len(ids) == 5
    subjects = {headers["webhook-id"]: json.loads(body)["data"]["subject"] for headers, body in receiver.got}
    assert [subjects[one] for one in ids] == [f"pump-{number}" for number in range(5)]
    with site.database.read() as connection:
        kept = webhooks.page(connection, webhook.id, after=None, limit=100)
    assert [(one.state, one.attempts) for one in kept] == [(DeliveryState.DELIVERED, 1)] * 5


# -- what is let go of


def drop(stage):
    limits.EVENTS_KEPT = 10
    limits.RETENTION_BATCH = 5
    drop_old(stage.open(), stage.now)


def test_what_is_dropped_and_up_to_where_is_one_thing(site):
    with site.database.write() as connection:
        for number in range(40):
            events.append(connection, EventKind.DEVICE_RELEASED, f"pump-{number}", {}, site.now)
        settings.write(connection, settings.ENGINE_CURSOR, str(events.last_id(connection)))
    assert kill_everywhere(drop, site.stage()) > 20
    with site.database.read() as connection:
        kept = events.after(connection, 0, limit=1_000)
        assert len(kept) == 10
        assert events.last_dropped(connection) == kept[0].id - 1
