"""One pass of the loop through a real database: devices, people and jobs are played, the server is real."""

from datetime import timedelta

import pytest

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.drift.finding import Kind, Verdict
from edgeops.errors import ConflictError, NotFoundError
from edgeops.learning.labels import LabelSource
from edgeops.learning.retraining import RetrainingState
from edgeops.learning.triggers import Answer, Cause
from edgeops.protocol.messages import Intent
from edgeops.rollout.rollout import RolloutState
from fleet_server.db import aliases, audit, devices, jobs, labels, tables
from fleet_server.db.aliases import Alias
from fleet_server.db.events import EventKind
from fleet_server.db.label_queue import ItemState
from fleet_server.rollout_orders import pause_rollout
from tests.unit.engine_rig import digest_of
from tests.unit.retraining_rig import Loop

S = RetrainingState
AUTO = {"mode": "auto", "labels": 4, "min_labels": 2, "cooldown": 0, "label_timeout": 3600, "waves": ["100%"]}


@pytest.fixture
def loop(tmp_path):
    loop = Loop(tmp_path, policy=AUTO)
    yield loop
    loop.close()


def to_labelling(loop):
    loop.judge()
    loop.nominate()
    assert loop.last().state is S.LABELLING


def to_training(loop):
    to_labelling(loop)
    loop.label(*(one.sample_id for one in loop.queue()))
    assert loop.last().state is S.TRAINING


def to_rolling_out(loop):
    to_training(loop)
    loop.end_job(signed=True)
    assert loop.last().state is S.ROLLING_OUT


# -- the whole way --------------------------------------------------------------------------


def test_drift_becomes_a_healed_fleet_without_a_person_but_the_labels(loop):
    loop.judge(Verdict.STABLE)
    stable_at = loop.now
    loop.later(timedelta(minutes=10))
    loop.judge()
    begun = loop.last()
    assert (begun.state, begun.decision, begun.trigger) == (S.NOMINATING, Answer.RUN, "drift")
    assert begun.evidence.since == stable_at
    assert {device_id for device_id, _ in loop.asked()} == set(loop.ids)
    within = (loop.now - stable_at) // timedelta(milliseconds=1)
    assert {command.request.within_ms for _, command in loop.asked()} == {within}
    loop.nominate()
    assert loop.last().state is S.LABELLING
    chosen = loop.queue()
    assert [one.position for one in chosen] == [0, 1, 2, 3]
    loop.label(*(one.sample_id for one in chosen))
    assert loop.last().state is S.TRAINING
    (request,) = loop.queued_jobs()
    assert request == jobs.Retrain(
        retraining=begun.id, model="gas", digest=digest_of(1), deployment="gas", since=stable_at, sign=True
    )
    loop.end_job(signed=True)
    rolling = loop.last()
    assert (rolling.state, rolling.version) == (S.ROLLING_OUT, 3)
    rollout = loop.rollout(rolling.rollout_id)
    assert (rollout.version, rollout.intent, rollout.deployment) == (3, Intent.HEAL, "gas")
    for device_id in loop.ids:
        loop.commit(device_id)
    healed = loop.last()
    assert (healed.state, healed.finished_at) == (S.HEALED, loop.now)
    assert len(loop.all()) == 1


def test_each_device_is_asked_for_its_share_of_what_the_server_wants_to_choose_from(loop):
    loop.allow(mode="auto", labels=100, cooldown=0)
    loop.judge()
    assert [command.request.count for _, command in loop.asked()] == [84] * 3  # 100 x 2.5 / 3, rounded up
    assert {command.request.digest for _, command in loop.asked()} == {digest_of(1)}


def test_a_few_labels_need_as_many_samples_as_a_reference_can_be_made_of(loop):
    loop.judge()
    assert [command.request.count for _, command in loop.asked()] == [40] * 3


def test_nothing_is_asked_of_a_device_that_runs_another_model_or_is_left_out(loop):
    with loop.database.write() as connection:
        aliases.assign(connection, "gas", Alias.CHAMPION, 1, loop.now, actor="me")
    loop.runs("dev-0", 2)
    loop.start(without_devices=["dev-2"])
    assert [device_id for device_id, _ in loop.asked()] == ["dev-1"]


def test_the_samples_may_arrive_after_the_word_that_they_came(loop):
    loop.judge()
    loop.nominate(arrive=False)
    assert loop.last().state is S.NOMINATING
    for device_id, command in loop.asked():
        loop.arrive(device_id, command.command, command.request.count)
    loop.later(timedelta(seconds=1))
    assert loop.last().state is S.LABELLING


# -- nominating -----------------------------------------------------------------------------


def test_a_silent_device_is_asked_again_with_the_same_command(loop):
    loop.judge()
    loop.nominate("dev-0", "dev-1")
    first = dict(loop.asked())["dev-2"]
    loop.later(limits.NOMINATION_RETRY_AFTER + timedelta(seconds=1))
    again = [command for device_id, command in loop.asked() if device_id == "dev-2"]
    assert again == [first, first]


def test_who_does_not_answer_in_time_is_not_waited_for(loop):
    loop.judge()
    loop.nominate("dev-0", "dev-1")
    loop.wait(limits.NOMINATION_TIMEOUT + timedelta(seconds=2))
    assert loop.last().state is S.LABELLING
    assert {one.device_id for one in loop.queue()} <= {"dev-0", "dev-1"}


def test_a_device_that_comes_while_others_nominate_is_asked_too(loop):
    loop.go("dev-2")
    loop.judge()
    assert {device_id for device_id, _ in loop.asked()} == {"dev-0", "dev-1"}
    loop.come("dev-2")
    loop.later(timedelta(seconds=1))
    assert {device_id for device_id, _ in loop.asked()} == set(loop.ids)


def test_with_every_device_offline_it_says_so_and_waits_with_a_deadline(loop):
    for device_id in loop.ids:
        loop.go(device_id)
    loop.judge()
    waiting = loop.last()
    assert waiting.state is S.NOMINATING
    assert "none of the 3 devices that run it is online" in waiting.detail
    loop.later(timedelta(minutes=30))
    changes = len(loop.events(EventKind.RETRAINING_CHANGED))
    loop.later(timedelta(minutes=1))
    assert len(loop.events(EventKind.RETRAINING_CHANGED)) == changes
    loop.later(timedelta(minutes=30))
    assert loop.last().state is S.FAILED
    assert "no device that runs the model came online" in loop.last().detail


def test_devices_that_have_nothing_to_nominate_end_it_with_their_reason(loop):
    loop.judge()
    loop.nominate(count=0, detail="the pool is empty")
    assert loop.last().state is S.FAILED
    assert "dev-0: the pool is empty" in loop.last().detail


def test_fewer_samples_than_labels_wanted_are_all_asked_for(loop):
    loop.judge()
    loop.nominate(count=1)
    assert len(loop.queue()) == 3


# -- labelling ------------------------------------------------------------------------------


def test_labels_that_do_not_come_are_not_waited_for_when_enough_did(loop):
    to_labelling(loop)
    loop.label(loop.queue()[0].sample_id, loop.queue()[1].sample_id)
    assert loop.last().detail == "2 of 4 samples are labelled"
    loop.later(timedelta(hours=1, seconds=1))
    assert loop.last().state is S.TRAINING
    assert loop.queue() == []
    assert len(loop.queue(ItemState.DROPPED)) == 2


def test_too_few_labels_end_it(loop):
    to_labelling(loop)
    loop.label(loop.queue()[0].sample_id)
    loop.later(timedelta(hours=1, seconds=1))
    assert loop.last().state is S.FAILED
    assert loop.queue() == []


def test_a_disputed_sample_is_left_out_and_holds_nobody_up(loop):
    to_labelling(loop)
    first, *others = [one.sample_id for one in loop.queue()]
    loop.label(first, author="ann", label="red")
    loop.label(first, author="bob", label="blue")
    assert [one.sample_id for one in loop.queue(ItemState.DISPUTED)] == [first]
    loop.label(*others)
    assert loop.last().state is S.TRAINING
    with loop.database.read() as connection:
        assert sorted(others) == [one.sample_id for one in labels.for_training(connection, "gas")]


def test_a_third_author_settles_a_dispute(loop):
    to_labelling(loop)
    first = loop.queue()[0].sample_id
    for author, label in (("ann", "red"), ("bob", "blue"), ("eve", "blue")):
        loop.label(first, author=author, label=label)
    assert [one.sample_id for one in loop.queue(ItemState.LABELLED)] == [first]
    with loop.database.read() as connection:
        assert [(one.sample_id, one.label) for one in labels.for_training(connection, "gas")] == [(first, "blue")]


def test_feedback_answers_no_request_for_a_label(loop):
    to_labelling(loop)
    count = len(loop.queue())
    loop.label(loop.queue()[0].sample_id, source=LabelSource.FEEDBACK, author="dev-0")
    assert len(loop.queue()) == count


# -- training, signature, rollout -----------------------------------------------------------


def test_a_model_that_its_gate_refuses_goes_nowhere(loop):
    to_training(loop)
    loop.end_job(passed=False)
    assert loop.last().state is S.REFUSED
    assert loop.last().version == 3
    assert {loop.desired_digest(device_id) for device_id in loop.ids} == {None}


def test_without_a_delegated_key_it_waits_for_a_person_to_sign(loop):
    to_training(loop)
    loop.end_job(signed=False)
    assert loop.last().state is S.AWAITING_SIGNATURE
    loop.later(timedelta(days=30))
    assert loop.last().state is S.AWAITING_SIGNATURE
    loop.sign()
    assert loop.last().state is S.ROLLING_OUT


def test_a_training_that_failed_says_why(loop):
    to_training(loop)
    loop.end_job(error="the disk is full")
    assert loop.last().state is S.FAILED
    assert "the disk is full" in loop.last().detail


def test_a_rollout_that_is_aborted_ends_it(loop):
    to_rolling_out(loop)
    loop.abort(loop.last().rollout_id)
    loop.run()
    assert loop.last().state is S.FAILED
    assert "aborted" in loop.last().detail


def test_a_paused_rollout_waits_for_a_person_and_says_so(loop):
    to_rolling_out(loop)
    pause_rollout(loop.database, loop.last().rollout_id, loop.me())
    loop.wait(timedelta(minutes=1))
    assert loop.rollout(loop.last().rollout_id).state is RolloutState.PAUSED
    assert loop.last().state is S.ROLLING_OUT
    assert "is paused" in loop.last().detail


def test_a_rollout_that_cannot_begin_ends_it_with_the_reason(tmp_path):
    loop = Loop(tmp_path, policy={**AUTO, "selector": "label.hall=3"})
    to_training(loop)
    loop.end_job(signed=True)
    assert loop.last().state is S.FAILED
    assert "no enrolled device matches" in loop.last().detail
    loop.close()


# -- what fires -----------------------------------------------------------------------------


def test_by_default_a_person_is_asked_and_approves(tmp_path):
    loop = Loop(tmp_path)
    loop.judge()
    proposed = loop.last()
    assert (proposed.state, proposed.decision) == (S.PROPOSED, Answer.PROPOSE)
    loop.later(timedelta(days=3))
    assert loop.last() == proposed
    assert loop.start(labels_wanted=5) == proposed.id
    approved = loop.last()
    assert (approved.state, approved.decision, approved.labels_wanted) == (S.NOMINATING, Answer.RUN, 5)
    with loop.database.read() as connection:
        actions = [one.action for one in audit.page(connection, limit=10)]
    assert actions[:2] == ["retraining.approved", "retraining.propose"]
    loop.close()


def test_a_proposal_runs_when_the_policy_comes_to_allow_it(tmp_path):
    loop = Loop(tmp_path)
    loop.judge()
    loop.allow(**AUTO)
    loop.later(timedelta(seconds=2))
    assert (loop.last().state, loop.last().policy.mode) == (S.NOMINATING, "auto")
    assert loop.last().labels_wanted == 4
    loop.close()


def test_a_proposal_ends_when_no_device_runs_the_model_any_more(tmp_path):
    loop = Loop(tmp_path)
    loop.judge()
    for device_id in loop.ids:
        loop.runs(device_id, 2)
    loop.later(timedelta(seconds=2))
    assert loop.last().state is S.CANCELLED
    loop.close()


@pytest.mark.parametrize(
    ("policy", "judgement", "cause"),
    [
        ({"mode": "off"}, {}, Cause.OFF),
        (AUTO, {"device_id": "dev-1"}, Cause.LOCAL),
        (AUTO, {"kinds": (Kind.DATA, Kind.QUALITY)}, Cause.DATA_QUALITY),
        (AUTO, {"kinds": (Kind.PREDICTION,), "class_mix_only": True}, Cause.CLASS_MIX),
        ({**AUTO, "retrainings_per_week": 0}, {}, Cause.BUDGET),
        ({**AUTO, "labels_per_month": 3}, {}, Cause.BUDGET),
    ],
)
def test_what_holds_a_firing_back_is_written_down_once(tmp_path, policy, judgement, cause):
    loop = Loop(tmp_path, policy=policy)
    for _ in range(3):
        loop.judge(**judgement)
        loop.later(timedelta(minutes=1))
    (row,) = loop.all()
    assert (row.state, row.decision, row.cause) == (S.SUPPRESSED, Answer.SUPPRESSED, cause)
    assert row.evidence.why == "x1 reads higher than in training"
    assert row.reason
    assert loop.asked() == []
    loop.close()


def test_a_model_that_answers_with_a_number_is_not_healed_by_labels(tmp_path):
    loop = Loop(tmp_path, policy=AUTO)
    with loop.database.write() as connection:
        connection.execute(tables.models.update().values(task=Task.REGRESSION))
    loop.judge()
    (row,) = loop.all()
    assert (row.state, row.cause) == (S.SUPPRESSED, Cause.TASK)
    with pytest.raises(ConflictError, match=r"gas does regression, .* edgeops train DATASET --model gas"):
        loop.start()
    assert loop.asked() == []
    loop.close()


def test_while_one_goes_on_drift_starts_no_second_one(loop):
    to_labelling(loop)
    for _ in range(3):
        loop.later(timedelta(minutes=2))
        loop.judge(kinds=(Kind.DATA, Kind.PREDICTION))
    assert [one.state for one in loop.all()] == [S.LABELLING, S.SUPPRESSED]
    assert loop.all()[1].cause is Cause.IN_PROGRESS


def test_drift_that_stands_fires_again_when_the_cooldown_is_over(tmp_path):
    loop = Loop(tmp_path, policy={**AUTO, "cooldown": 3600})
    to_training(loop)
    loop.end_job(passed=False)
    loop.later(timedelta(minutes=1))
    loop.judge()
    loop.later(timedelta(minutes=1))
    assert [one.state for one in loop.all()] == [S.REFUSED, S.SUPPRESSED]
    assert loop.last().cause is Cause.COOLDOWN
    loop.later(timedelta(hours=1))
    assert loop.last().state is S.NOMINATING
    loop.close()


def test_a_healed_fleet_is_not_healed_again_of_the_same_drift(loop):
    to_rolling_out(loop)
    for device_id in loop.ids:
        loop.commit(device_id)
    # Late windows of the old model are judged once more, and its devices have not reported yet.
    loop.later(timedelta(seconds=10))
    loop.judge()
    loop.later(timedelta(days=2))
    assert [one.state for one in loop.all()] == [S.HEALED]


def test_a_verdict_that_ends_before_anybody_looks_fires_nothing(loop):
    retrainer = loop.retrainer
    loop.retrainer = None
    loop.judge()
    loop.later(timedelta(minutes=2))
    loop.judge(Verdict.STABLE)
    loop.retrainer = retrainer
    loop.run()
    assert loop.all() == []


def test_enough_labels_that_came_by_themselves_fire(tmp_path):
    loop = Loop(tmp_path, policy={**AUTO, "new_labels": 3})
    loop.label("dev-0.a.1", "dev-0.a.2")
    assert loop.all() == []
    loop.label("dev-0.a.2", "dev-0.a.3")
    assert (loop.last().trigger, loop.last().state) == ("labels", S.TRAINING)
    loop.end_job(passed=False)
    loop.later(timedelta(hours=1))
    assert len(loop.all()) == 1
    loop.label("dev-0.a.4", "dev-0.a.5", "dev-0.a.6")
    assert len(loop.all()) == 2
    loop.close()


# -- people ---------------------------------------------------------------------------------


def test_a_person_heals_what_the_champion_is(loop):
    with loop.database.write() as connection:
        aliases.assign(connection, "gas", Alias.CHAMPION, 1, loop.now, actor="me")
    loop.runs("dev-0", 2)
    loop.start()
    assert (loop.last().digest, loop.last().trigger, loop.last().created_by) == (digest_of(1), "person", "me")


def test_without_a_champion_the_newest_version_that_runs_is_healed(loop):
    loop.runs("dev-0", 2)
    loop.start()
    assert loop.last().digest == digest_of(2)


def test_a_person_who_asks_while_drift_stands_heals_what_drifted(tmp_path):
    loop = Loop(tmp_path, policy={"mode": "off"})
    loop.runs("dev-0", 2)
    loop.judge()
    loop.start()
    assert (loop.last().digest, loop.last().evidence.kinds) == (digest_of(1), ("data",))
    loop.close()


def test_no_labels_wanted_means_learning_from_those_there_are(loop):
    with pytest.raises(ConflictError, match="no sample of gas has a label yet"):
        loop.start(labels_wanted=0)
    loop.label("dev-0.a.1")
    loop.start(labels_wanted=0)
    assert loop.last().state is S.TRAINING


def test_a_device_is_left_out_of_labels_and_lineage(loop):
    loop.start(labels_wanted=0, without_devices=["dev-1"])
    assert loop.queued_jobs()[0].without_devices == ("dev-1",)


def test_what_cannot_be_begun_says_why(loop):
    with pytest.raises(NotFoundError, match="no device 'dev-9'"):
        loop.start(without_devices=["dev-9"])
    with pytest.raises(ConflictError, match="no device runs a published version of gas on a deployment other"):
        loop.start(deployment="other")
    loop.start()
    with pytest.raises(ConflictError, match="is nominating"):
        loop.start()


@pytest.mark.parametrize("reach", [to_labelling, to_training])
def test_a_person_can_end_it_and_nobody_is_asked_for_labels_then(loop, reach):
    reach(loop)
    loop.cancel(loop.last().id)
    assert loop.last().state is S.CANCELLED
    assert loop.queue() == []
    with pytest.raises(ConflictError, match="is cancelled already"):
        loop.cancel(loop.last().id)


def test_a_rollout_is_ended_as_a_rollout(loop):
    to_rolling_out(loop)
    with pytest.raises(ConflictError, match="edgeops rollout abort"):
        loop.cancel(loop.last().id)


def test_a_job_that_ends_after_a_person_did_changes_nothing(loop):
    to_training(loop)
    loop.cancel(loop.last().id)
    loop.end_job(signed=True)
    assert loop.last().state is S.CANCELLED
    assert loop.last().rollout_id is None


def test_a_device_in_quarantine_is_not_asked(loop):
    with loop.database.write() as connection:
        devices.quarantine(connection, "dev-1", reason="two speakers", now=loop.now)
    loop.judge()
    assert {device_id for device_id, _ in loop.asked()} == {"dev-0", "dev-2"}


def test_champion_is_what_was_rolled_out(loop):
    to_rolling_out(loop)
    for device_id in loop.ids:
        loop.commit(device_id)
    with loop.database.read() as connection:
        assert aliases.holders(connection, ["gas"])["gas"].get(Alias.CHAMPION) == 3
