"""Why a deployment does not turn to another model: one answer at least, whatever the states."""

from datetime import timedelta
from itertools import product

import pytest

from edgeops.protocol.messages import Reason, UpdateState
from edgeops.rollout.hindrance import Cause, Hindrance, LeftOut, Part, Situation, hindrances
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState
from edgeops.rollout.targeting import Standing
from tests.unit.target_values import DIGEST, NOW, OTHER, pin

LATER = NOW + timedelta(minutes=5)
#: States in which a rollout asks devices, in which its waves have passed, and in which it can lose what it brought.
ASKING = {"running", "finished", "live"}
PASSED = {"finished", "finished-with-regressions", "live"}
BAKING = {"running", "paused", "rolling-back"}
BAD = {"failed", "rejected", "rolled-back", "inconclusive", "timed-out"}
NOT_ASKING = {
    "draft": Cause.DRAFT, "awaiting-approval": Cause.APPROVAL, "scheduled": Cause.SCHEDULE,
    "awaiting-blessing": Cause.BLESSING, "paused": Cause.PAUSE,
    "rolling-back": Cause.ROLLING_BACK,
}  # fmt: skip


def part(state="pending", rollout="running", **changes):
    values = {
        "rollout_id": "rollout-1", "rollout_state": RolloutState(rollout), "state": InstallationState(state),
        "digest": DIGEST, "waves": 4,
    }  # fmt: skip
    return Part(**(values | changes))


def why(**changes):
    return hindrances(Situation(**({"deployment": "gas", "active": OTHER, "desired": OTHER} | changes)), NOW)


def causes(**changes):
    return [one.cause for one in why(**changes)]


def words(**changes):
    return why(**changes)[0].words


@pytest.mark.parametrize("rollout", RolloutState)
def test_every_combination_of_states_has_an_answer_in_words(rollout):
    for case in product(InstallationState, [True, False], [None, DIGEST, OTHER], [True, False]):
        state, online, active, quarantined = case
        found = why(part=part(state, rollout), online=online, active=active, quarantined=quarantined)
        assert found, case
        assert all(one.words and isinstance(one.cause, Cause) for one in found), case
        held = {one.cause for one in found}
        # Nothing holds it only where it runs what it should, and then nothing else is told but how it came.
        if Cause.NONE in held:
            assert active == OTHER, case
            assert held <= {Cause.NONE, Cause.ENDED_BADLY}, case
            assert not quarantined, case
        if Cause.TURN in held:
            assert (state, online, quarantined, len(found)) == ("pending", True, False, 1), case
            assert rollout in ASKING, case


@pytest.mark.parametrize("rollout", RolloutState)
def test_a_device_that_was_not_asked_is_told_what_its_rollout_does(rollout):
    (found,) = why(part=part(rollout=rollout, rollout_reason="because"))
    if rollout in ASKING:
        assert found == Hindrance(Cause.TURN, "rollout rollout-1 asks it next")
    else:
        assert found.cause is NOT_ASKING.get(rollout, Cause.ROLLOUT_ENDED)
        assert found.words.startswith("rollout rollout-1 ")
        assert found.words.endswith(": because")


@pytest.mark.parametrize("rollout", [one for one in RolloutState if one not in ASKING])
def test_a_rollout_without_a_reason_says_none(rollout):
    assert not words(part=part(rollout=rollout)).endswith(":")


def test_a_rollout_that_ended_says_how():
    assert words(part=part(rollout="aborted")) == "rollout rollout-1 is aborted and asks nobody"


def test_a_scheduled_rollout_says_when():
    assert why(part=part(rollout="scheduled", starts_at=LATER))[0].until == LATER


def test_a_paused_rollout_says_nothing_of_a_time():
    assert why(part=part(rollout="paused", starts_at=LATER))[0].until is None


def test_a_device_of_a_later_wave_is_told_the_gate_in_words():
    (found,) = why(part=part(wave=2, present_wave=1, gate="3 of 4 committed"))
    assert found == Hindrance(
        Cause.HEALTH_GATE,
        "it is in wave 3 of 4 of rollout rollout-1; wave 2 has not passed its health gate: 3 of 4 committed",
    )
    assert words(part=part(wave=1)).endswith("wave 1 has not passed its health gate: it has shown nothing yet")
    assert causes(part=part(wave=1, present_wave=1)) == [Cause.TURN]
    assert causes(part=part(wave=0, present_wave=1)) == [Cause.TURN]


def test_a_device_that_is_control_is_told_so():
    (found,) = why(part=part(wave=3, present_wave=2, control=True, gate="bakes until 12:00"))
    assert found.cause is Cause.CONTROL
    assert found.words == (
        "held back as control until the last bake ends; it is in wave 4 of 4 of rollout rollout-1; wave 3 has not "
        "passed its health gate: bakes until 12:00"
    )
    assert causes(part=part(wave=3, present_wave=3, control=True)) == [Cause.TURN]


def test_a_device_that_comes_while_its_wave_bakes_is_told_to_wait():
    (found,) = why(part=part(wave=1, present_wave=1, bakes=True, gate="bakes until 12:00"))
    assert found == Hindrance(
        Cause.BAKE, "wave 2 of rollout rollout-1 bakes, and nobody is asked meanwhile: bakes until 12:00"
    )
    assert causes(part=part(wave=2, present_wave=1, bakes=True)) == [Cause.HEALTH_GATE]


def test_a_paused_rollout_does_not_also_name_the_wave():
    assert causes(part=part(rollout="paused", wave=2)) == [Cause.PAUSE]


def test_everything_that_holds_a_device_is_told_what_it_cannot_pass_first():
    held = pin(until=LATER)
    found = why(
        part=part(
            wave=2, not_before=LATER, max_in_flight=2, in_flight=2, rate_per_minute=5, asked_lately=5, detail="fetch"
        ),
        quarantined=True, pins=(held,), misfits=("too little memory", "no runtime"), freeze="by ada: holidays",
        online=False, last_seen_at=NOW,
    )  # fmt: skip
    assert found == (
        Hindrance(
            Cause.QUARANTINE,
            "nothing is believed of the device: two spoke in its name; look for the other, then release it",
        ),
        Hindrance(Cause.PIN, str(held), LATER),
        Hindrance(Cause.INCOMPATIBLE, "the model does not fit: too little memory; no runtime"),
        Hindrance(Cause.FREEZE, "the fleet is frozen: by ada: holidays"),
        Hindrance(
            Cause.HEALTH_GATE,
            "it is in wave 3 of 4 of rollout rollout-1; wave 1 has not passed its health gate: it has shown nothing yet",
        ),
        Hindrance(Cause.SILENCE, "the device is offline; it was last heard at 2026-11-27 12:00:00 UTC"),
        Hindrance(Cause.RETRY_PAUSE, "asked again after a pause: fetch", LATER),
        Hindrance(Cause.MAX_IN_FLIGHT, "2 devices are at it, 2 may be (max_in_flight)"),
        Hindrance(Cause.RATE, "5 devices were asked in the last minute, 5 may be (rate_per_minute)"),
    )


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"max_in_flight": 3, "in_flight": 2}, Cause.TURN),
        ({"max_in_flight": 3, "in_flight": 3}, Cause.MAX_IN_FLIGHT),
        ({"max_in_flight": 3, "in_flight": 4}, Cause.MAX_IN_FLIGHT),
        ({"in_flight": 9}, Cause.TURN),
        ({"rate_per_minute": 3, "asked_lately": 2}, Cause.TURN),
        ({"rate_per_minute": 3, "asked_lately": 3}, Cause.RATE),
        ({"asked_lately": 9}, Cause.TURN),
        ({"not_before": NOW}, Cause.TURN),
        ({"not_before": LATER}, Cause.RETRY_PAUSE),
    ],
)
def test_bounds_of_the_policy_hold_a_device(changes, cause):
    assert causes(part=part(**changes)) == [cause]


def test_a_pause_before_a_retry_has_words_without_a_detail():
    assert words(part=part(not_before=LATER)) == "asked again after a pause: its last attempt ended badly"


@pytest.mark.parametrize("state", ["offered", "installing"])
@pytest.mark.parametrize("rollout", ["running", "paused"])
def test_a_device_that_was_asked_works_on_it(state, rollout):
    (found,) = why(part=part(state, rollout), told=UpdateState.FETCHING, detail="12 of 40 blocks")
    assert found == Hindrance(Cause.DEVICE, "rollout rollout-1 asked it; it is fetching: 12 of 40 blocks")
    assert words(part=part(state, rollout)) == "rollout rollout-1 asked it; heard nothing of it yet"


def test_a_device_that_waits_says_for_what():
    found = why(part=part("offered"), reason=Reason.WINDOW, told=UpdateState.FETCHING, detail="opens at 22:00")
    assert found == (Hindrance(Cause.WINDOW, "the device waits for its maintenance window: opens at 22:00"),)
    found = why(part=part("offered"), reason=Reason.HELD)
    assert found == (Hindrance(Cause.HELD, "the owner of the device holds it"),)
    assert causes(part=part("offered"), reason=Reason.WINDOW, online=False) == [Cause.WINDOW, Cause.SILENCE]


def test_a_device_that_was_asked_and_is_silent_is_told_so():
    assert causes(part=part("offered"), online=False) == [Cause.SILENCE, Cause.DEVICE]
    assert words(part=part("offered"), online=False) == "the device is offline; it was never heard"
    assert causes(part=part("installing"), quarantined=True) == [Cause.QUARANTINE, Cause.DEVICE]


def test_a_server_that_hears_nobody_is_told_beside_the_silence_of_the_device():
    deaf = "the server has heard no device since 2026-11-27 12:00:00 UTC; deadlines stand still"
    asked = why(part=part("offered"), deaf_since=NOW)
    assert asked[0] == Hindrance(Cause.SILENCE, deaf)
    assert [one.cause for one in asked] == [Cause.SILENCE, Cause.DEVICE]
    assert why(part=part(), deaf_since=NOW) == (Hindrance(Cause.SILENCE, deaf),)
    assert [one.words for one in why(part=part(), deaf_since=NOW, online=False)] == [
        deaf, "the device is offline; it was never heard",
    ]  # fmt: skip
    assert causes(deaf_since=NOW) == [Cause.NONE]


@pytest.mark.parametrize("rollout", RolloutState)
def test_a_device_that_has_the_model_bakes_while_its_rollout_is_open(rollout):
    found = why(part=part("committed", rollout, wave=1, gate="240 of 200 inputs"), active=DIGEST, desired=DIGEST)
    if rollout not in BAKING:
        assert [one.cause for one in found] == [Cause.NONE]
        return
    words = "it runs the model; wave 2 of rollout rollout-1 must show itself: 240 of 200 inputs"
    assert Hindrance(Cause.BAKE, words) in found
    assert [one.cause for one in found] == ([Cause.PAUSE, Cause.BAKE] if rollout == "paused" else [Cause.BAKE])


@pytest.mark.parametrize("rollout", ["running", "paused", *sorted(PASSED)])
def test_a_device_that_came_late_bakes_until_it_is_judged(rollout):
    late = part("committed", rollout, gate="240 of 200 inputs", is_judged_alone=True)
    bakes = Hindrance(Cause.BAKE, "it runs the model; it came late and must show itself: 240 of 200 inputs")
    assert bakes in why(part=late, active=DIGEST, desired=DIGEST)


def test_a_device_that_left_its_rollout_because_the_model_does_not_fit_is_told_so():
    left = part("superseded", was_asked=False)
    words = "rollout rollout-1 leaves it out: the model does not fit: no runtime; too little memory"
    assert why(part=left, misfits=("no runtime", "too little memory")) == (Hindrance(Cause.INCOMPATIBLE, words),)
    assert causes(part=left) == [Cause.NONE]
    assert causes(part=part("superseded"), misfits=("no runtime",)) == [Cause.NONE]
    assert causes(part=part("healthy", was_asked=False), misfits=("no runtime",)) == [Cause.NONE]


def test_a_device_that_bakes_and_is_silent_is_told_so():
    values = {"part": part("committed"), "active": DIGEST, "desired": DIGEST}
    assert causes(**values, online=False) == [Cause.BAKE, Cause.SILENCE]
    assert causes(**values, quarantined=True) == [Cause.QUARANTINE, Cause.BAKE]
    assert words(**values).endswith("must show itself: it has shown nothing yet")


def test_a_device_that_committed_and_runs_something_else_differs():
    assert causes(part=part("committed"), active=OTHER, desired=DIGEST) == [Cause.DIFFERS]


@pytest.mark.parametrize("state", sorted(BAD))
def test_a_device_that_did_not_keep_the_model_is_told_how_it_ended(state):
    found = why(part=part(state, detail="golden vectors"))
    assert found[0] == Hindrance(Cause.ENDED_BADLY, f"in rollout rollout-1 it ended {state}: golden vectors")
    assert [one.cause for one in found] == [Cause.ENDED_BADLY, Cause.NONE]
    assert words(part=part(state)) == f"in rollout rollout-1 it ended {state}"
    assert causes(part=part(state), active=None) == [Cause.ENDED_BADLY, Cause.DIFFERS]


@pytest.mark.parametrize("state", [one for one in InstallationState if one in {"healthy", "superseded", "retried"}])
def test_a_device_of_which_no_rollout_wants_anything_runs_what_it_should_or_not(state):
    assert causes(part=part(state)) == [Cause.NONE]
    assert causes(part=part(state), active=DIGEST) == [Cause.DIFFERS]


def test_a_pin_to_the_model_of_its_rollout_holds_no_device():
    assert causes(part=part(), pins=(pin(digest=DIGEST),)) == [Cause.TURN]


# -- without a rollout


def test_a_device_that_runs_what_it_should_is_held_by_nothing():
    assert why() == (Hindrance(Cause.NONE, "nothing holds it: it runs what it should, sha256:222222222222"),)
    assert causes(online=False) == [Cause.NONE]


def test_a_device_of_which_nobody_wants_anything_is_told_so():
    assert words(desired=None) == "it runs sha256:222222222222, and nobody says that it should run another"
    assert words(desired=None, active=None) == "it runs no model, and nobody says that it should run another"
    assert causes(desired=None) == [Cause.UNWANTED]


def test_a_device_that_runs_something_else_is_told_what_and_why():
    assert why(active=DIGEST) == (
        Hindrance(Cause.DIFFERS, "it runs sha256:111111111111 and should run sha256:222222222222"),
    )
    assert words(active=None) == "it runs no model and should run sha256:222222222222"
    assert words(active=None, told=UpdateState.FAILED, detail="no disk").endswith("; it is failed: no disk")
    assert words(active=DIGEST, told=UpdateState.TRIAL).endswith(" and should run sha256:222222222222; it is trial")
    assert causes(active=None, online=False, quarantined=True, reason=Reason.HELD) == [
        Cause.QUARANTINE, Cause.HELD, Cause.SILENCE, Cause.DIFFERS,
    ]  # fmt: skip


def test_a_device_that_should_run_no_model_and_runs_one_is_told_so():
    nothing = {"desired": None, "shall_run_none": True}
    assert why(**nothing) == (Hindrance(Cause.DIFFERS, "it runs sha256:222222222222 and should run no model"),)
    assert causes(**nothing, online=False) == [Cause.SILENCE, Cause.DIFFERS]
    assert causes(**nothing, active=None) == [Cause.UNWANTED]


@pytest.mark.parametrize("desired", [None, OTHER, DIGEST])
def test_who_can_be_in_no_rollout_is_told_so_whatever_it_runs(desired):
    held = pin(until=LATER)
    found = why(desired=desired, quarantined=True, pins=(held,))
    assert [one.cause for one in found[:2]] == [Cause.QUARANTINE, Cause.PIN]
    assert found[1] == Hindrance(Cause.PIN, str(held), LATER)
    assert [one.cause for one in found[2:]] == ([Cause.DIFFERS] if desired == DIGEST else [])


def test_a_pin_to_another_model_than_what_runs_is_told_to_bring_none():
    (found,) = why(pins=(pin(digest=DIGEST),))
    assert found.words.endswith("; it runs sha256:222222222222, and a pin brings no model: begin a rollout of it")
    (found,) = why(active=None, desired=None, pins=(pin(digest=DIGEST),))
    assert "; it runs no model, and a pin brings" in found.words


@pytest.mark.parametrize(
    ("to", "rollout", "is_left"),
    [
        (None, "rolled-back", True), (DIGEST, "rolling-back", True), (OTHER, "rolled-back", False),
        (None, "finished", False),
    ],
)  # fmt: skip
def test_a_pin_that_kept_a_model_which_was_taken_back_from_others_is_told(to, rollout, is_left):
    held = pin(digest=to)
    found = words(part=part("healthy", rollout), active=DIGEST, desired=DIGEST, pins=(held,))
    told = (str(held), held.leaves(DIGEST), "rollout rollout-1 leaves its model here" if is_left else "")
    assert found == "; ".join(one for one in told if one)


def test_who_is_left_out_for_no_reason_is_told_none():
    assert LeftOut("rollout-2", Standing.QUARANTINED).reason == ""


def test_a_device_that_bakes_is_told_of_its_pin():
    assert causes(part=part("committed"), active=DIGEST, desired=DIGEST, pins=(pin(),)) == [Cause.PIN, Cause.BAKE]


@pytest.mark.parametrize("desired", [None, OTHER])
@pytest.mark.parametrize(
    ("standing", "cause", "words"),
    [
        (Standing.INCOMPATIBLE, Cause.INCOMPATIBLE, "rollout rollout-2 leaves it out: too little memory"),
        (Standing.PINNED, Cause.LEFT_OUT, "rollout rollout-2 leaves it out: too little memory"),
        (
            Standing.READY, Cause.LEFT_OUT,
            "rollout rollout-2 began without it; nothing keeps it out now, begin another",
        ),
    ],
)  # fmt: skip
def test_who_a_rollout_began_without_is_told_which_and_why(desired, standing, cause, words):
    out = LeftOut("rollout-2", standing, "too little memory")
    told = Hindrance(cause, words)
    assert why(desired=desired, left_out=out) == (told,)
    assert why(desired=desired, left_out=out, part=part("healthy", "finished")) == (told,)
    assert causes(desired=desired, left_out=out, part=part()) == [Cause.TURN, cause]


def test_a_freeze_is_told_where_another_rollout_is_to_be_begun():
    out = LeftOut("rollout-2", Standing.READY)
    assert causes(freeze="by ada", left_out=out) == [Cause.FREEZE, Cause.LEFT_OUT]
    assert causes(freeze="by ada") == [Cause.NONE]


def test_a_removed_device_is_held_by_that_alone():
    found = why(removed=True, part=part(), quarantined=True, online=False)
    assert [one.cause for one in found] == [Cause.REMOVED]
