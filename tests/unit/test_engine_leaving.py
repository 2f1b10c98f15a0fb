"""Rollouts that people stop, that go on for ever, and whose model or devices go away meanwhile."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from edgeops.errors import ConflictError
from edgeops.protocol.messages import Intent, Reason, UpdateState
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.pins import Pin
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutState
from fleet_server import rollout_orders as orders
from fleet_server import targets
from fleet_server.db import devices
from fleet_server.rollout_freeze import freeze, thaw
from tests.unit.engine_rig import Fleet

S, R = InstallationState, RolloutState
BAKES = Policy(bake=timedelta(minutes=5), retries=0)
AGAIN = Policy(bake=timedelta(0), retries=1, retry_after=timedelta(seconds=30), offer_timeout=timedelta(minutes=2))
SECOND = timedelta(seconds=1)


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def by(fleet, remark=""):
    return orders.By(name="boss", now=fleet.now, remark=remark)


def fail(fleet, device_id, reason=Reason.GOLDEN):
    fleet.say(device_id, UpdateState.FAILED, reason=reason)


def live(fleet):
    rollout_id = fleet.roll_out(waves=("100%",), continuous=True)
    for device_id in fleet.ids:
        fleet.commit(device_id)
    assert fleet.rollout(rollout_id).state is R.LIVE
    return rollout_id


def join(fleet, device_id):
    fleet.now += SECOND
    fleet.enrol(device_id)
    fleet.wait(2 * SECOND, step=SECOND)


def test_a_model_that_is_withdrawn_while_it_is_taken_back_is_also_withdrawn_from_others(fleet):
    fleet.enrol("pump-1", deployments=("pump",))
    first = fleet.roll_out()
    fleet.commit("dev-0")
    orders.abort_rollout(fleet.database, first, by(fleet), roll_back=True)
    assert fleet.rollout(first).state is R.ROLLING_BACK
    fleet.now += SECOND
    other = fleet.roll_out(deployment="pump", selector="id=pump-1", waves=("100%",))
    fleet.withdraw(1)
    fleet.run()
    assert fleet.rollout(other).state is R.FAILED
    assert fleet.rollout(first).state is R.ROLLING_BACK


def test_a_live_rollout_that_lost_a_device_goes_on_when_a_person_resumes_it(fleet):
    rollout_id = live(fleet)
    join(fleet, "dev-9")
    fail(fleet, "dev-9")
    assert fleet.rollout(rollout_id).state is R.PAUSED
    orders.resume_rollout(fleet.database, rollout_id, by(fleet))
    fleet.wait(10 * SECOND, step=SECOND)
    assert fleet.rollout(rollout_id).state is R.LIVE
    assert fleet.states(rollout_id)["dev-0"] is not S.ROLLED_BACK
    join(fleet, "dev-8")
    assert fleet.states(rollout_id)["dev-8"] is S.OFFERED
    fleet.commit("dev-8")
    fleet.wait(10 * SECOND, step=SECOND)
    assert fleet.rollout(rollout_id).state is R.LIVE
    join(fleet, "dev-7")
    fail(fleet, "dev-7")
    assert fleet.rollout(rollout_id).state is R.PAUSED


def test_a_retry_in_a_live_rollout_that_fails_again_takes_nothing_back(fleet):
    rollout_id = live(fleet)
    join(fleet, "dev-9")
    fail(fleet, "dev-9")
    fleet.now += SECOND
    orders.retry_rollout(fleet.database, rollout_id, by(fleet))
    fleet.wait(timedelta(minutes=2), step=10 * SECOND)
    fail(fleet, "dev-9")
    assert fleet.rollout(rollout_id).state is R.PAUSED
    assert fleet.states(rollout_id)["dev-0"] is S.HEALTHY


def test_who_waits_to_be_asked_again_does_not_time_out_in_a_freeze(fleet):
    rollout_id = fleet.roll_out(policy=AGAIN)
    fail(fleet, "dev-0", Reason.DISK)
    freeze(fleet.database, by="me", remark="fair", now=fleet.now)
    fleet.wait(timedelta(minutes=8), step=20 * SECOND)
    assert fleet.rollout(rollout_id).state is R.RUNNING
    thaw(fleet.database, by="me", remark="", now=fleet.now)
    fleet.wait(2 * SECOND, step=SECOND)
    assert fleet.newest("dev-0").state is S.OFFERED


def test_who_waits_to_be_asked_again_does_not_time_out_while_a_rollout_is_paused(fleet):
    rollout_id = fleet.roll_out(policy=AGAIN)
    fail(fleet, "dev-0", Reason.DISK)
    orders.pause_rollout(fleet.database, rollout_id, by(fleet))
    fleet.wait(timedelta(minutes=8), step=20 * SECOND)
    assert fleet.rollout(rollout_id).state is R.PAUSED
    orders.resume_rollout(fleet.database, rollout_id, by(fleet))
    fleet.wait(2 * SECOND, step=SECOND)
    assert fleet.newest("dev-0").state is S.OFFERED


def test_who_is_to_be_asked_again_does_not_time_out_while_others_are_asked_first(fleet):
    for number in range(3, 7):
        fleet.enrol(f"dev-{number}")
    rollout_id = fleet.roll_out(waves=("100%",), policy=replace(AGAIN, rate_per_minute=1))
    fail(fleet, "dev-0", Reason.DISK)
    for _ in range(8):
        fleet.wait(timedelta(minutes=1), step=30 * SECOND)
        for device_id, state in fleet.states(rollout_id).items():
            if state is S.OFFERED:
                fleet.commit(device_id)
    assert set(fleet.states(rollout_id).values()) == {S.HEALTHY}


def test_who_is_to_be_asked_again_and_does_not_come_times_out(fleet):
    rollout_id = fleet.roll_out(policy=AGAIN)
    fail(fleet, "dev-0", Reason.DISK)
    fleet.go("dev-0")
    fleet.wait(timedelta(minutes=4), step=20 * SECOND)
    assert fleet.rollout(rollout_id).state is R.FAILED
    assert "did not come to be asked again" in fleet.rollout(rollout_id).reason


# -- who may not be asked again


def waits_to_be_asked_again(fleet, **changes):
    """Two of three have committed; the third one could not fetch, and waits for its second attempt."""
    rollout_id = fleet.roll_out(waves=("100%",), policy=AGAIN, **changes)
    for device_id in ("dev-1", "dev-2"):
        fleet.commit(device_id)
    fail(fleet, "dev-0", Reason.FETCH)
    one = fleet.installations(rollout_id)["dev-0"]
    assert (one.state, one.attempt) == (S.PENDING, 2)
    return rollout_id


def pin(fleet, device_id="dev-0"):
    kept = {"deployment": None, "digest": None, "reason": "audit", "until": None}
    targets.set_pin(fleet.database, Pin(device_id=device_id, pinned_by="me", pinned_at=fleet.now, **kept))
    fleet.run()


def distrust(fleet):
    with fleet.database.write() as connection:
        devices.quarantine(connection, "dev-0", reason="cloned", now=fleet.now)


def unpin(fleet):
    targets.remove_pin(fleet.database, "dev-0", None, removed_by="me", now=fleet.now)


def trust(fleet):
    with fleet.database.write() as connection:
        devices.release(connection, "dev-0", now=fleet.now)


def assert_it_counts_neither_way(fleet, rollout_id, state=S.PENDING):
    assert fleet.installations(rollout_id)["dev-0"].state is state
    (wave,) = fleet.waves(rollout_id)
    assert (wave.offered, wave.failed) == (2, 0)
    assert fleet.rollout(rollout_id).state is R.FINISHED


def test_no_wave_waits_for_who_is_pinned_before_they_are_asked_again(fleet):
    rollout_id = waits_to_be_asked_again(fleet)
    pin(fleet)
    fleet.wait(2 * SECOND, step=SECOND)
    assert_it_counts_neither_way(fleet, rollout_id)


def test_no_wave_waits_for_who_is_quarantined_once_the_time_is_over_in_which_to_ask_again(fleet):
    rollout_id = waits_to_be_asked_again(fleet)
    distrust(fleet)
    fleet.wait(timedelta(minutes=4))
    assert_it_counts_neither_way(fleet, rollout_id)


@pytest.mark.parametrize(("keep_out", "let_in"), [(pin, unpin), (distrust, trust)])
@pytest.mark.parametrize("continuous", [False, True])
def test_who_was_pinned_or_quarantined_before_they_were_asked_again_are_asked_when_that_ends(
    fleet, keep_out, let_in, continuous
):
    rollout_id = waits_to_be_asked_again(fleet, continuous=continuous)
    keep_out(fleet)
    fleet.wait(timedelta(minutes=10))
    let_in(fleet)
    fleet.wait(2 * SECOND, step=SECOND)
    assert fleet.states(rollout_id) == {"dev-0": S.OFFERED, "dev-1": S.HEALTHY, "dev-2": S.HEALTHY}
    fleet.commit("dev-0")
    (wave,) = fleet.waves(rollout_id)
    assert (wave.size, wave.offered, wave.committed, wave.failed) == (3, 3, 3, 0)


@pytest.mark.parametrize(("keep_out", "state"), [(pin, S.PENDING), (lambda fleet: fleet.remove("dev-0"), S.SUPERSEDED)])
def test_a_retry_does_not_fail_who_was_pinned_or_removed_meanwhile(fleet, keep_out, state):
    rollout_id = fleet.roll_out(waves=("100%",), policy=replace(AGAIN, max_failure=1.0, min_success=0.5))
    fail(fleet, "dev-0")
    keep_out(fleet)
    orders.retry_rollout(fleet.database, rollout_id, by(fleet))
    for device_id in ("dev-1", "dev-2"):
        fleet.commit(device_id)
    fleet.wait(timedelta(minutes=4))
    assert_it_counts_neither_way(fleet, rollout_id, state)


# -- undone, and taken over


def test_undo_expects_another_mix_of_answers_for_the_model_it_replaces_is_known_to_be_wrong(fleet):
    for version in (1, 2):
        fleet.now += timedelta(milliseconds=1)
        last = fleet.roll_out(version, waves=("100%",))
        for device_id in fleet.ids:
            fleet.commit(device_id)
    fleet.now += timedelta(milliseconds=1)
    begun = orders.undo_rollout(fleet.database, last, by(fleet))
    assert fleet.rollout(begun).intent is Intent.HEAL


def test_undo_to_a_rollout_that_did_not_keep_its_model_is_refused(fleet):
    bad = fleet.roll_out(1)
    fail(fleet, "dev-0")
    assert fleet.rollout(bad).state is R.FAILED
    fleet.now += SECOND
    good = fleet.roll_out(2, waves=("100%",))
    for device_id in fleet.ids:
        fleet.commit(device_id)
    fleet.now += SECOND
    with pytest.raises(ConflictError, match="failed"):
        orders.undo_rollout(fleet.database, good, by(fleet), to=bad)


def test_undo_goes_back_to_a_live_rollout_that_a_newer_one_took_the_place_of(fleet):
    first = fleet.roll_out(1, waves=("100%",), continuous=True)
    for device_id in fleet.ids:
        fleet.commit(device_id)
    fleet.now += SECOND
    second = fleet.roll_out(2, waves=("100%",), continuous=True)
    for device_id in fleet.ids:
        fleet.commit(device_id)
    assert fleet.rollout(first).state is R.ABORTED
    fleet.now += SECOND
    begun = orders.undo_rollout(fleet.database, second, by(fleet))
    assert fleet.rollout(begun).version == 1


def test_who_has_committed_is_judged_though_a_newer_rollout_takes_the_others(fleet):
    older = fleet.roll_out(1, waves=("2", "100%"), policy=BAKES, selector="id=dev-0,dev-1")
    fleet.commit("dev-0")
    fleet.now += SECOND
    fleet.roll_out(2, selector="id=dev-1", waves=("100%",), policy=BAKES)
    fleet.wait(10 * SECOND, step=SECOND)
    assert fleet.rollout(older).state is R.RUNNING
    fleet.wait(timedelta(minutes=6), step=10 * SECOND)
    assert fleet.rollout(older).state is R.FINISHED


def test_a_rollout_whose_other_waves_were_taken_over_ends_with_the_bake(fleet):
    older = fleet.roll_out(1, waves=("1", "100%"), policy=BAKES)
    fleet.commit("dev-0")
    fleet.wait(2 * SECOND, step=SECOND)
    fleet.now += SECOND
    fleet.roll_out(2, selector="id=dev-1,dev-2", waves=("100%",), policy=BAKES)
    fleet.wait(timedelta(minutes=6), step=10 * SECOND)
    assert fleet.rollout(older).state is R.ABORTED
    assert "no device" in fleet.rollout(older).reason


def test_a_rollout_that_bakes_yields_to_a_newer_one_of_all_its_devices(fleet):
    older = fleet.roll_out(1, waves=("100%",), policy=BAKES)
    for device_id in fleet.ids:
        fleet.commit(device_id)
    fleet.wait(2 * SECOND, step=SECOND)
    newer = fleet.roll_out(2, waves=("100%",), policy=BAKES)
    ended = fleet.rollout(older)
    assert (ended.state, ended.reason) == (R.ABORTED, f"superseded by rollout {newer}")
    assert set(fleet.states(older).values()) == {S.COMMITTED}


def test_a_live_rollout_yields_to_a_newer_one_of_all_that_are_left_of_its_devices(fleet):
    older = live(fleet)
    fleet.remove("dev-2")
    fleet.now += SECOND
    fleet.roll_out(2, waves=("100%",), continuous=True)
    assert fleet.rollout(older).state is R.ABORTED


def test_the_rate_is_kept_when_the_clock_of_the_machine_was_put_back(fleet):
    policy = Policy(bake=timedelta(0), retries=0, rate_per_minute=1)
    rollout_id = fleet.roll_out(waves=("100%",), policy=policy)
    fleet.commit("dev-0")
    fleet.now -= timedelta(days=400)
    fleet.wait(timedelta(minutes=5), step=10 * SECOND)
    assert list(fleet.states(rollout_id).values()).count(S.OFFERED) >= 1
