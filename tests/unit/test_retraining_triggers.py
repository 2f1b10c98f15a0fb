"""What becomes of a firing: every rule, their order, and what is news."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edgeops.artifact.manifest import Task
from edgeops.errors import InputError
from edgeops.learning.healing_groups import groups_named, missing_groups
from edgeops.learning.retraining import RetrainingState
from edgeops.learning.triggers import (
    Answer,
    Cause,
    Decision,
    Mode,
    Past,
    RetrainPolicy,
    Trigger,
    TriggerKind,
    decide,
    is_news,
    read_policy,
)
from edgeops.rollout.policy import HealthPolicy, Policy

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
AUTO = RetrainPolicy(mode=Mode.AUTO)
DRIFT = Trigger(kind=TriggerKind.DRIFT, digest="sha256:1", deployment="gas", why="data drift on gas", finding="f-9")
PERSON = Trigger(kind=TriggerKind.PERSON, digest="sha256:1", deployment="gas", why="asked for by me")
LABELS = Trigger(kind=TriggerKind.LABELS, digest="sha256:1", deployment="gas", why="30 samples were labelled")


def changed(trigger, **values):
    return Trigger(**{name: getattr(trigger, name) for name in trigger.__slots__} | values)


def past(number=1, *, ago=2 * DAY, state=RetrainingState.HEALED, answer=Answer.RUN, **values):
    ended = state not in {RetrainingState.PROPOSED, RetrainingState.LABELLING}
    facts = {
        "id": f"retrain-{number:04}",
        "kind": TriggerKind.DRIFT,
        "digest": "sha256:1",
        "deployment": "gas",
        "finding": f"f-{number}",
        "device_id": "",
        "answer": answer,
        "cause": Cause.NONE,
        "state": state,
        "labels": 30,
        "created_at": NOW - ago,
        "finished_at": NOW - ago if ended else None,
    }
    return Past(**facts | values)


def cause(trigger=DRIFT, policy=AUTO, history=()):
    return decide(trigger, policy, history, NOW).cause


def test_the_mode_decides_who_is_asked():
    assert decide(DRIFT, AUTO, (), NOW).answer is Answer.RUN
    assert decide(DRIFT, RetrainPolicy(), (), NOW).answer is Answer.PROPOSE
    assert decide(DRIFT, RetrainPolicy(mode=Mode.OFF), (), NOW) == Decision(
        Answer.SUPPRESSED, "data drift on gas: the policy is off", Cause.OFF
    )


def test_one_device_alone_changes_no_fleet():
    decision = decide(changed(DRIFT, device_id="dev-7"), AUTO, (), NOW)
    assert (decision.answer, decision.cause) == (Answer.SUPPRESSED, Cause.LOCAL)
    assert "dev-7 alone" in decision.reason


def test_a_model_that_answers_with_a_number_buys_no_labels():
    decision = decide(changed(DRIFT, task=Task.REGRESSION), AUTO, (), NOW)
    assert (decision.answer, decision.cause) == (Answer.SUPPRESSED, Cause.TASK)
    assert "a regression learns from newer rows: edgeops train" in decision.reason


def test_bad_readings_call_a_person_whoever_has_them():
    assert cause(changed(DRIFT, bad_quality=True)) is Cause.DATA_QUALITY
    assert cause(changed(DRIFT, bad_quality=True, device_id="dev-7")) is Cause.DATA_QUALITY
    assert cause(changed(DRIFT, bad_quality=True), RetrainPolicy(mode=Mode.OFF)) is Cause.DATA_QUALITY


def test_more_apples_and_fewer_pears_are_no_reason_to_retrain_unless_a_person_wants_it():
    assert cause(changed(DRIFT, class_mix_only=True)) is Cause.CLASS_MIX
    assert cause(changed(DRIFT, class_mix_only=True), RetrainPolicy()) is Cause.CLASS_MIX
    assert cause(changed(PERSON, class_mix_only=True)) is Cause.NONE


@pytest.mark.parametrize("state", [RetrainingState.PROPOSED, RetrainingState.LABELLING])
def test_there_is_one_at_a_time(state):
    going = past(state=state, ago=90 * DAY)
    assert cause(history=(going,)) is Cause.IN_PROGRESS
    assert cause(PERSON, history=(going,)) is Cause.IN_PROGRESS


def test_after_one_ended_there_is_rest():
    assert cause(history=(past(ago=DAY - timedelta(seconds=1)),)) is Cause.COOLDOWN
    assert cause(history=(past(ago=DAY),)) is Cause.NONE
    proposed = past(ago=timedelta(hours=1), state=RetrainingState.CANCELLED, answer=Answer.PROPOSE)
    assert cause(history=(proposed,)) is Cause.COOLDOWN


def test_what_was_suppressed_costs_no_rest():
    assert cause(history=(past(ago=timedelta(0), state=RetrainingState.SUPPRESSED, answer=Answer.SUPPRESSED),)) is (
        Cause.NONE
    )


def test_a_budget_counts_retrainings_of_a_week():
    policy = RetrainPolicy(mode=Mode.AUTO, retrainings_per_week=3)
    history = [past(number, ago=number * 2 * DAY) for number in (3, 2, 1)]
    assert cause(policy=policy, history=history) is Cause.BUDGET
    assert cause(policy=policy, history=[past(4, ago=7 * DAY), *history[1:]]) is Cause.NONE


def test_a_budget_counts_labels_of_a_month():
    policy = RetrainPolicy(mode=Mode.AUTO, labels=40, labels_per_month=100)
    assert cause(policy=policy, history=[past(1, ago=20 * DAY), past(2, ago=10 * DAY)]) is Cause.NONE
    three = [past(number, ago=(29 - number) * DAY) for number in (1, 2, 3)]
    assert cause(policy=policy, history=three) is Cause.BUDGET
    assert cause(LABELS, policy=policy, history=three) is Cause.NONE


def test_a_person_is_held_back_by_no_rule_but_another_retraining():
    strict = RetrainPolicy(mode=Mode.OFF, retrainings_per_week=0, labels_per_month=0, cooldown=30 * DAY)
    assert decide(PERSON, strict, [past(ago=timedelta(0))], NOW).answer is Answer.RUN


# -- what is news ---------------------------------------------------------------------------


def suppressed(number, why=Cause.COOLDOWN, **values):
    return past(number, state=RetrainingState.SUPPRESSED, answer=Answer.SUPPRESSED, cause=why, **values)


def news(trigger, why, history):
    return is_news(trigger, Decision(Answer.SUPPRESSED, "", why), history)


def test_the_same_suppression_of_what_stands_is_no_news():
    history = [past(1), suppressed(2)]
    assert not news(DRIFT, Cause.COOLDOWN, history)
    assert news(DRIFT, Cause.BUDGET, history)
    assert news(changed(DRIFT, deployment="other"), Cause.COOLDOWN, history)
    assert news(changed(DRIFT, device_id="dev-1"), Cause.COOLDOWN, history)
    assert news(LABELS, Cause.COOLDOWN, history)


def test_after_a_firing_that_came_to_something_it_is_news_again():
    assert news(DRIFT, Cause.COOLDOWN, [suppressed(1), past(2)])


def test_the_finding_that_is_being_healed_does_not_fire_again():
    going = past(1, state=RetrainingState.LABELLING, finding="f-9")
    assert not news(DRIFT, Cause.IN_PROGRESS, [going])
    assert news(changed(DRIFT, finding="f-10"), Cause.IN_PROGRESS, [going])


def test_what_runs_is_always_news():
    assert is_news(DRIFT, Decision(Answer.RUN, ""), [past(1), suppressed(2)])


# -- policies -------------------------------------------------------------------------------


def test_a_policy_is_read_with_its_defaults():
    assert read_policy({}) == RetrainPolicy()
    assert read_policy({"cooldown": "PT2H"}).cooldown == read_policy({"cooldown": 7200}).cooldown == timedelta(hours=2)
    healing = {"bake": 3, "health": {"labels": 0}}
    assert read_policy({"rollout_policy": healing}).rollout_policy == Policy(
        bake=timedelta(seconds=3), health=HealthPolicy(labels=0)
    )


def test_a_policy_that_was_written_down_is_read_as_it_was():
    policy = read_policy({"mode": "auto", "rollout_policy": {"maintenance": ["sat 22:00-05:00 UTC"], "retries": 0}})
    assert read_policy(msgspec.to_builtins(policy)) == policy


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mode": "always"}, r"\$\.mode"),
        ({"labels": -1}, r"\$\.labels"),
        ({"labels": 10_001}, r"\$\.labels"),
        ({"random_share": 1.5}, r"\$\.random_share"),
        ({"label_weight": 0}, r"\$\.label_weight"),
        ({"surprise": 1}, "surprise"),
        (
            {"rollout_policy": {"bake": -1, "health": {"alpha": 7}}},
            "rollout_policy/bake: .*; rollout_policy/health/alpha: 7",
        ),
        ({"rollout_policy": 3}, "rollout_policy is a table of values, not 3"),
        ({"waves": []}, "a rollout needs a wave"),
        ({"waves": ["half"]}, "not a wave"),
        ({"waves": ["1"]}, "end at 1, not at 100%"),
        ({"waves": ["50%", "20%", "100%"]}, "must grow"),
        ({"selector": "somebody"}, "not a selector"),
        ({"deployment": "G"}, r"\$\.deployment"),
        ({"label_timeout": 0}, "label_timeout"),
        ({"cooldown": -1}, "cooldown"),
        ([], "object"),
    ],
)
def test_a_policy_that_cannot_be_used_says_what_is_wrong(values, words):
    with pytest.raises(InputError, match=words):
        read_policy(values)


def test_the_groups_that_a_policy_names_are_told_and_those_that_are_missing_with_their_places():
    policy = read_policy({"selector": "not group=old", "waves": ["group=canarys", "50%", "group=old,lab", "100%"]})
    assert groups_named(policy) == {"old", "canarys", "lab"}
    found = [(one.pointer, one.detail.partition(";")[0]) for one in missing_groups(policy, ["canaries", "old"])]
    assert found == [
        ("#/waves/0", "no group 'canarys', did you mean 'canaries'?"),
        ("#/waves/2", "no group 'lab'"),
    ]
    assert not list(missing_groups(policy, ["canarys", "old", "lab"]))
    assert groups_named(RetrainPolicy()) == frozenset()
