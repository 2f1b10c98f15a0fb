"""Whether an update may go on now: windows and the owner's hold."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edgeops import limits
from edgeops.protocol.messages import Evidence, Maintenance, Reason, UpdateState
from edgeops.rollout.maintenance import parse_window
from edgeops.update import events, machine
from edgeops.update.leave import Hold, obstacle
from edgeops.update.machine import Command
from edgeops.update.update import RESTING, Shown, Update, Wanted

_S = UpdateState
DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
SATURDAY = datetime(2026, 11, 28, 21, 30, tzinfo=UTC)
FRIDAY = SATURDAY - timedelta(days=1)
WINDOWS = (parse_window("sat 22:00-23:00 Europe/Berlin"),)


def update(state, *, windows=WINDOWS, digest=DIGEST, **more):
    wanted = Wanted(
        epoch=1, revision=1, target="models/gas/1.json", digest=digest, installation="inst-1", maintenance=windows
    )
    return Update(state=state, wanted=wanted, mark=(1, 1), reported=False, **more)


@pytest.mark.parametrize("state", list(UpdateState))
def test_outside_its_window_a_staged_model_is_neither_probed_nor_tried(state):
    found = obstacle(update(state), hold=None, now=FRIDAY)
    if state in (_S.STAGED, _S.PROBING):
        assert found == events.Deferred(
            Reason.WINDOW, "its maintenance window opens Sat 2026-11-28 22:00 Europe/Berlin"
        )
    else:
        assert found is None


@pytest.mark.parametrize("state", list(UpdateState))
def test_inside_its_window_nothing_is_in_the_way(state):
    assert obstacle(update(state), hold=None, now=SATURDAY) is None


@pytest.mark.parametrize("state", list(UpdateState))
def test_a_hold_stops_all_that_comes_before_the_trial_and_nothing_else(state):
    found = obstacle(update(state, windows=()), hold=Hold(reason="a customer visits"), now=SATURDAY)
    if state in (_S.FETCHING, _S.VERIFYING, _S.STAGED, _S.PROBING):
        assert found == events.Deferred(
            Reason.HELD, "held by its owner: a customer visits; edgeops-agent release lets it go on"
        )
    else:
        assert found is None


def test_a_hold_is_told_before_a_window():
    found = obstacle(update(_S.STAGED), hold=Hold(), now=FRIDAY)
    assert found is not None
    assert found.reason is Reason.HELD
    assert found.detail.startswith("held by its owner;")


def test_a_device_that_does_not_know_the_time_waits_and_says_so():
    found = obstacle(update(_S.STAGED), hold=None, now=None)
    assert found is not None
    assert found.reason is Reason.WINDOW
    assert "does not know what time it is" in found.detail
    assert found.detail.endswith("has not said the time since the agent started")
    assert obstacle(update(_S.STAGED, windows=()), hold=None, now=None) is None


def test_a_window_in_a_zone_without_data_is_never_open():
    strange = (*WINDOWS, Maintenance(zone="Mars/Olympus", days=(0, 1, 2, 3, 4, 5, 6), opens=0, closes=0))
    found = obstacle(update(_S.PROBING, windows=strange), hold=None, now=SATURDAY)
    assert found is not None
    assert "Mars/Olympus" in found.detail


def test_getting_back_what_was_committed_and_lost_waits_for_nobody():
    shown = Shown(digest=DIGEST, evidence=Evidence(inferences=5, errors=0))
    lost = update(_S.FETCHING, losses=1, shown=shown)
    assert obstacle(lost, hold=Hold(), now=None) is None
    other = update(_S.FETCHING, shown=msgspec.structs.replace(shown, digest=OTHER))
    assert obstacle(other, hold=Hold(), now=None) is not None


def test_running_nothing_waits_for_nobody():
    assert obstacle(update(_S.STAGED, digest=None), hold=Hold(), now=None) is None
    assert obstacle(Update(state=_S.STAGED), hold=Hold(), now=None) is None


def test_what_an_owner_writes_is_cut_to_what_may_travel():
    assert Hold(reason="x" * 1000).words == f"held by its owner: {'x' * limits.MAX_HOLD_REASON_LENGTH}"
    assert Hold().words == "held by its owner"


def test_a_hold_with_an_unknown_field_is_no_hold():
    with pytest.raises(msgspec.ValidationError, match="resaon"):
        msgspec.convert({"resaon": "a customer visits"}, Hold)


@pytest.mark.parametrize("state", [_S.FETCHING, _S.STAGED, _S.PROBING])
def test_a_deferred_update_stays_where_it_is_and_comes_back(state):
    after, command = machine.step(update(state), events.Deferred(Reason.WINDOW, "later"))
    assert (after.state, after.reason, after.detail, command) == (state, Reason.WINDOW, "later", Command.WAIT)
    assert machine.is_deferred(after)
    assert machine.resume(after) is machine.RESUME[state]


@pytest.mark.parametrize("reason", [Reason.WINDOW, Reason.HELD])
def test_what_waits_for_a_window_or_its_owner_is_deferred_and_says_no_more_than_may_travel(reason):
    after, _ = machine.step(update(_S.STAGED), events.Deferred(reason, "x" * 1000))
    assert machine.is_deferred(after)
    assert after.detail == "x" * limits.MAX_DETAIL_LENGTH


@pytest.mark.parametrize("state", [_S.IDLE, _S.VERIFYING, _S.TRIAL, *sorted(RESTING)])
def test_nothing_else_can_be_deferred(state):
    assert not machine.allows(update(state), events.Deferred)


def test_an_update_that_goes_on_says_no_more_why_it_waited():
    waiting = update(_S.STAGED, reason=Reason.WINDOW, detail="later")
    for event in (events.Staged(), events.FetchFailed("gone"), events.Superseded(waiting.wanted)):
        after, _ = machine.step(waiting, event)
        assert after.reason is not Reason.WINDOW
        assert "later" not in after.detail
    begun, _ = machine.step(waiting, events.Staged())
    assert not machine.is_deferred(begun)
    assert (begun.reason, begun.detail) == (Reason.NONE, "")


def test_a_newer_revision_may_change_the_window_of_the_same_installation():
    waiting = update(_S.STAGED, reason=Reason.WINDOW, detail="later")
    assert waiting.wanted is not None
    wanted = msgspec.structs.replace(waiting.wanted, revision=2, maintenance=())
    event = machine.desired(waiting, wanted, active=None)
    assert event == events.Renewed(wanted)
    after, command = machine.step(waiting, event)
    assert command is Command.NONE
    assert after.wanted is not None
    assert (after.wanted.maintenance, after.wanted.revision, after.mark) == ((), 1, (1, 2))
    assert (after.reason, after.detail) == (Reason.WINDOW, "later")
    assert obstacle(after, hold=None, now=None) is None


@pytest.mark.parametrize("event", [events.Staged(), events.Listed()])
def test_what_would_begin_is_deferred_without_leave(event):
    leave = events.Deferred(Reason.HELD, "x")
    assert machine.admitted(event, leave) is leave
    assert machine.admitted(event, None) is event


def test_what_begins_nothing_needs_no_leave():
    leave = events.Deferred(Reason.HELD, "x")
    for event in (events.Fetched(), events.Verified(), events.ProbePassed(), events.Failed(Reason.PROBE, "x")):
        assert machine.admitted(event, leave) is event


@pytest.mark.parametrize(("state", "begins"), [(_S.FAILED, True), (_S.REJECTED, True), (_S.COMMITTED, True)])
def test_being_asked_again_for_what_it_lost_a_device_begins_again(state, begins):
    shown = Shown(digest=DIGEST, evidence=Evidence(inferences=5, errors=0))
    rests = msgspec.structs.replace(update(state, shown=shown), reported=True)
    assert rests.wanted is not None
    again = msgspec.structs.replace(rests.wanted, revision=2)
    event = machine.desired(rests, again, active=OTHER)
    assert isinstance(event, events.Started) is begins
    assert machine.desired(rests, again, active=DIGEST) == events.Renewed(again)


def test_being_asked_again_for_what_never_was_committed_means_nothing():
    shown = Shown(digest=OTHER, evidence=Evidence(inferences=5, errors=0))
    for kept in (None, shown):
        failed = msgspec.structs.replace(update(_S.FAILED, shown=kept), reported=True)
        assert failed.wanted is not None
        again = msgspec.structs.replace(failed.wanted, revision=2)
        assert machine.desired(failed, again, active=None) == events.Renewed(again)


def test_a_model_that_is_active_already_ends_what_another_one_showed():
    shown = Shown(digest=OTHER, evidence=Evidence(inferences=5, errors=0))
    rests = msgspec.structs.replace(update(_S.COMMITTED, digest=OTHER, shown=shown), reported=True)
    wanted = Wanted(epoch=1, revision=2, target="models/gas/1.json", digest=DIGEST, installation="inst-2")
    after, _ = machine.step(rests, events.AlreadyActive(wanted))
    assert (after.shown, after.evidence) == (None, None)
