"""Starts in a row that ended within moments: which count, when a model is taken for the cause, and which one."""

import msgspec
import pytest
from msgspec.structs import replace

from edgeops import limits
from edgeops.protocol.messages import Evidence, UpdateState
from edgeops.update.streak import (
    Standing,
    Streak,
    falls_first,
    heard,
    is_counted,
    is_too_long,
    standing,
    started,
)
from edgeops.update.update import Shown, Update

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
GAS = {"gas": Standing(active=A, tries=False, asked=(1, 7))}
ONE = Streak(active={"gas": A}, power_on="p")


def after(starts, *, power_ons="p", hears=()):
    """The streak at the last of so many starts; `hears` are those in which the server is heard."""
    streak = None
    for number in range(starts):
        streak = started(streak, GAS, power_on=power_ons[number % len(power_ons)])
        if number in hears:
            streak = heard(streak)
    return streak


# -- how a deployment stands ------------------------------------------------------------------


def test_a_deployment_stands_with_what_answers_and_with_who_asked_for_it():
    shown = Shown(digest=A, evidence=Evidence(inferences=5, errors=0), asked=(2, 9))
    assert standing(Update(shown=shown), active=A) == Standing(active=A, tries=False, asked=(2, 9))
    assert standing(Update(shown=shown), active=B) == Standing(active=B, tries=False, asked=(0, 0))
    assert standing(Update(), active=A) == Standing(active=A, tries=False, asked=(0, 0))
    assert standing(Update(), active=None) == Standing(active=None, tries=False, asked=(0, 0))


def test_a_model_of_which_nobody_knows_who_asked_for_it_is_the_oldest():
    untold = Shown(digest=A, evidence=Evidence(inferences=5, errors=0))
    assert standing(Update(shown=untold), active=A).asked == (0, 0)


@pytest.mark.parametrize("state", list(UpdateState))
def test_only_in_probe_and_trial_a_candidate_may_be_what_ends_the_agent(state):
    tried = {UpdateState.PROBING, UpdateState.TRIAL}
    assert standing(Update(state=state), active=A).tries is (state in tried)
    assert standing(Update(state=state, probed=True), active=A).tries is (state is UpdateState.TRIAL)


def test_a_start_is_counted_where_a_model_answers_and_no_candidate():
    nothing = Standing(active=None, tries=False, asked=(0, 0))
    trial = Standing(active=B, tries=True, asked=(1, 1))
    assert is_counted(GAS)
    assert is_counted({**GAS, "spare": nothing})
    assert not is_counted({})
    assert not is_counted({"spare": nothing})
    assert not is_counted({**GAS, "pump": trial})
    assert not is_counted({"pump": trial})


# -- what a row of starts is --------------------------------------------------------------------


def test_the_first_start_begins_a_row():
    assert started(None, GAS, power_on="p") == ONE
    assert (ONE.starts, ONE.deaf) == (1, 1)


def test_what_runs_nothing_is_not_in_it():
    nothing = Standing(active=None, tries=False, asked=(0, 0))
    assert started(None, {**GAS, "spare": nothing}, power_on="p") == ONE


def test_each_start_counts_until_one_proves_itself():
    assert after(3) == replace(ONE, starts=3, deaf=3)


@pytest.mark.parametrize("known", [{"gas": B}, {}, {"gas": A, "pump": B}, {"pump": A}])
def test_another_model_begins_another_row(known):
    assert started(replace(ONE, active=known, starts=9, deaf=9), GAS, power_on="p") == ONE


def test_what_a_power_cut_ended_is_no_evidence_but_a_start():
    known = replace(ONE, starts=3, deaf=3)
    assert started(known, GAS, power_on="q") == Streak(active={"gas": A}, power_on="q", starts=4, deaf=3)
    assert started(started(known, GAS, power_on="q"), GAS, power_on="q").deaf == 4


def test_a_start_in_which_the_server_is_heard_begins_the_deaf_ones_anew():
    known = heard(replace(ONE, starts=3, deaf=3))
    assert known == replace(ONE, starts=3, deaf=0)
    assert started(known, GAS, power_on="p") == replace(ONE, starts=4, deaf=1)
    assert started(known, GAS, power_on="q") == replace(ONE, power_on="q", starts=4, deaf=1)


# -- when it is too long ------------------------------------------------------------------------


def test_so_many_starts_without_a_word_are_too_many():
    assert not is_too_long(after(limits.ACTIVE_STARTS))
    assert is_too_long(after(limits.ACTIVE_STARTS + 1))


def test_a_shadow_gives_way_before_the_model():
    assert limits.SHADOW_STARTS < limits.ACTIVE_STARTS


def test_an_agent_that_hears_its_server_and_dies_all_the_same_ends_it_later():
    many = limits.ACTIVE_STARTS_HEARD
    assert not is_too_long(after(many, hears=range(many)))
    assert is_too_long(after(many + 1, hears=range(many)))


def test_one_word_now_and_then_is_enough_to_hear_of_a_recall():
    assert not is_too_long(after(2 * limits.ACTIVE_STARTS, hears=(limits.ACTIVE_STARTS - 1,)))
    assert is_too_long(after(2 * limits.ACTIVE_STARTS + 1, hears=(limits.ACTIVE_STARTS - 1,)))


def test_a_model_that_takes_the_whole_machine_down_each_time_ends_as_well():
    many = limits.ACTIVE_STARTS_HEARD
    names = [str(number) for number in range(many + 1)]
    assert not is_too_long(after(many, power_ons=names))
    assert is_too_long(after(many + 1, power_ons=names))


# -- which one falls ----------------------------------------------------------------------------


def test_the_model_that_was_asked_for_last_falls_first():
    standings = {
        "gas": Standing(active=A, tries=False, asked=(1, 9)),
        "pump": Standing(active=B, tries=False, asked=(2, 1)),
        "spare": Standing(active=None, tries=False, asked=(3, 0)),
    }
    assert falls_first(standings) == "pump"
    assert falls_first({**standings, "gas": Standing(active=A, tries=False, asked=(2, 2))}) == "gas"


def test_of_models_that_came_together_the_last_name_falls_first():
    assert falls_first(dict.fromkeys(("b", "c", "a"), GAS["gas"])) == "c"


def test_a_row_survives_its_json():
    streak = after(3)
    assert msgspec.json.decode(msgspec.json.encode(streak), type=Streak) == streak
