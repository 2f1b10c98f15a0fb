"""What a promotion gate refused is listed only when an approver says so; and what a gate tolerates."""

import json

import pytest

from edgeops.api.roles import Role
from edgeops.artifact.manifest import Promotion, Rule, decode_descriptor
from edgeops.cli.app import run
from edgeops.errors import AccessError, ArtifactError, ConflictError, InputError
from edgeops.exits import Exit
from edgeops.local.signing import read_for_signing
from fleet_server.db import audit, jobs, runs
from fleet_server.db.jobs import Train
from fleet_server.ml.recipes.names import RecipeName
from tests.contract.rig import ApiRig, assert_problem
from tests.contract.trained import DATASET, MODEL, add_dataset, add_version

REFUSED = Promotion(
    passed=False,
    rules=(
        Rule(name="heals", passed=True, reason="no labels were bought"),
        Rule(name="is-good-enough", passed=False, reason="accuracy 0.5", limits={"least-accuracy": 0.9}),
    ),
)
OVERRIDE = f"/api/v1/models/{MODEL}/versions/1/override"
POLICY = f"/api/v1/models/{MODEL}/promotion/policy"


@pytest.fixture
def rig(tmp_path):
    rig = ApiRig(tmp_path)
    snapshot = add_dataset(rig.config, rig.database, rig.now)
    with rig.database.write() as connection:
        request = Train(dataset=DATASET, model=MODEL, recipe=RecipeName.DENSE)
        job = jobs.queue(connection, request, created_by="a admin", now=rig.now).id
    add_version(rig.config, rig.database, 1, rig.now, snapshot=snapshot, promotion=REFUSED, job=job)
    yield rig
    rig.close()


def entries(rig):
    with rig.database.read() as connection:
        return [(one.actor, one.action, one.subject, one.remark) for one in audit.oldest_first(connection)]


def test_what_its_gate_refused_is_neither_published_nor_signed_nor_rolled_out(rig):
    operator = rig.client(Role.OPERATOR)
    for attempt in (lambda: operator.publish(MODEL, 1), lambda: read_for_signing(operator, MODEL, 1, None)):
        with pytest.raises(
            ConflictError, match="tiny@1 int8 did not pass its promotion gate: is-good-enough: accuracy"
        ):
            attempt()
    with pytest.raises(InputError, match="tiny@1 int8 is not published"):
        operator.create_rollout(MODEL, 1, deployment="gas", to="all")


def test_an_approver_overrides_it_with_a_remark_which_is_part_of_what_is_signed(rig):
    approver = rig.client(Role.APPROVER)
    job = approver.override_gate(MODEL, 1, remark="only for the rehearsal")
    assert job.kind == "publish"
    said = decode_descriptor(approver.descriptor(MODEL, 1, "int8")).promotion
    assert said.may_be_listed
    assert not said.passed
    assert said.override is not None
    assert (said.override.by, said.override.remark) == ("a approver", "only for the rehearsal")
    assert approver.version(MODEL, 1).artifacts[0].promotion.override.at == rig.now
    approver.override_gate(MODEL, 1, remark="once more")
    told = [one for one in entries(rig) if one[1] == "model.gate-overridden"]
    assert told == [("a approver", "model.gate-overridden", "tiny@1", "only for the rehearsal")]
    assert rig.client(Role.OPERATOR).publish(MODEL, 1).kind == "publish"


def test_an_override_needs_a_remark_and_an_approver(rig):
    for body in ({}, {"remark": ""}, {"remark": "  "}, {"remark": "so", "variant": "int4"}):
        assert_problem(rig.request("POST", OVERRIDE, role=Role.APPROVER, json=body), 422)
    with pytest.raises(AccessError):
        rig.client(Role.OPERATOR).override_gate(MODEL, 1, remark="so")


def test_by_four_eyes_nobody_overrides_what_they_trained(rig):
    admin = rig.client(Role.ADMIN)
    admin.demand_four_eyes(remark="audit")
    with pytest.raises(ConflictError, match="four eyes: a admin began it"):
        admin.override_gate(MODEL, 1, remark="it is fine")
    assert rig.client(Role.APPROVER).override_gate(MODEL, 1, remark="it is fine").kind == "publish"


def test_what_passed_needs_no_override(rig):
    with rig.database.read() as connection:
        [run] = connection.exec_driver_sql("SELECT snapshot FROM runs").all()
    add_version(rig.config, rig.database, 2, rig.now, snapshot=run[0])
    with pytest.raises(ConflictError, match="tiny@2 passed its promotion gate"):
        rig.client(Role.APPROVER).override_gate(MODEL, 2, remark="so")


def test_an_approver_sets_what_the_rules_tolerate(rig):
    approver = rig.client(Role.APPROVER)
    before = approver.promotion_policy(MODEL)
    assert (before.least_accuracy, before.tolerated_loss) == (None, 0.01)
    after = approver.set_promotion_policy(MODEL, {"least_accuracy": 0.9}, edition=before.edition)
    assert after == approver.promotion_policy(MODEL)
    assert (after.least_accuracy, after.tolerated_loss) == (0.9, 0.01)
    assert ("a approver", "promotion.policy", MODEL, "") in entries(rig)
    with pytest.raises(AccessError):
        rig.client(Role.OPERATOR).set_promotion_policy(MODEL, {})


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"least_accuracy": 90}, "#/least_accuracy"),
        ({"hard_loss": 0.001}, "#/hard_loss"),
        ({"most_error": 0}, "#/most_error"),
        ({"hardness": 1}, "#/hardness"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_its_name(rig, body, pointer):
    problem = assert_problem(rig.request("PUT", POLICY, role=Role.APPROVER, json=body), 422)
    assert [one["pointer"] for one in problem["errors"]] == [pointer]


def test_the_command_shows_and_sets_limits_and_tells_what_each_rule_said(rig, capsys):
    arguments = ["--url", rig.url, "--token", rig.tokens[Role.APPROVER]]
    changes = ["--set", "least-accuracy=0.9", "--set", "hard-loss=0.02"]
    assert run(["model", "gate", MODEL, *changes, *arguments]) == Exit.OK
    assert "0.02" in capsys.readouterr().out
    assert run(["model", "gate", MODEL, "--set", "least-accuracy=none", "--json", *arguments]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["least_accuracy"], told["hard_loss"]) == (None, 0.02)
    assert run(["model", "gate", f"{MODEL}@1", *arguments]) == Exit.OK
    assert "accuracy 0.5" in capsys.readouterr().out
    for wrong, words in ((["--set", "luck=1"], "there is no limit 'luck'"), (["--set", "hard-loss=x"], "neither a")):
        assert run(["model", "gate", MODEL, *wrong, *arguments]) == Exit.USAGE
        assert words in capsys.readouterr().err
    assert run(["model", "gate", MODEL, "--default", "--json", *arguments]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["hard_loss"] == 0.05


def test_publishing_with_an_override_is_one_command(rig, capsys):
    arguments = ["--url", rig.url, "--token", rig.tokens[Role.OPERATOR]]
    assert run(["publish", f"{MODEL}@1", *arguments]) == Exit.GATE
    assert "--override REMARK" in capsys.readouterr().err
    assert run(["publish", f"{MODEL}@1", "--override", "a rehearsal", *arguments]) == Exit.ACCESS


def test_a_gate_that_says_it_passed_though_a_rule_failed_is_no_descriptor(rig):
    content = rig.client(Role.VIEWER).descriptor(MODEL, 1, "int8")
    with pytest.raises(ArtifactError, match="has rules that failed: is-good-enough"):
        decode_descriptor(content.replace(b'"override":null,"passed":false', b'"override":null,"passed":true'))


def test_a_version_tells_what_groups_columns_and_folds_said(rig, capsys):
    group = {"name": "ann", "rows": 40, "cost": 0.5, "low": 0.4, "high": 0.6, "is_judged": True}
    small = {**group, "name": "ben", "rows": 4, "is_judged": False}
    column = {"column": "flow", "missing": None, "stuck": 0.25}
    folds = {"by": "group", "figures": [0.8, 0.9], "rows": [40, 40], "mean": 0.85, "spread": 0.07}
    with rig.database.write() as connection:
        found = {"variants": {"int8": {"slices": [group, small], "columns": [column]}}, "folds": folds}
        runs.judged(connection, "run-0001", found)
    assert rig.client(Role.VIEWER).run("run-0001").judgement.folds.mean == 0.85
    arguments = ["--url", rig.url, "--token", rig.tokens[Role.VIEWER]]
    assert run(["model", "gate", f"{MODEL}@1", *arguments]) == Exit.OK
    shown = capsys.readouterr().out
    for words in (
        "ann",
        "too few rows",
        "flow",
        "refused",
        "+0.25",
        "folds by group: 0.8, 0.9; mean 0.85, spread 0.07",
    ):
        assert words in shown
    assert run(["model", "gate", f"{MODEL}@1", "--json", *arguments]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert told["judgement"]["variants"]["int8"]["slices"][0]["name"] == "ann"
    assert told["gates"]["int8"]["passed"] is False


def test_folds_are_asked_for_with_a_training(rig):
    scientist = rig.client(Role.DATA_SCIENTIST)
    job = scientist.train(DATASET, MODEL, folds=5)
    with rig.database.read() as connection:
        assert jobs.get(connection, job.id).request.folds == 5
    body = {"dataset": DATASET, "model": MODEL, "folds": 1}
    assert_problem(rig.request("POST", "/api/v1/runs", role=Role.DATA_SCIENTIST, json=body), 422)
