"""Why a device does not turn to another model, told from the database."""

from datetime import timedelta

import msgspec
import pytest

from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.hindrance import Cause
from edgeops.rollout.pins import Pin
from edgeops.rollout.policy import Policy
from fleet_server import targets
from fleet_server.db import devices
from fleet_server.rollout_freeze import freeze
from fleet_server.rollout_orders import abort_rollout, advance_rollout, pause_rollout
from fleet_server.why import why
from tests.unit.engine_rig import FACTS, Fleet, digest_of


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def told(fleet, device_id):
    with fleet.database.read() as connection:
        (found,) = why(connection, devices.get(connection, device_id), fleet.now)
    return [(one.cause, one.words) for one in found.hindrances]


def causes(fleet, device_id):
    return [cause for cause, _ in told(fleet, device_id)]


def test_a_device_that_no_rollout_concerns_is_told_so(fleet):
    assert causes(fleet, "dev-0") == [Cause.UNWANTED]


def test_a_device_of_a_later_wave_is_told_the_gate(fleet):
    fleet.roll_out()
    ((cause, words),) = told(fleet, "dev-1")
    assert cause is Cause.HEALTH_GATE
    assert "it is in wave 2 of 2 of rollout " in words
    assert words.endswith("wave 1 has not passed its health gate: 0 of 1 device committed")


def test_a_device_that_was_asked_is_told_what_it_said_last(fleet):
    fleet.roll_out()
    fleet.report(
        "dev-0", DeploymentState(deployment="gas", state=UpdateState.STAGED, reason=Reason.WINDOW, detail="at 22:00")
    )
    assert told(fleet, "dev-0") == [(Cause.WINDOW, "the device waits for its maintenance window: at 22:00")]
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.FETCHING))
    assert causes(fleet, "dev-0") == [Cause.DEVICE]


def test_a_device_that_is_offline_is_told_since_when(fleet):
    fleet.roll_out(waves=("100%",))
    fleet.go("dev-0")
    assert causes(fleet, "dev-0") == [Cause.SILENCE, Cause.DEVICE]
    fleet.go("dev-1")
    fleet.wait(timedelta(seconds=1))
    fleet.roll_out(2, selector="id=dev-1")
    assert causes(fleet, "dev-1") == [Cause.SILENCE]


def test_a_server_that_hears_nobody_says_since_when_until_it_hears_devices_again(fleet):
    fleet.roll_out(waves=("100%",))
    assert causes(fleet, "dev-0") == [Cause.DEVICE]
    heard = fleet.now
    fleet.is_heard = False
    fleet.wait(timedelta(hours=3))
    assert causes(fleet, "dev-0") == [Cause.SILENCE, Cause.DEVICE]
    assert told(fleet, "dev-0")[0][1].startswith(
        f"the server has heard no device since {heard:%Y-%m-%d %H:%M:%S} UTC; "
    )
    fleet.is_heard = True
    fleet.run()
    assert causes(fleet, "dev-0") == [Cause.DEVICE]


def test_a_device_that_is_pinned_while_it_waits_is_told_by_whom(fleet):
    fleet.roll_out()
    pin = Pin(
        device_id="dev-1", deployment=None, digest=None, reason="audit", pinned_by="ada", pinned_at=fleet.now,
        until=fleet.now + timedelta(hours=1),
    )  # fmt: skip
    targets.set_pin(fleet.database, pin)
    assert told(fleet, "dev-1")[0] == (Cause.PIN, str(pin))


def test_a_device_of_a_rollout_that_was_aborted_is_told_that_it_runs_what_it_should(fleet):
    rollout_id = fleet.roll_out(selector="id=dev-0")
    fleet.commit("dev-0")
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1)))
    second = fleet.roll_out(2, selector="id=dev-0")
    fleet.abort(second)
    assert rollout_id != second
    assert causes(fleet, "dev-0") == [Cause.NONE]


def test_a_device_that_did_not_keep_a_model_is_told_why(fleet):
    fleet.roll_out(selector="id=dev-0")
    fleet.say("dev-0", UpdateState.ROLLED_BACK, reason=Reason.INFERENCE, detail="3 errors")
    assert told(fleet, "dev-0")[0][0] is Cause.ENDED_BADLY
    assert told(fleet, "dev-0")[0][1].endswith("rolled-back: 3 errors")


def test_a_device_that_is_asked_again_after_a_pause_is_told_how_its_last_attempt_ended(fleet):
    fleet.roll_out(selector="id=dev-0", policy=Policy(retries=2))
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.FETCH, detail="connection reset by peer")
    assert told(fleet, "dev-0") == [(Cause.RETRY_PAUSE, "asked again after a pause: connection reset by peer")]
    fleet.wait(timedelta(minutes=5))
    assert causes(fleet, "dev-0") == [Cause.DEVICE]
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.DISK)
    assert told(fleet, "dev-0") == [(Cause.RETRY_PAUSE, "asked again after a pause: disk")]


def test_bounds_of_the_policy_are_told(fleet):
    fleet.roll_out(waves=("100%",), policy=Policy(max_in_flight=1, rate_per_minute=1))
    held = set(causes(fleet, "dev-2"))
    assert held <= {Cause.MAX_IN_FLIGHT, Cause.RATE, Cause.DEVICE}


def test_a_freeze_is_told_with_who_and_why(fleet):
    fleet.roll_out()
    freeze(fleet.database, by="ada", remark="holidays", now=fleet.now)
    assert told(fleet, "dev-1")[0][0] is Cause.FREEZE
    assert told(fleet, "dev-1")[0][1].endswith(" UTC: holidays")


def test_a_device_that_bakes_is_told_what_its_wave_must_show(fleet):
    fleet.roll_out(policy=Policy(bake=timedelta(hours=1)))
    fleet.commit("dev-0")
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1)))
    ((cause, words),) = told(fleet, "dev-0")
    assert cause is Cause.BAKE
    assert "wave 1 of rollout " in words
    assert "1 of 1 device committed" in words
    assert causes(fleet, "dev-1") == [Cause.HEALTH_GATE]
    assert "bakes until" in told(fleet, "dev-1")[0][1]


def test_a_device_that_the_first_model_was_taken_back_from_is_told_that_it_was_not_heard_to_run_none(fleet):
    rollout = fleet.roll_out(policy=Policy(bake=timedelta(hours=1)))
    fleet.commit("dev-0")
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1)))
    fleet.go("dev-0")
    abort_rollout(fleet.database, rollout, fleet.me("bad"), roll_back=True)
    fleet.run()
    assert causes(fleet, "dev-0") == [Cause.ENDED_BADLY, Cause.SILENCE, Cause.DIFFERS]
    assert told(fleet, "dev-0")[-1][1].endswith(" and should run no model")
    fleet.come("dev-0")
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.IDLE))
    assert causes(fleet, "dev-0") == [Cause.ENDED_BADLY, Cause.UNWANTED]


def test_a_device_that_bakes_is_told_what_its_wave_has_shown_also_while_a_person_paused_it(fleet):
    rollout = fleet.roll_out(policy=Policy(bake=timedelta(hours=1)))
    fleet.commit("dev-0")
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1)))
    pause_rollout(fleet.database, rollout, fleet.me("lunch"))
    assert causes(fleet, "dev-0") == [Cause.PAUSE, Cause.BAKE]
    assert "must show itself: 1 of 1 device committed" in told(fleet, "dev-0")[1][1]


# -- rollouts that have not begun


def planned(fleet, **changes):
    fleet.now += timedelta(seconds=1)
    return fleet.roll_out(2, draft=True, **changes)


def test_a_draft_does_not_hide_what_really_holds_a_device(fleet):
    fleet.roll_out()
    planned(fleet)
    assert causes(fleet, "dev-1") == [Cause.HEALTH_GATE]


def test_neither_does_one_that_ended_before_it_began(fleet):
    fleet.roll_out()
    fleet.abort(planned(fleet))
    assert causes(fleet, "dev-1") == [Cause.HEALTH_GATE]


def test_a_device_that_is_done_with_a_rollout_is_told_of_the_draft_that_comes_next(fleet):
    fleet.roll_out(waves=("100%",))
    for device_id in fleet.ids:
        fleet.commit(device_id)
    planned(fleet)
    assert causes(fleet, "dev-1") == [Cause.DRAFT]


def test_a_device_that_bakes_is_told_that_and_no_draft(fleet):
    fleet.roll_out(policy=Policy(bake=timedelta(hours=1)))
    fleet.commit("dev-0")
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1)))
    planned(fleet)
    assert causes(fleet, "dev-0") == [Cause.BAKE]


def test_a_device_of_a_wave_that_somebody_let_pass_is_judged_no_more(fleet):
    rollout = fleet.roll_out(policy=Policy(bake=timedelta(hours=1)))
    fleet.commit("dev-0")
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1)))
    advance_rollout(fleet.database, rollout, fleet.me("seen by hand"))
    assert causes(fleet, "dev-0") == [Cause.NONE]


# -- devices that a rollout began without


def test_a_device_that_never_reported_is_told_which_rollout_began_without_it(fleet):
    with fleet.database.write() as connection:
        devices.enrol(
            connection, "mute", name="mute", hardware="h", public_key=SigningKey.generate().public, now=fleet.now
        )
    rollout = fleet.roll_out()
    with fleet.database.read() as connection:
        (found,) = why(connection, devices.get(connection, "mute"), fleet.now)
    words = [one.words for one in found.hindrances]
    assert found.situation.deployment == "gas"
    assert f"rollout {rollout} leaves it out: it has not reported yet" in words


def test_a_deployment_that_a_device_does_not_have_is_told_where_a_rollout_means_the_device(fleet):
    fleet.enrol("other", deployments=("water",))
    fleet.roll_out()
    with fleet.database.read() as connection:
        gas, water = why(connection, devices.get(connection, "other"), fleet.now)
    assert [one.cause for one in water.hindrances] == [Cause.UNWANTED]
    assert [one.words for one in gas.hindrances][-1].endswith("leaves it out: it reports water")


def keep(fleet, device_id, digest=None):
    pin = Pin(
        device_id=device_id, deployment=None, digest=digest, reason="audit", pinned_by="ada", pinned_at=fleet.now,
        until=None,
    )  # fmt: skip
    targets.set_pin(fleet.database, pin)
    return pin


def test_a_pinned_device_is_told_of_its_pin_and_of_the_rollout_that_it_keeps_away(fleet):
    fleet.roll_out(selector="id=dev-0")
    fleet.commit("dev-0")
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1)))
    pin = keep(fleet, "dev-0")
    assert told(fleet, "dev-0") == [(Cause.PIN, str(pin))]
    fleet.wait(timedelta(seconds=1))
    newer = fleet.roll_out(2)
    assert told(fleet, "dev-0") == [(Cause.PIN, str(pin)), (Cause.LEFT_OUT, f"rollout {newer} leaves it out: {pin}")]


def test_a_pin_that_has_ended_is_told_no_more(fleet):
    targets.set_pin(
        fleet.database,
        Pin(
            device_id="dev-0", deployment=None, digest=None, reason="", pinned_by="ada", pinned_at=fleet.now,
            until=fleet.now + timedelta(seconds=20),
        ),
    )  # fmt: skip
    rollout = fleet.roll_out()
    fleet.wait(timedelta(seconds=20))
    words = f"rollout {rollout} began without it; nothing keeps it out now, begin another"
    assert told(fleet, "dev-0") == [(Cause.LEFT_OUT, words)]


def test_a_device_that_the_model_does_not_fit_is_told_what_does_not(fleet):
    fleet.enrol("odd", facts=msgspec.structs.replace(FACTS, arch="z80"))
    assert causes(fleet, "odd") == [Cause.UNWANTED]
    rollout = fleet.roll_out()
    ((cause, words),) = told(fleet, "odd")
    assert cause is Cause.INCOMPATIBLE
    assert words.startswith(f"rollout {rollout} leaves it out: architecture z80")


def test_a_device_in_quarantine_is_told_so(fleet):
    with fleet.database.write() as connection:
        devices.quarantine(connection, "dev-0", reason="two sessions", now=fleet.now)
    assert causes(fleet, "dev-0") == [Cause.QUARANTINE]
    fleet.roll_out()
    assert causes(fleet, "dev-0") == [Cause.QUARANTINE, Cause.LEFT_OUT]


def test_a_device_that_a_rollout_does_not_mean_is_told_nothing_of_it(fleet):
    fleet.roll_out(selector="id=dev-0")
    assert causes(fleet, "dev-1") == [Cause.UNWANTED]


def test_a_rollout_that_has_not_begun_or_was_given_up_leaves_nobody_out(fleet):
    keep(fleet, "dev-0")
    draft = fleet.roll_out(draft=True)
    assert causes(fleet, "dev-0") == [Cause.PIN]
    fleet.abort(draft)
    assert causes(fleet, "dev-0") == [Cause.PIN]


def test_a_device_that_runs_the_model_already_was_left_out_for_no_reason_to_tell(fleet):
    fleet.roll_out(selector="id=dev-0")
    fleet.commit("dev-0")
    fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1)))
    fleet.wait(timedelta(seconds=1))
    fleet.roll_out()
    assert causes(fleet, "dev-0") == [Cause.NONE]


def test_a_removed_device_is_told_so(fleet):
    fleet.roll_out()
    fleet.remove("dev-1")
    assert causes(fleet, "dev-1") == [Cause.REMOVED]
