"""Clocks that are wrong: nothing strands, and nothing is accepted that has ended."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.protocol.messages import Reason, UpdateState
from edgeops.trust.change import sign
from edgeops.trust.draft import Draft
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id
from tests.golden.tiny import tiny_artifact
from tests.integration.updates_rig import NOW, Device, Server

pytestmark = [pytest.mark.slow, pytest.mark.processes]

IN_1970 = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
IN_2038 = datetime(2038, 1, 20, tzinfo=UTC)
SLEPT = NOW + limits.TIMESTAMP_LIFE + timedelta(days=1)
#: Even root has ended.
FORGOTTEN = NOW + limits.ROOT_LIFE + timedelta(days=30)


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


@pytest.fixture
def device(tmp_path, server):
    made = Device(tmp_path, server)
    yield made
    made.close()


def install(device, descriptor, *, revision):
    """Desire a model and go through with it; the state that it ends in."""
    device.desire(descriptor, revision=revision, installation=f"inst-{revision}")
    device.run()
    device.infer()
    device.acknowledge()
    return device.state


def reason(device):
    return device.updates.state().reason


def test_a_device_that_boots_in_1970_installs_what_is_signed(device, server):
    device.wall = IN_1970
    first = server.publish(tiny_artifact(version=1))
    assert install(device, first, revision=1) is UpdateState.COMMITTED


def test_a_floor_from_before_a_power_cut_refuses_what_has_ended_since_although_the_clock_is_lost(device, server):
    """The repository was not signed again for a month; the device knows, because the server once said the time."""
    first, second = (server.publish(tiny_artifact(version=version)) for version in (1, 2))
    assert install(device, first, revision=1) is UpdateState.COMMITTED
    device.told(SLEPT)
    device.wall = IN_1970
    assert install(device, second, revision=2) is UpdateState.REJECTED
    assert reason(device) is Reason.EXPIRED
    assert device.active == first.digest

    server.repository.refresh(SLEPT)
    assert install(device, second, revision=3) is UpdateState.COMMITTED


def test_a_clock_in_2038_costs_the_update_that_it_meets_and_no_later_one(device, server):
    first, second = (server.publish(tiny_artifact(version=version)) for version in (1, 2))
    assert install(device, first, revision=1) is UpdateState.COMMITTED
    device.wall = IN_2038
    assert install(device, second, revision=2) is UpdateState.REJECTED
    assert reason(device) is Reason.EXPIRED
    assert "clock says 2038-01-20" in device.updates.state().detail
    assert device.active == first.digest, "what runs goes on"

    device.wall = NOW + timedelta(minutes=5)
    assert install(device, second, revision=3) is UpdateState.COMMITTED


def test_a_clock_that_steps_in_mid_update_is_judged_where_the_model_would_begin_to_run(device, server):
    first = server.publish(tiny_artifact(version=1))
    device.desire(first, revision=1)
    device.run_until(UpdateState.PROBING)
    device.wall = IN_2038
    device.run()
    assert (device.state, reason(device)) == (UpdateState.REJECTED, Reason.EXPIRED)
    device.wall = NOW
    assert install(device, first, revision=2) is UpdateState.COMMITTED


def test_a_lying_server_cannot_end_what_was_signed_offline(device, server):
    first, second = (server.publish(tiny_artifact(version=version)) for version in (1, 2))
    assert install(device, first, revision=1) is UpdateState.COMMITTED
    device.told(datetime(2099, 1, 1, tzinfo=UTC))
    late = NOW + limits.TARGETS_LIFE - timedelta(minutes=1)
    server.repository.refresh(late)
    assert install(device, second, revision=2) is UpdateState.COMMITTED


def take_keys_away(server, tmp_path):
    """Where root and targets lie from now on; the server goes on without them."""
    (tmp_path / "stick").mkdir()
    for role in ("root", "targets"):
        (tmp_path / "keys" / f"{role}.pem").rename(tmp_path / "stick" / f"{role}.pem")
    server.repository = Repository.open(server.repository_folder, tmp_path / "keys")
    return tmp_path / "stick"


def renew(server, stick, now):
    """What `edgeops key renew` does."""
    draft = Draft(server.repository.base(), now)
    draft.renew(["root", "targets"])
    change = draft.finish()
    sign(change, by_id(stick))
    server.repository.submit(change, now)


def test_everything_has_expired_and_the_offline_keys_bring_a_device_back_that_nobody_visits(device, server, tmp_path):
    first, second = (server.publish(tiny_artifact(version=version)) for version in (1, 2))
    stick = take_keys_away(server, tmp_path)
    assert install(device, first, revision=1) is UpdateState.COMMITTED
    device.wall = FORGOTTEN
    device.told(FORGOTTEN)
    server.repository.refresh(FORGOTTEN)
    assert install(device, second, revision=2) is UpdateState.REJECTED
    assert reason(device) is Reason.EXPIRED
    assert device.active == first.digest, "what runs goes on"
    device.close()
    device = Device(device.folder.parent, server)
    device.wall = FORGOTTEN
    assert device.active == first.digest, "also over a restart"

    renew(server, stick, FORGOTTEN)

    try:
        assert install(device, second, revision=3) is UpdateState.COMMITTED
    finally:
        device.close()


def test_a_device_without_a_clock_comes_back_too_and_knows_the_time_again(device, server, tmp_path):
    """Its floor stands just before the end of what was signed offline, where no server can push it further."""
    first, second = (server.publish(tiny_artifact(version=version)) for version in (1, 2))
    stick = take_keys_away(server, tmp_path)
    assert install(device, first, revision=1) is UpdateState.COMMITTED
    device.wall = IN_1970
    device.told(FORGOTTEN)
    assert device.clock.now() < NOW + limits.TARGETS_LIFE
    renew(server, stick, FORGOTTEN)

    assert install(device, second, revision=2) is UpdateState.COMMITTED

    device.told(FORGOTTEN)
    assert device.clock.floor == FORGOTTEN
