"""How long a committed model bakes on a device: by time in which the agent ran, over restarts, crashes and renewals."""

import msgspec
import pytest
from msgspec.structs import replace

from device_agent.baking import FILE, Baking
from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.protocol.messages import Evidence, Shadowing, UpdateState
from edgeops.update import machine
from edgeops.update.bake import Bake, bake_of, passed, shadowing_of, started
from edgeops.update.events import Postponed, Renewed
from edgeops.update.update import Update, Wanted

SHADOWING = Shadowing(share=0.2, cpu=0.1, for_ms=600_000, window_ms=5_000)
NOTED_S = limits.BAKE_NOTED_AFTER.total_seconds()


def wanted(revision=1, *, shadowing=SHADOWING, model=b"a") -> Wanted:
    return Wanted(
        epoch=1, revision=revision, target="models/a/1-int8.json", digest=digest_bytes(model), installation="i",
        shadowing=shadowing,
    )  # fmt: skip


def update(state=UpdateState.COMMITTED, **changes) -> Update:
    return Update(state=state, wanted=wanted(), mark=(1, 1), evidence=Evidence(inferences=5, errors=0), **changes)


# -- the rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in UpdateState if state is not UpdateState.COMMITTED])
def test_only_a_committed_model_bakes(state):
    assert bake_of(update(state), None) is None
    assert bake_of(update(state), Bake(epoch=1, revision=1, losses=0, told=(1, 1))) is None


def test_a_known_bake_goes_on_and_another_commit_begins_anew():
    known = Bake(epoch=1, revision=1, losses=0, told=(1, 1), passed_ms=5, starts=1)
    assert bake_of(update(), known) is known
    fresh = Bake(epoch=1, revision=1, losses=0, told=(1, 1))
    assert bake_of(update(), None) == fresh
    for other in ({"epoch": 2}, {"revision": 2}, {"losses": 1}):
        assert bake_of(update(), replace(known, **other)) == fresh


def test_one_that_is_asked_for_again_begins_anew_and_remembers_how_often_the_agent_died_in_it():
    known = Bake(epoch=1, revision=1, losses=0, told=(1, 1), passed_ms=5, starts=2)
    for mark in ((1, 2), (2, 1)):
        again = bake_of(replace(update(), mark=mark), known)
        assert again == Bake(epoch=1, revision=1, losses=0, told=mark, starts=2)


def test_nothing_bakes_that_is_not_watched():
    one = replace(update(), wanted=wanted(shadowing=None))
    assert bake_of(one, Bake(epoch=1, revision=1, losses=0, told=(1, 1))) is None
    assert shadowing_of(one, None) is None
    assert bake_of(Update(state=UpdateState.COMMITTED), None) is None
    assert shadowing_of(Update(), None) is None


def test_a_trial_is_watched_as_long_as_it_lasts_and_what_comes_before_it_never():
    assert shadowing_of(update(UpdateState.TRIAL), None) == SHADOWING
    for state in (UpdateState.FETCHING, UpdateState.PROBING, UpdateState.ROLLED_BACK):
        assert shadowing_of(update(state), None) is None


@pytest.mark.parametrize(("passed_ms", "watched"), [(0, True), (599_999, True), (600_000, False), (600_001, False)])
def test_a_bake_ends_with_its_time(passed_ms, watched):
    bake = Bake(epoch=1, revision=1, losses=0, told=(1, 1), passed_ms=passed_ms)
    assert shadowing_of(update(), bake) == (SHADOWING if watched else None)


@pytest.mark.parametrize(("starts", "share"), [(0, 0.2), (limits.SHADOW_STARTS, 0.2), (limits.SHADOW_STARTS + 1, 0.0)])
def test_a_shadow_that_may_be_what_takes_the_agent_down_answers_no_more(starts, share):
    bake = Bake(epoch=1, revision=1, losses=0, told=(1, 1), starts=starts)
    assert shadowing_of(update(), bake) == replace(SHADOWING, share=share)


def test_a_start_that_lasts_is_no_crash():
    bake = started(started(Bake(epoch=1, revision=1, losses=0, told=(1, 1))))
    assert (bake.starts, bake.passed_ms) == (2, 0)
    short = passed(bake, int(1000 * NOTED_S) - 1)
    assert (short.starts, short.passed_ms) == (2, 1000 * NOTED_S - 1)
    assert passed(bake, int(1000 * NOTED_S)).starts == 0
    without = replace(bake, starts=limits.SHADOW_STARTS + 1)
    assert passed(without, int(1000 * NOTED_S)).starts == limits.SHADOW_STARTS + 1


# -- what a newer revision changes ---------------------------------------------------------------


def test_a_newer_revision_changes_how_a_model_is_watched_and_installs_nothing():
    before = update()
    longer = replace(SHADOWING, for_ms=1_200_000)
    event = machine.desired(before, wanted(7, shadowing=longer), active=before.wanted.digest)
    assert isinstance(event, Renewed)
    after, command = machine.step(before, event)
    assert command is machine.Command.NONE
    assert after == replace(before, mark=(1, 7), wanted=replace(before.wanted, shadowing=longer))
    assert (after.wanted.epoch, after.wanted.revision) == (1, 1), "reports go by the revision that began it"


def test_what_waits_for_its_turn_is_renewed_and_what_is_there_is_not():
    next_one = wanted(2, model=b"b")
    before, _ = machine.step(update(reported=False), Postponed(next_one))
    event = machine.desired(before, wanted(3, model=b"b", shadowing=None), active=None)
    after, _ = machine.step(before, event)
    assert after.wanted.shadowing == SHADOWING
    assert (after.next.shadowing, after.next.revision, after.mark) == (None, 2, (1, 3))


# -- as it is measured and written down ---------------------------------------------------------


def on_disk(folder) -> Bake | None:
    file = folder / FILE
    return msgspec.json.decode(file.read_bytes(), type=Bake) if file.exists() else None


def test_a_bake_is_measured_from_the_commit_and_over_a_restart(tmp_path):
    baking = Baking(tmp_path, now=0.0)
    baking.start(update(UpdateState.TRIAL), now=0.0)
    baking.follow(update(), now=1_000.0)
    for second in range(1_000, 1_400, 10):
        baking.tick(update(), now=float(second))
    assert baking.shadowing(update()) == SHADOWING
    # The next process has a clock of its own; at most what was not written down yet is lost.
    baking = Baking(tmp_path, now=5.0)
    baking.start(update(), now=5.0)
    assert on_disk(tmp_path).starts == 1
    ended = next(second for second in range(5, 1000) if not _still(baking, 5.0 + second))
    assert 600 - 400 <= ended - 5 <= 600 - 400 + 2 * NOTED_S
    assert on_disk(tmp_path).passed_ms >= 600_000


def _still(baking, now) -> bool:
    baking.tick(update(), now=now)
    return baking.shadowing(update()) is not None


def test_a_bake_ends_when_it_is_no_longer_desired_and_begins_anew_when_it_is(tmp_path):
    baking = Baking(tmp_path, now=0.0)
    baking.follow(update(), now=0.0)
    baking.tick(update(), now=500.0)
    unwatched = replace(update(), wanted=wanted(shadowing=None))
    baking.follow(unwatched, now=500.0)
    assert baking.shadowing(unwatched) is None
    assert on_disk(tmp_path) is None
    baking.follow(update(), now=9_000.0)
    baking.tick(update(), now=9_500.0)
    assert baking.shadowing(update()) == SHADOWING


def test_a_newer_desired_state_that_still_asks_for_it_begins_its_time_anew(tmp_path):
    """A server that still needs it says so; one that went away leaves nothing running for ever."""
    baking = Baking(tmp_path, now=0.0)
    baking.follow(update(), now=0.0)
    baking.tick(update(), now=500.0)
    renewed = replace(update(), mark=(1, 2))
    baking.follow(renewed, now=500.0)
    assert on_disk(tmp_path).told == (1, 2)
    baking.tick(renewed, now=1_099.0)
    assert baking.shadowing(renewed) == SHADOWING
    baking.tick(renewed, now=1_100.0)
    assert baking.shadowing(renewed) is None
    again = replace(update(), mark=(1, 3))
    baking.follow(again, now=1_200.0)
    assert baking.shadowing(again) == SHADOWING


def test_an_agent_that_dies_again_and_again_in_a_bake_runs_without_the_shadow(tmp_path):
    Baking(tmp_path, now=0.0).follow(update(), now=0.0)
    shares = []
    for _ in range(limits.SHADOW_STARTS + 1):
        baking = Baking(tmp_path, now=0.0)
        baking.start(update(), now=0.0)
        shares.append(baking.shadowing(update()).share)
    assert shares == [0.2] * limits.SHADOW_STARTS + [0.0]


def test_a_damaged_file_is_set_aside_and_the_bake_begins_anew(tmp_path):
    (tmp_path / FILE).write_bytes(b"\x00garbage")
    baking = Baking(tmp_path, now=0.0)
    baking.start(update(), now=0.0)
    assert (baking.damaged, baking.shadowing(update())) == (1, SHADOWING)
    assert (tmp_path / f"{FILE}.corrupt").exists()


def test_what_happens_every_quarter_of_a_second_is_not_written_every_time(tmp_path):
    baking = Baking(tmp_path, now=0.0)
    baking.follow(update(), now=0.0)
    before = (tmp_path / FILE).stat().st_ino
    for quarter in range(int(4 * NOTED_S) - 1):
        baking.tick(update(), now=quarter / 4)
    assert (tmp_path / FILE).stat().st_ino == before
    baking.tick(update(), now=NOTED_S)
    assert on_disk(tmp_path).passed_ms == 1000 * NOTED_S
