"""A device turns to a model when its window is open and its owner lets it, with everything real but the server."""

from datetime import timedelta

import pytest

from edgeops import limits
from edgeops.protocol.messages import Maintenance, Reason, UpdateState
from edgeops.update.leave import Hold
from tests.golden.tiny import tiny_artifact
from tests.integration.updates_rig import DEPLOYMENT, NOW, Device, Server

pytestmark = pytest.mark.processes

_S = UpdateState
#: Opens tomorrow, lasts two hours.
_OPENS = (NOW + timedelta(days=1)).replace(minute=0, second=0, microsecond=0)
WINDOW = Maintenance(zone="UTC", days=(_OPENS.weekday(),), opens=_OPENS.hour * 60, closes=(_OPENS.hour + 2) % 24 * 60)


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


@pytest.fixture
def device(tmp_path, server):
    device = Device(tmp_path, server)
    server.repository.publish({}, NOW)
    yield device
    device.close()


def _installed(device, server):
    """A first model, and the time told."""
    first = server.publish(tiny_artifact(version=1))
    device.desire(first, revision=1)
    device.settle()
    device.infer()
    device.acknowledge()
    device.told(NOW)
    assert device.state is _S.COMMITTED
    return first


def _until(device, moment):
    """Let time pass until then."""
    device.later((moment - device.clock.certain()).total_seconds())
    device.settle()


def test_a_staged_model_waits_for_its_window_and_then_turns(device, server):
    first = _installed(device, server)
    second = server.publish(tiny_artifact(version=2))
    device.desire(second, revision=2, installation="inst-2", maintenance=(WINDOW,))
    device.settle()
    state = device.updates.state()
    assert (state.state, state.reason, state.active) == (_S.STAGED, Reason.WINDOW, first.digest)
    assert state.detail == f"its maintenance window opens {_OPENS:%a %Y-%m-%d %H:%M} UTC"
    _until(device, _OPENS - timedelta(minutes=5))
    assert device.state is _S.STAGED
    _until(device, _OPENS)
    assert device.state is _S.TRIAL
    assert device.updates.state().reason is Reason.NONE


def test_a_trial_that_has_begun_goes_on_when_its_window_closes(device, server):
    _installed(device, server)
    second = server.publish(tiny_artifact(version=2))
    device.desire(second, revision=2, installation="inst-2", maintenance=(WINDOW,))
    device.settle()
    _until(device, _OPENS)
    device.told(_OPENS + timedelta(hours=3))
    device.updates.hold(Hold(reason="too late"))
    device.infer()
    device.acknowledge()
    assert (device.state, device.active) == (_S.COMMITTED, second.digest)


def test_a_probe_that_ends_after_its_window_does_not_begin_the_trial(tmp_path, server):
    device = Device(tmp_path, server)
    first = _installed(device, server)
    second = server.publish(tiny_artifact(version=2))
    device.desire(second, revision=2, installation="inst-2", maintenance=(WINDOW,))
    device.settle()
    device.later((_OPENS - device.clock.certain()).total_seconds() - limits.UPDATE_RETRY_AFTER.total_seconds())
    device.told(_OPENS)
    device.now += limits.UPDATE_RETRY_AFTER.total_seconds() + 1
    device.updates.tick()
    device.run_until(_S.PROBING)
    device.told(_OPENS + timedelta(hours=3))
    device.run()
    state = device.updates.state()
    assert (state.state, state.reason, state.active) == (_S.PROBING, Reason.WINDOW, first.digest)
    device.close()


def test_a_wait_outlives_the_agent_and_what_was_staged_is_not_fetched_again(tmp_path, device, server):
    _installed(device, server)
    second = server.publish(tiny_artifact(version=2))
    device.desire(second, revision=2, installation="inst-2", maintenance=(WINDOW,))
    device.settle()
    device.close()
    server.sent_blocks.clear()
    again = Device(tmp_path, server)
    again.clock.told(NOW, place=(1, 2, 1))
    again.settle()
    assert (again.state, again.updates.state().reason) == (_S.STAGED, Reason.WINDOW)
    _until(again, _OPENS)
    again.infer()
    again.acknowledge()
    assert (again.state, again.active) == (_S.COMMITTED, second.digest)
    assert server.sent_blocks == []
    again.close()


def test_a_model_that_waits_is_superseded_by_one_that_need_not(device, server):
    _installed(device, server)
    second, third = (server.publish(tiny_artifact(version=number)) for number in (2, 3))
    device.desire(second, revision=2, installation="inst-2", maintenance=(WINDOW,))
    device.settle()
    device.desire(third, revision=3, installation="inst-3")
    device.settle()
    assert device.state is _S.TRIAL
    ended = [(one.installation, one.state, one.reason) for one in device.reports()]
    assert ended[-1] == ("inst-2", _S.SUPERSEDED, Reason.NEWER)
    device.infer()
    device.acknowledge()
    assert device.active == third.digest


def test_the_server_may_open_the_window_of_the_same_installation(device, server):
    _installed(device, server)
    second = server.publish(tiny_artifact(version=2))
    device.desire(second, revision=2, installation="inst-2", maintenance=(WINDOW,))
    device.settle()
    device.desire(second, revision=3, installation="inst-2")
    device.updates.tick()
    device.run()
    assert device.state is _S.TRIAL


def test_a_clock_that_was_lost_waits_until_the_server_says_the_time(tmp_path, device, server):
    _installed(device, server)
    second = server.publish(tiny_artifact(version=2))
    device.desire(second, revision=2, installation="inst-2", maintenance=(WINDOW,))
    device.settle()
    device.close()
    again = Device(tmp_path, server)
    again.wall = again.wall.replace(year=1970)
    again.settle()
    assert "does not know what time it is" in again.updates.state().detail
    again.clock.told(_OPENS, place=(1, 2, 1))
    again.settle()
    assert again.state is _S.TRIAL
    again.close()


def test_a_zone_that_the_device_has_no_data_of_is_refused_before_a_byte_is_fetched(device, server):
    first = _installed(device, server)
    server.sent_blocks.clear()
    strange = Maintenance(zone="Mars/Olympus", days=(0,), opens=0, closes=60)
    device.desire(server.publish(tiny_artifact(version=2)), revision=2, installation="inst-2", maintenance=(strange,))
    device.settle()
    state = device.updates.state()
    assert (state.state, state.reason, state.active) == (_S.REJECTED, Reason.INCOMPATIBLE, first.digest)
    assert "Mars/Olympus" in state.detail
    assert server.sent_blocks == []


def test_on_hold_nothing_is_fetched_and_a_release_lets_it_go_on(device, server):
    first = _installed(device, server)
    server.sent_blocks.clear()
    device.updates.hold(Hold(reason="a customer visits"))
    second = server.publish(tiny_artifact(version=2))
    device.desire(second, revision=2, installation="inst-2")
    device.settle()
    state = device.updates.state()
    assert (state.state, state.reason, state.active) == (_S.FETCHING, Reason.HELD, first.digest)
    assert state.hold == "held by its owner: a customer visits"
    assert "edgeops-agent release" in state.detail
    assert server.sent_blocks == []
    device.updates.hold(None)
    device.settle()
    assert (device.state, device.updates.state().hold) == (_S.TRIAL, "")


def test_a_hold_that_comes_in_mid_fetch_ends_the_fetch_and_keeps_what_came(device, server):
    _installed(device, server)
    second = server.publish(tiny_artifact(version=2))
    server.connected = False
    device.desire(second, revision=2, installation="inst-2")
    device.run()
    device.updates.hold(Hold())
    assert (device.state, device.updates.state().reason) == (_S.FETCHING, Reason.HELD)
    server.connected = True
    device.settle()
    assert device.updates.state().reason is Reason.HELD
    device.updates.hold(None)
    device.settle()
    assert device.state is _S.TRIAL


def test_on_hold_a_candidate_that_fails_is_still_taken_back(device, server):
    first = _installed(device, server)
    device.desire(server.publish(tiny_artifact(version=2)), revision=2, installation="inst-2")
    device.settle()
    assert device.state is _S.TRIAL
    device.updates.hold(Hold())
    device.infer(1, ok=False)
    assert (device.state, device.active) == (_S.ROLLED_BACK, first.digest)


def test_on_hold_a_deployment_may_still_be_told_to_run_nothing(device, server):
    _installed(device, server)
    device.updates.hold(Hold())
    device.desire(None, revision=2)
    device.settle()
    assert (device.state, device.active) == (_S.IDLE, None)


def test_a_device_that_lost_what_it_had_committed_says_so_and_gets_it_back_even_on_hold(tmp_path, device, server):
    first = _installed(device, server)
    second = server.publish(tiny_artifact(version=2))
    device.desire(second, revision=2, installation="inst-2")
    device.settle()
    device.infer()
    device.acknowledge()
    assert (device.state, device.updates.state().instead_of) == (_S.COMMITTED, None)
    path = device.updates.running().active.path
    device.close()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    again = Device(tmp_path, server, hold=Hold())
    state = again.updates.state()
    assert (state.active, state.instead_of) == (first.digest, second.digest)
    assert state.hold
    again.settle()
    again.infer()
    again.acknowledge()
    assert (again.active, again.updates.state().instead_of) == (second.digest, None)
    assert again.folder.joinpath("deployments", DEPLOYMENT).is_dir()
    again.close()
