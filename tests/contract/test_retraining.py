"""Retraining through the API and the command line: policies, what fired, and what people ask."""

import json
from datetime import timedelta

import pytest

from edgeops.api.roles import Role
from edgeops.errors import ConflictError, InputError, NotFoundError
from fleet_server.db import devices, findings, jobs
from fleet_server.db.findings import Stream
from tests.contract.loop_rig import LoopRig
from tests.unit.drift_rig import digest
from tests.unit.retraining_rig import said


@pytest.fixture
def rig(tmp_path):
    rig = LoopRig(tmp_path)
    yield rig
    rig.close()


def drift(rig):
    """What monitoring says of the whole fleet."""
    with rig.database.write() as connection:
        findings.record(connection, Stream("tiny", 1, digest(), "bench"), "", said(), rig.now, seen_until=rig.now)
    rig.look()


def end_training(rig, *, passed):
    with rig.database.write() as connection:
        job = jobs.claim(connection, rig.now)
        rules = [{"name": "heals", "passed": passed, "reason": "worse on red"}]
        result = {"version": 2, "promotion": {"passed": passed, "rules": rules}, "signed": False}
        jobs.succeed(connection, job.id, result=result, now=rig.now)
    rig.look()


# -- policies -------------------------------------------------------------------------------


def test_a_model_has_a_policy_before_anybody_chose_one(rig):
    policy = rig.operator.retraining_policy("tiny")
    assert (policy.mode, policy.labels, policy.random_share, policy.cooldown) == ("propose", 30, 0.2, timedelta(days=1))
    assert (policy.waves, policy.selector, policy.deployment) == (("1", "100%"), "all", None)


def test_a_policy_is_replaced_as_a_whole(rig):
    rig.operator.set_retraining_policy("tiny", {"mode": "auto", "cooldown": "PT0S", "label_timeout": 60})
    changed = rig.operator.set_retraining_policy("tiny", {"labels": 10})
    assert (changed.mode, changed.labels, changed.cooldown) == ("propose", 10, timedelta(days=1))
    assert rig.operator.retraining_policy("tiny") == changed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mode": "always"}, "mode"),
        ({"labels": -1}, "labels"),
        ({"waves": ["50%"]}, "end at 50%, not at 100%"),
        ({"waves": ["half"]}, "not a wave"),
        ({"selector": "x"}, "not a selector"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused(rig, values, words):
    with pytest.raises(InputError, match=words):
        rig.operator.set_retraining_policy("tiny", values)


def test_a_policy_names_only_groups_that_there_are(rig):
    rig.operator.groups.put("canaries", selector="online")
    wanted = {"selector": "not group=canarys", "waves": ["group=canaries", "100%"]}
    with pytest.raises(InputError, match=r"^selector: no group 'canarys', did you mean 'canaries'"):
        rig.operator.set_retraining_policy("tiny", wanted)
    rig.operator.set_retraining_policy("tiny", wanted | {"selector": "not group=canaries"})
    with pytest.raises(ConflictError, match="the retraining policy of tiny"):
        rig.operator.groups.remove("canaries")
    rig.operator.set_retraining_policy("tiny", {})
    rig.operator.groups.remove("canaries")


# -- what fired -----------------------------------------------------------------------------


def test_drift_is_proposed_with_its_evidence_and_a_person_approves(rig):
    drift(rig)
    (proposed,) = rig.operator.retrainings("tiny")
    assert (proposed.state, proposed.decision, proposed.trigger) == ("proposed", "propose", "drift")
    assert proposed.evidence["finding"].startswith("finding-")
    assert proposed.evidence["why"] == "x1 reads higher than in training"
    approved = rig.operator.retrain("tiny", labels=3, remark="seen")
    assert (approved.id, approved.state, approved.labels_wanted) == (proposed.id, "nominating", 3)
    assert {one.device_id for one in approved.nominations} == {"edge-1", "edge-2", "edge-3"}


def test_a_suppressed_firing_says_which_rule_and_why(rig):
    rig.operator.set_retraining_policy("tiny", {"mode": "off"})
    drift(rig)
    (row,) = rig.operator.retrainings()
    assert (row.state, row.decision, row.cause) == ("suppressed", "suppressed", "off")
    assert "the policy is off" in row.reason
    assert row.ended


# -- what people ask ------------------------------------------------------------------------


def test_how_far_it_is_can_be_read(rig):
    retraining_id, items = rig.queue(labels=4)
    rig.operator.add_labels({items[0].sample_id: "red"})
    rig.look()
    shown = rig.operator.retraining(retraining_id)
    assert (shown.state, shown.queue) == ("labelling", {"labelled": 1, "open": 3})
    assert shown.detail == "1 of 4 samples are labelled"
    assert {one.samples for one in shown.nominations} == {40}
    assert shown.digest == digest()
    (listed,) = rig.operator.retrainings("tiny")
    assert listed.nominations is None
    assert listed.queue == shown.queue


def test_two_at_once_are_refused_by_name(rig):
    first = rig.operator.retrain("tiny")
    with pytest.raises(ConflictError, match=first.id):
        rig.operator.retrain("tiny")


def test_it_can_be_ended_once(rig):
    retraining_id, _ = rig.queue()
    ended = rig.operator.cancel_retraining(retraining_id)
    assert (ended.state, ended.detail) == ("cancelled", "cancelled by a operator")
    assert list(rig.operator.label_queue("tiny")) == []
    with pytest.raises(ConflictError, match="is cancelled already"):
        rig.operator.cancel_retraining(retraining_id)


def test_what_does_not_exist_is_told(rig):
    with pytest.raises(NotFoundError, match="no model 'gas'"):
        rig.operator.retrain("gas")
    with pytest.raises(NotFoundError, match="no device 'edge-9'"):
        rig.operator.retrain("tiny", without_devices=["edge-9"])
    with pytest.raises(InputError, match="labels"):
        rig.operator.retrain("tiny", labels=-1)


def test_a_device_that_is_left_out_is_not_asked(rig):
    begun = rig.operator.retrain("tiny", without_devices=["edge-2"])
    assert {one.device_id for one in begun.nominations} == {"edge-1", "edge-3"}
    assert begun.without_devices == ("edge-2",)


def test_with_every_device_offline_it_says_so(rig):
    with rig.database.write() as connection:
        for device_id in ("edge-1", "edge-2", "edge-3"):
            devices.set_presence(connection, device_id, presence="offline", session_counter=9, now=rig.now)
    begun = rig.operator.retrain("tiny")
    rig.look()
    assert "none of the 3 devices that run it is online" in rig.operator.retraining(begun.id).detail


# -- the command line -----------------------------------------------------------------------


def test_a_policy_is_changed_by_what_is_named(rig, capsys):
    assert rig.edgeops("retrain", "policy", "tiny", "--mode", "auto", "--cooldown", "0", "--labels", "12") == 0
    assert "12, 20% of them at random" in capsys.readouterr().out
    assert rig.edgeops("retrain", "policy", "tiny", "--waves", "1,50%,100%", "--json") == 0
    policy = json.loads(capsys.readouterr().out)
    assert (policy["mode"], policy["labels"], policy["cooldown"]) == ("auto", 12, "PT0S")
    assert policy["waves"] == ["1", "50%", "100%"]


@pytest.mark.parametrize("weight", ["nan", "inf", "-1"])
def test_a_weight_that_is_no_number_is_wrong_usage(rig, capsys, weight):
    assert rig.edgeops("retrain", "policy", "tiny", f"--label-weight={weight}") == 2
    assert "--label-weight" in capsys.readouterr().err


def test_history_shows_what_came_to_nothing_too(rig, capsys):
    rig.operator.set_retraining_policy("tiny", {"mode": "off"})
    drift(rig)
    assert rig.edgeops("retrain", "history", "tiny") == 0
    out = capsys.readouterr().out
    assert "suppressed" in out
    assert "the policy is off" in out
    assert rig.edgeops("retrain", "history") == 0
    assert "suppressed" in capsys.readouterr().out


def test_one_is_shown_with_what_it_waits_for(rig, capsys):
    retraining_id, _ = rig.queue()
    assert rig.edgeops("retrain", "show", retraining_id) == 0
    out = capsys.readouterr().out
    assert "labels, for the policy's `label_timeout`" in out
    assert "4 open" in out
    assert "edge-2" in out


def test_who_follows_is_told_the_gates_refusal_and_exits_8(rig, capsys):
    retraining_id, items = rig.queue()
    rig.operator.add_labels({one.sample_id: "red" for one in items})
    rig.look()
    end_training(rig, passed=False)
    assert rig.edgeops("retrain", "show", retraining_id, "--follow") == 8
    shown = capsys.readouterr()
    assert "refused: heals: worse on red" in shown.out
    assert "the promotion gate refused version 2" in shown.err


def test_who_follows_stops_where_a_person_is_needed(rig, capsys):
    drift(rig)
    (proposed,) = rig.operator.retrainings("tiny")
    assert rig.edgeops("retrain", "show", proposed.id, "--follow", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["state"] == "proposed"
    assert "it waits for a person" in shown.err


def test_who_follows_for_too_long_exits_9(rig, capsys):
    assert rig.edgeops("retrain", "run", "tiny", "--follow", "--timeout", "0.1s") == 9
    assert "goes on by itself" in capsys.readouterr().err


def test_run_and_cancel_say_what_comes_next(rig, capsys):
    assert rig.edgeops("retrain", "run", "tiny", "--labels", "5", "--without", "edge-2") == 0
    shown = capsys.readouterr()
    assert "is nominating" in shown.out
    assert "edgeops label queue tiny" in shown.err
    (begun,) = rig.operator.retrainings("tiny")
    assert rig.edgeops("retrain", "cancel", begun.id) == 0
    assert capsys.readouterr().out == f"{begun.id} is cancelled\n"
    assert rig.edgeops("retrain", "run", "tiny", "--labels", "0") == 6


def test_a_viewer_cannot_begin_one(rig):
    assert rig.request("POST", "/api/v1/models/tiny/retrainings", role=Role.VIEWER).status_code == 403
