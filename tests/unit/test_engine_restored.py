"""An engine whose server came out of a backup: what devices run counts more than what it remembers."""

from datetime import timedelta

import pytest

from edgeops.digest import digest_bytes
from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.installation import InstallationState as S
from edgeops.rollout.rollout import RolloutState
from fleet_server.backup.settling import settle
from fleet_server.db import devices, events
from fleet_server.db.backups import Restoration
from fleet_server.db.events import EventKind
from tests.stores import ON_BOTH
from tests.unit.engine_rig import Fleet, digest_of

pytestmark = ON_BOTH

UNKNOWN = digest_bytes(b"published after the backup")


@pytest.fixture
def fleet(tmp_path):
    made = Fleet(tmp_path, size=3)
    yield made
    made.close()


def restored(fleet):
    taken_at, fleet.now = fleet.now, fleet.now + timedelta(days=1)
    restoration = Restoration(backup="b-1", taken_at=taken_at, restored_at=fleet.now)
    with fleet.database.write() as connection:
        settle(connection, restoration, epoch=1, signed={})
    fleet.run()


def runs(fleet, device_id, digest):
    """The device is back, and says what it runs."""
    fleet.come(device_id)
    fleet.report(device_id, DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest))


def deployments(fleet, device_id):
    with fleet.database.read() as connection:
        return devices.desired_of(connection, device_id).deployments


def proven(fleet, version):
    rollout = fleet.roll_out(version, waves=("100%",))
    for device_id in fleet.ids:
        fleet.commit(device_id)
    assert fleet.rollout(rollout).state is RolloutState.FINISHED


def test_what_had_not_ended_ends_and_says_why(fleet):
    running = fleet.roll_out(1)
    fleet.go("dev-2")
    finished = fleet.roll_out(2, selector="id=dev-2")
    restored(fleet)
    ended = fleet.rollout(running)
    assert ended.state is RolloutState.ABORTED
    assert "restored from a backup of 2026-11-23 12:00 UTC; roll out again" in ended.reason
    assert set(fleet.states(running).values()) == {S.SUPERSEDED}
    assert fleet.rollout(finished).state is not RolloutState.RUNNING
    for device_id in fleet.ids:
        fleet.come(device_id)
        assert deployments(fleet, device_id) == (), "nobody is asked anything by a restore"


def test_a_device_that_was_offline_is_not_asked_by_a_rollout_of_before_the_backup(fleet):
    fleet.go("dev-2")
    rollout = fleet.roll_out(1, waves=("100%",))
    for device_id in ("dev-0", "dev-1"):
        fleet.commit(device_id)
    assert (fleet.rollout(rollout).state, fleet.states(rollout)["dev-2"]) == (RolloutState.FINISHED, S.PENDING)
    restored(fleet)
    fleet.come("dev-2")
    assert fleet.states(rollout)["dev-2"] is S.SUPERSEDED
    assert deployments(fleet, "dev-2") == ()


def test_a_failed_rollout_leaves_a_device_with_a_model_that_this_server_does_not_know(fleet):
    proven(fleet, 1)
    restored(fleet)
    runs(fleet, "dev-0", UNKNOWN)
    fleet.roll_out(2, selector="id=dev-0", waves=("100%",))
    assert fleet.desired_digest("dev-0") == digest_of(2)
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert deployments(fleet, "dev-0") == (), "neither the old model nor none at all"


def test_a_failed_rollout_leaves_a_device_with_the_known_model_that_it_runs(fleet):
    proven(fleet, 1)
    restored(fleet)
    runs(fleet, "dev-0", digest_of(2))
    fleet.train(4, published=True)
    fleet.roll_out(4, selector="id=dev-0", waves=("100%",))
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.desired_digest("dev-0") == digest_of(2)


@pytest.mark.parametrize("active", [digest_of(1), None])
def test_what_was_proven_before_the_backup_counts_where_the_device_says_nothing_else(fleet, active):
    proven(fleet, 1)
    restored(fleet)
    runs(fleet, "dev-0", active)
    fleet.roll_out(2, selector="id=dev-0", waves=("100%",))
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.desired_digest("dev-0") == digest_of(1)


def test_what_was_proven_since_counts_as_ever(fleet):
    restored(fleet)
    for device_id in fleet.ids:
        runs(fleet, device_id, UNKNOWN)
    fleet.now += timedelta(seconds=1)
    proven(fleet, 1)
    fleet.now += timedelta(seconds=1)
    fleet.roll_out(2, selector="id=dev-0", waves=("100%",))
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.desired_digest("dev-0") == digest_of(1)


def test_news_after_a_restore_have_ids_that_the_lost_server_never_told(fleet):
    """Receivers of webhooks, and whoever follows events, know what they have by its id."""
    with fleet.database.read() as connection:
        told = events.last_id(connection) + 100 * 86_400  # a hundred a second, until it was lost
    restored(fleet)
    fleet.come("dev-0")
    fleet.roll_out(1)
    with fleet.database.read() as connection:
        news = events.after(connection, told)
        assert not events.after(connection, news[-1].id)
    assert news[0].kind == EventKind.SERVER_RESTORED
    assert news[0].subject == "b-1"
    assert EventKind.ROLLOUT_CREATED in [one.kind for one in news[1:]]


def test_ids_grow_whatever_the_clock_says_when_a_server_is_restored_again(fleet):
    restored(fleet)
    with fleet.database.read() as connection:
        told = events.last_id(connection)
    fleet.now -= timedelta(days=30)
    restored(fleet)
    with fleet.database.read() as connection:
        assert [one.kind for one in events.after(connection, told)][:1] == [EventKind.SERVER_RESTORED]
