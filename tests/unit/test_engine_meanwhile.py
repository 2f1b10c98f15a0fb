"""What a rollout hears of its devices while it is paused, was advanced, bakes, or after a wave has passed."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.health.device import DeviceHealth, Period
from edgeops.rollout.health.wave import Shown
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState
from fleet_server import rollout_orders as orders
from fleet_server.db import events, offers, tables
from fleet_server.db.events import EventKind
from fleet_server.db.evidence import Shows, WaveShows
from tests.unit.engine_rig import QUICK, Fleet, digest_of

S, R = InstallationState, RolloutState
#: Half of a wave may be lost; it bakes for ten minutes.
BAKES = replace(QUICK, bake=timedelta(minutes=10), max_failure=0.5)
WELL = Period(rows=10_000)
BROKEN = Period(rows=100, errors=900)


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def show(fleet, rollout_id, since, *, devices=1, wave=0):
    shown = WaveShows(canary=Shown(devices=devices, heard=devices, since=since))
    place = (tables.waves.c.rollout_id == rollout_id) & (tables.waves.c.position == wave)
    with fleet.database.write() as connection:
        connection.execute(update(tables.waves).where(place).values(health=shown))


def fall_back(fleet, device_id):
    """An incident of a device that had committed was opened."""
    with fleet.database.write() as connection:
        subject = fleet.newest(device_id).id
        events.append(connection, EventKind.INSTALLATION_REGRESSED, subject, {"detail": "fell back"}, fleet.now)
    fleet.run()


def paused(fleet, **policy):
    rollout_id = fleet.roll_out(policy=replace(BAKES, **policy))
    fleet.commit("dev-0", shown=False)
    orders.pause_rollout(fleet.database, rollout_id, fleet.me())
    assert fleet.rollout(rollout_id).state is R.PAUSED
    return rollout_id


# -- while it is paused


@pytest.mark.parametrize(("takes_back", "state"), [(True, R.ROLLING_BACK), (False, R.FAILED)])
def test_harm_that_is_proven_while_a_rollout_is_paused_ends_it_and_is_stored(fleet, takes_back, state):
    rollout_id = paused(fleet, roll_back_on_failure=takes_back)
    show(fleet, rollout_id, BROKEN)
    fleet.wait(timedelta(seconds=30))
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is state
    assert "90 % of 1,000 inputs had no answer" in rollout.reason
    assert fleet.waves(rollout_id)[0].verdict["verdict"] == "fail"


def test_a_paused_rollout_does_not_pass_however_well_its_wave_is_until_somebody_resumes_it(fleet):
    rollout_id = paused(fleet)
    show(fleet, rollout_id, WELL)
    fleet.wait(timedelta(minutes=20))
    assert fleet.rollout(rollout_id).state is R.PAUSED
    assert not fleet.waves(rollout_id)[0].has_passed
    orders.resume_rollout(fleet.database, rollout_id, fleet.me())
    fleet.wait(timedelta(minutes=11))
    assert fleet.waves(rollout_id)[0].has_passed


def test_a_paused_rollout_that_lacks_evidence_stays_as_it_is(fleet):
    rollout_id = paused(fleet)
    before = fleet.rollout(rollout_id)
    fleet.wait(timedelta(hours=3))
    assert fleet.rollout(rollout_id) == before


# -- after a wave


def second_wave_runs(fleet):
    rollout_id = fleet.roll_out(policy=replace(BAKES, max_failure=0.0, roll_back_on_failure=False))
    fleet.commit("dev-0", shown=False)
    show(fleet, rollout_id, WELL)
    fleet.wait(timedelta(minutes=11))
    assert fleet.rollout(rollout_id).wave == 1
    return rollout_id


def test_a_device_of_a_wave_that_passed_fails_the_rollout_and_no_verdict_of_a_wave(fleet):
    rollout_id = second_wave_runs(fleet)
    fall_back(fleet, "dev-0")
    assert fleet.rollout(rollout_id).state is R.FAILED
    assert "fell back" in fleet.rollout(rollout_id).reason
    first, second = fleet.waves(rollout_id)
    assert (first.verdict["verdict"], first.regressed) == ("pass", 1)
    assert second.verdict is None, "of its devices nothing is said"


def test_a_wave_that_loses_its_own_device_is_told_so(fleet):
    rollout_id = fleet.roll_out(policy=replace(BAKES, max_failure=0.0, roll_back_on_failure=False))
    fleet.commit("dev-0")
    fall_back(fleet, "dev-0")
    assert fleet.rollout(rollout_id).state is R.FAILED
    assert fleet.waves(rollout_id)[0].verdict["verdict"] == "fail"


def test_what_really_runs_counts_also_of_a_wave_that_a_person_advanced_past(fleet):
    rollout_id = fleet.roll_out(policy=replace(BAKES, max_failure=0.0, roll_back_on_failure=False))
    fleet.commit("dev-0")
    orders.advance_rollout(fleet.database, rollout_id, fleet.me("I know it"))
    assert (fleet.rollout(rollout_id).wave, fleet.states(rollout_id)["dev-0"]) == (1, S.COMMITTED)
    fall_back(fleet, "dev-0")
    assert fleet.states(rollout_id)["dev-0"] is S.REGRESSED
    assert fleet.rollout(rollout_id).state is R.FAILED
    assert fleet.waves(rollout_id)[0].verdict["verdict"] == "override"


def advanced_past(fleet, *, takes_back=False):
    """A person advanced past the first wave, whose two devices have not ended; the second one is asked."""
    rollout_id = fleet.roll_out(waves=("2", "100%"), policy=replace(BAKES, roll_back_on_failure=takes_back))
    orders.advance_rollout(fleet.database, rollout_id, fleet.me("I know it"))
    assert (fleet.rollout(rollout_id).wave, fleet.states(rollout_id)["dev-2"]) == (1, S.OFFERED)
    return rollout_id


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_wave_that_a_person_advanced_past_and_that_then_fails_ends_the_rollout(fleet, is_paused):
    rollout_id = advanced_past(fleet)
    if is_paused:
        orders.pause_rollout(fleet.database, rollout_id, fleet.me())
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.rollout(rollout_id).state is (R.PAUSED if is_paused else R.RUNNING), "one of two may fail"
    fleet.say("dev-1", UpdateState.FAILED, reason=Reason.GOLDEN)
    rollout = fleet.rollout(rollout_id)
    assert (rollout.state, rollout.reason) == (
        R.FAILED,
        "2 of 2 devices did not keep the model: dev-0 failed (golden)",
    )
    assert fleet.states(rollout_id)["dev-2"] is S.SUPERSEDED
    first, second = fleet.waves(rollout_id)
    assert (first.verdict["verdict"], second.verdict) == ("override", None)


def test_devices_of_a_wave_that_a_person_advanced_past_fail_the_rollout_by_gates_of_their_own(fleet):
    rollout_id = advanced_past(fleet, takes_back=True)
    for device_id in ("dev-0", "dev-1"):
        fleet.commit(device_id, shown=False)
        ill = Shows(health=DeviceHealth(since=BROKEN))
        own = tables.installations.c.id == fleet.newest(device_id).id
        with fleet.database.write() as connection:
            connection.execute(update(tables.installations).where(own).values(health=ill))
    fleet.wait(timedelta(minutes=5))
    fleet.say("dev-2", UpdateState.FETCHING)
    fleet.wait(timedelta(minutes=6))
    assert {fleet.states(rollout_id)[one] for one in ("dev-0", "dev-1")} == {S.ROLLED_BACK}
    assert fleet.rollout(rollout_id).state is R.FAILED, "nobody has the model any more"
    assert "2 of 2 devices did not keep the model" in fleet.rollout(rollout_id).reason
    assert fleet.states(rollout_id)["dev-2"] is S.SUPERSEDED


# -- after its last wave


def finished(fleet, *, asked, **policy):
    """A rollout of so many devices; the others are offline."""
    for device_id in fleet.ids[asked:]:
        fleet.go(device_id)
    rollout_id = fleet.roll_out(waves=("100%",), policy=replace(QUICK, **policy))
    for device_id in fleet.ids[:asked]:
        fleet.commit(device_id)
    assert fleet.rollout(rollout_id).state is R.FINISHED
    return rollout_id


def come_and_fail(fleet, device_id):
    fleet.come(device_id)
    fleet.say(device_id, UpdateState.FAILED, reason=Reason.GOLDEN)


def test_a_rollout_that_finished_with_regressions_asks_nobody_until_a_person_has_it_go_on(fleet):
    rollout_id = finished(fleet, asked=2)
    for device_id in ("dev-0", "dev-1"):
        fall_back(fleet, device_id)
    fleet.come("dev-2")
    fleet.wait(timedelta(seconds=5), step=timedelta(seconds=1))
    assert fleet.rollout(rollout_id).state is R.FINISHED_WITH_REGRESSIONS
    assert fleet.states(rollout_id)["dev-2"] is S.PENDING
    orders.resume_rollout(fleet.database, rollout_id, fleet.me("their cards were bad"))
    assert fleet.states(rollout_id)["dev-2"] is S.OFFERED
    rollout = fleet.rollout(rollout_id)
    assert (rollout.state, rollout.reason) == (R.FINISHED, "resumed by me: their cards were bad")
    assert fleet.waves(rollout_id)[0].has_passed


def test_too_many_late_devices_that_fail_end_that_others_are_asked(fleet):
    rollout_id = finished(fleet, asked=1, max_failure=0.4)
    come_and_fail(fleet, "dev-1")
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is R.FINISHED_WITH_REGRESSIONS
    assert rollout.reason == "1 of 2 devices did not keep the model: dev-1 failed (golden)"
    fleet.come("dev-2")
    assert fleet.states(rollout_id)["dev-2"] is S.PENDING
    (wave,) = fleet.waves(rollout_id)
    assert (wave.verdict["verdict"], wave.failed) == ("pass", 1), "the proof by which it passed stays"


def test_as_many_late_devices_may_fail_as_in_a_wave(fleet):
    rollout_id = finished(fleet, asked=1, max_failure=0.5)
    come_and_fail(fleet, "dev-1")
    assert fleet.rollout(rollout_id).state is R.FINISHED
    fleet.come("dev-2")
    assert fleet.states(rollout_id)["dev-2"] is S.OFFERED


def test_late_devices_are_not_judged_before_so_many_have_ended_as_the_policy_says(fleet):
    rollout_id = finished(fleet, asked=1, max_failure=0.4)
    with fleet.database.write() as connection:
        of_rollout = tables.rollouts.c.id == rollout_id
        policy = replace(QUICK, max_failure=0.4, min_devices=3)
        connection.execute(update(tables.rollouts).where(of_rollout).values(policy=policy))
    come_and_fail(fleet, "dev-1")
    assert fleet.rollout(rollout_id).state is R.FINISHED
    come_and_fail(fleet, "dev-2")
    assert fleet.rollout(rollout_id).state is R.FINISHED_WITH_REGRESSIONS


def test_a_late_device_that_shows_that_the_model_is_worse_counts_as_lost(fleet):
    rollout_id = finished(fleet, asked=1, evidence_timeout=timedelta(minutes=1))
    fleet.come("dev-1")
    fleet.commit("dev-1", shown=False)
    fleet.wait(timedelta(minutes=2))
    assert fleet.states(rollout_id)["dev-1"] is S.ROLLED_BACK
    assert fleet.rollout(rollout_id).state is R.FINISHED_WITH_REGRESSIONS
    assert fleet.states(rollout_id)["dev-0"] in {S.COMMITTED, S.HEALTHY}, "who keeps it well keeps it"


def test_a_retry_has_those_asked_again_that_failed_late_and_those_that_are_left(fleet):
    rollout_id = finished(fleet, asked=1)
    come_and_fail(fleet, "dev-1")
    fleet.come("dev-2")
    orders.retry_rollout(fleet.database, rollout_id, fleet.me())
    fleet.run()
    rollout = fleet.rollout(rollout_id)
    assert (rollout.state, rollout.reason) == (R.FINISHED, "asked again by me")
    fleet.wait(QUICK.retry_after)
    assert {fleet.states(rollout_id)[one] for one in ("dev-1", "dev-2")} == {S.OFFERED}


def test_a_device_that_fails_once_a_person_let_the_last_wave_pass_is_counted_and_the_override_stays(fleet):
    rollout_id = fleet.roll_out(waves=("100%",))
    orders.advance_rollout(fleet.database, rollout_id, fleet.me("I saw it"))
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.rollout(rollout_id).state is R.FINISHED_WITH_REGRESSIONS
    assert "dev-0 failed (golden)" in fleet.rollout(rollout_id).reason
    assert fleet.waves(rollout_id)[0].verdict["verdict"] == "override"


# -- while it bakes


def test_a_device_that_timed_out_and_commits_while_its_wave_bakes_has_to_show_itself_too(fleet):
    rollout_id = fleet.roll_out(waves=("100%",), policy=replace(BAKES, min_success=0.5))
    for one in ("dev-1", "dev-2"):
        fleet.commit(one, shown=False)
    fleet.wait(timedelta(minutes=9))
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.TRIAL))
    fleet.wait(timedelta(minutes=2))
    assert fleet.states(rollout_id)["dev-0"] is S.TIMED_OUT
    show(fleet, rollout_id, WELL, devices=2)
    fleet.wait(timedelta(minutes=5))
    fleet.commit("dev-0", shown=False)
    fleet.wait(timedelta(minutes=15))
    assert fleet.rollout(rollout_id).state is R.RUNNING, "two of three were heard"
    show(fleet, rollout_id, WELL, devices=3)
    fleet.wait(timedelta(minutes=1))
    assert fleet.rollout(rollout_id).state is R.FINISHED


def taken_over_in_the_bake(fleet):
    """The older rollout bakes on all; the newer one brings another model to one of them."""
    older = fleet.roll_out(waves=("100%",), policy=BAKES)
    for one in fleet.ids:
        fleet.commit(one, shown=False)
    show(fleet, older, WELL, devices=3)
    fleet.wait(timedelta(minutes=1))
    newer = fleet.roll_out(2, waves=("100%",), selector="id=dev-2")
    fleet.commit("dev-2", shown=False)
    show(fleet, newer, WELL)
    fleet.wait(timedelta(seconds=30))
    assert fleet.rollout(newer).state is R.FINISHED
    assert fleet.rollout(older).state is R.RUNNING
    return older


def test_what_a_device_showed_before_a_newer_rollout_took_it_stays_in_the_proof_of_the_older_one(fleet):
    older = taken_over_in_the_bake(fleet)
    fleet.wait(timedelta(minutes=10))
    assert fleet.rollout(older).state is R.FINISHED
    assert fleet.desired_digest("dev-2") == digest_of(2)


def test_an_older_rollout_that_goes_back_leaves_a_device_that_a_newer_one_took_alone(fleet):
    older = taken_over_in_the_bake(fleet)
    show(fleet, older, BROKEN, devices=3)
    fleet.wait(timedelta(seconds=30))
    assert fleet.rollout(older).state is R.ROLLING_BACK
    assert [fleet.desired_digest(one) for one in fleet.ids] == [None, None, digest_of(2)]
    fleet.report("dev-2", DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(2)))
    for one in ("dev-0", "dev-1"):
        fleet.report(one, DeploymentState(deployment="gas", state=UpdateState.IDLE))
    fleet.wait(timedelta(seconds=30))
    assert fleet.rollout(older).state is R.ROLLED_BACK
    assert fleet.desired_digest("dev-2") == digest_of(2)


def test_a_device_that_was_taken_before_it_was_heard_leaves_the_older_rollout_to_a_person(fleet):
    older = taken_over_in_the_bake(fleet)
    show(fleet, older, WELL, devices=2)
    fleet.wait(timedelta(hours=2))
    assert fleet.rollout(older).state is R.PAUSED
    assert "2 of 3 devices have been heard" in fleet.rollout(older).reason


# -- afterwards


def test_rollouts_that_wait_for_late_devices_are_looked_at_in_turn_the_oldest_first(fleet):
    for device_id in fleet.ids:
        fleet.go(device_id)
    ids = []
    for _ in range(5):
        fleet.now += timedelta(milliseconds=1)
        ids.append(fleet.roll_out(1, waves=("100%",), selector=f"id={fleet.ids[len(ids) % 3]}"))
    ready = update(tables.installations).values(reach="ready", state=S.PENDING)
    with fleet.database.write() as connection:
        connection.execute(ready)
        connection.execute(update(tables.rollouts).values(state=R.FINISHED))
    with fleet.database.read() as connection:
        assert offers.awaited(connection, after="", limit=2) == tuple(ids[:2])
        assert offers.awaited(connection, after=ids[1], limit=2) == tuple(ids[2:4])
        assert offers.awaited(connection, after=ids[3], limit=3) == (ids[4], ids[0], ids[1])
        assert offers.awaited(connection, after=ids[4], limit=20) == tuple(ids)
