"""Where the new and the old model of a wave disagree, people are asked who is right, and what they say counts."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from edgeops.artifact.manifest import Task
from edgeops.learning.labels import Given, LabelSource
from edgeops.protocol.messages import Command, decode
from edgeops.protocol.topics import DownKind
from edgeops.rollout.policy import HealthPolicy, Policy
from edgeops.rollout.verdict import Healthy, Undecided, Unhealthy
from fleet_server import gathering
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.db import disagreements, jobs, label_queue, nominations, outbox, rollouts, samples, tables
from fleet_server.disagreements import Disagreements
from fleet_server.labelling import take_labels
from fleet_server.rollout_health import health_of, labels_of
from tests.golden.tiny import LABELS, tiny_rows
from tests.unit.drift_rig import DEPLOYMENT, digest
from tests.unit.evidence_rig import NEW, EvidenceRig, pairs

POLICY = Policy(
    bake=timedelta(seconds=30), health=HealthPolicy(min_rows=100, labels=40), shadow_share=1.0, shadow_cpu=1.0
)


class Rig(EvidenceRig):
    """A canary that baked long enough on 1,000 pairs of which a tenth differ."""

    def __init__(self, folder):
        super().__init__(folder)
        self.id = self.roll_out(policy=POLICY)
        self.wait(10)
        self.commit("edge-00")
        for _ in range(20):
            self.window("edge-00", NEW, rows=50, paired=pairs(50, differ=5))
        self.gather()
        self.asking = Disagreements(self.database, Artifacts(Blobs(self.drift.config)))
        self.given = 0

    def turn(self, seconds=2):
        self.wait(seconds)
        return self.asking.run_once(self.now)

    def commands(self):
        with self.database.read() as connection:
            letters = [one for one in outbox.waiting(connection, limit=1_000) if one.kind is DownKind.COMMAND]
        return [(one.device_id, decode(one.body, Command)) for one in letters]

    def answer(self, *, count=None):
        """The device answers what it was asked last: green, where the old model says red."""
        _, command = self.commands()[-1]
        count = command.request.count if count is None else count
        rows, _ = tiny_rows(count, seed=self.given + 1)
        new = [
            samples.SampleRow(
                id=f"sample-{self.given + number}", device_id="edge-00", deployment=DEPLOYMENT, digest=digest(NEW),
                nomination=command.command, input_id=str(self.given + number), answered_at=self.now,
                received_at=self.now, readings=row.astype("<f4").tobytes(), answer=1.0, confidence=0.6,
                shadow_answer=0.0, weight=1.0, by_chance=False,
            )
            for number, row in enumerate(rows)
        ]  # fmt: skip
        self.given += count
        with self.database.write_telemetry() as connection:
            samples.add(connection, new)
        with self.database.write() as connection:
            nominations.answered(connection, command.command, part=0, last=True, samples=count, detail="", now=self.now)

    def queue(self):
        with self.database.read() as connection:
            return label_queue.page(connection, "tiny", limit=1_000)

    def label(self, label, *, count=1_000):
        given = [Given(one.sample_id, label) for one in self.queue()[:count]]
        take_labels(self.database, given, source=LabelSource.PERSON, author="ann", now=self.now)

    def health(self):
        with self.database.read() as connection:
            return health_of(connection, self.rollout(self.id), rollouts.get_wave(connection, self.id, 0), self.now)


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_a_wave_that_cannot_be_judged_without_labels_asks_its_devices_for_disagreements(rig):
    assert isinstance(rig.health(), Undecided)
    rig.turn()
    [(device, command)] = rig.commands()
    request = command.request
    assert (device, request.digest, request.deployment) == ("edge-00", digest(NEW), DEPLOYMENT)
    assert (request.disagreements, request.random_share, request.count) == (True, 0.0, 40)


def test_a_device_of_the_wave_that_lost_the_model_again_is_waited_for_no_more(rig):
    with rig.database.write() as connection:
        connection.execute(
            update(tables.waves).where(tables.waves.c.position == 0).values(size=2, offered=2, regressed=1)
        )
    rig.turn()
    assert len(rig.commands()) == 1


def test_it_asks_once_while_an_answer_can_still_come(rig):
    for _ in range(5):
        rig.turn()
    assert len(rig.commands()) == 1


def test_what_devices_name_is_queued_for_the_rollout_with_what_both_models_said(rig):
    rig.turn()
    rig.answer()
    assert rig.turn() == 40
    one = rig.queue()[0]
    assert (one.asker, one.new_answer, one.old_answer, one.by_chance) == (rig.id, "green", "red", False)
    assert [item.position for item in rig.queue()] == list(range(40))


def test_no_more_are_sent_than_the_policy_says_however_often_devices_are_asked(rig):
    rig.turn()
    rig.answer(count=30)
    rig.turn()
    rig.turn(seconds=15)
    assert [command.request.count for _, command in rig.commands()] == [40, 10]
    rig.answer(count=30)
    for _ in range(3):
        rig.turn(seconds=15)
    assert len(rig.queue()) == 40
    assert len(rig.commands()) == 2


def test_an_input_that_two_nominations_name_is_asked_for_once(rig):
    rig.turn()
    rig.answer(count=20)
    rig.turn()
    rig.given = 0
    rig.turn(seconds=15)
    rig.answer(count=20)
    rig.turn()
    assert len({(one.device_id, one.input_id) for one in rig.queue()}) == len(rig.queue()) == 20


def test_labels_that_say_the_old_model_was_right_stop_the_new_one(rig):
    rig.turn()
    rig.answer()
    rig.turn()
    rig.label("red")
    health = rig.health()
    assert isinstance(health, Unhealthy), health.words
    assert "of 40 labels there 0 say that the new one is right, 40 the old one" in health.words


def test_labels_that_say_the_new_model_was_right_let_it_pass(rig):
    rig.turn()
    rig.answer()
    rig.turn()
    rig.label("green")
    assert isinstance(rig.health(), Healthy), rig.health().words


def test_each_label_is_counted_for_who_was_right_and_what_waits_is_told(rig):
    rig.turn()
    rig.answer()
    rig.turn()
    rig.label("green", count=5)
    rig.label("red", count=7)
    rig.label("blue", count=2)
    with rig.database.read() as connection:
        labels = labels_of(connection, rig.id)
    assert (labels.new_right, labels.old_right, labels.neither, labels.waiting) == (5, 7, 2, 26)


def test_labels_of_another_wave_say_nothing_of_this_one(rig):
    rig.turn()
    rig.answer()
    rig.turn()
    rig.label("green")
    with rig.database.read() as connection:
        assert labels_of(connection, rig.id, wave=0).given == 40
        assert labels_of(connection, rig.id, wave=1).given == 0
        assert labels_of(connection, rig.id).given == 40
        assert (disagreements.sent(connection, rig.id, wave=0), disagreements.sent(connection, rig.id, wave=1)) == (
            40,
            0,
        )


@pytest.mark.parametrize("task", [Task.REGRESSION, Task.ANOMALY])
def test_devices_are_asked_for_nothing_that_cannot_be_labelled(rig, task):
    with rig.database.write() as connection:
        connection.execute(update(tables.models).values(task=task))
    rig.turn()
    assert rig.commands() == []


def test_a_device_that_has_none_to_name_is_asked_again_much_later(rig):
    rig.turn()
    rig.answer(count=0)
    for _ in range(10):
        rig.turn(20)
    assert len(rig.commands()) == 1
    rig.turn(600)
    assert len(rig.commands()) == 2


def test_nothing_is_asked_of_a_rollout_without_labels_in_its_policy(tmp_path):
    rig = Rig(tmp_path / "own")
    unlabelled = replace(POLICY, health=replace(POLICY.health, labels=0))
    with rig.database.write() as connection:
        connection.execute(update(tables.rollouts).values(policy=unlabelled))
    rig.turn()
    assert rig.commands() == []
    rig.close()


def test_what_a_rollout_still_asks_for_is_dropped_with_its_end(rig):
    rig.turn()
    rig.answer()
    rig.turn()
    rig.label("green", count=3)
    with rig.database.write() as connection:
        connection.exec_driver_sql("UPDATE rollouts SET state = 'aborted'")
    rig.turn()
    assert rig.queue() == ()
    with rig.database.read() as connection:
        assert disagreements.sent(connection, rig.id) == 3


def test_disagreements_may_be_learnt_from_and_never_judge(rig):
    rig.turn()
    rig.answer()
    rig.turn()
    rig.label("green", count=3)
    request = jobs.Retrain(retraining="r", model="tiny", digest=digest(NEW), deployment=DEPLOYMENT)
    bought = gathering.bought(rig.database, request)
    assert len(bought) == 3
    assert not any(one.may_judge for one in bought)


def test_the_classes_are_those_of_the_tiny_model():
    assert LABELS == ("red", "green", "blue")
