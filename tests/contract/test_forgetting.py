"""What is told of a group before it is forgotten, and what a group is called that is not there."""

import json

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from tests.contract.rig import ApiRig, assert_problem
from tests.contract.trained import GROUPED, add_grouped, add_version


@pytest.fixture
def rig(tmp_path):
    rig = ApiRig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def snapshot(rig):
    digest = add_grouped(rig.config, rig.database, rig.now)
    add_version(rig.config, rig.database, 1, rig.now, snapshot=digest)
    return digest


def test_a_viewer_sees_what_knows_a_group(rig, snapshot):
    answer = rig.request("GET", f"/api/v1/datasets/{GROUPED}/groups", role=Role.VIEWER, params={"group": "g3"})
    known = answer.json()
    assert (known["is_in_head"], known["snapshots"]) == (True, [snapshot])
    assert [(one["model"], one["version"], one["is_champion"]) for one in known["versions"]] == [("tiny", 1, False)]


@pytest.mark.parametrize("verb", ["forget", "erase"])
def test_a_group_that_is_not_there_is_asked_back(rig, snapshot, verb):
    address = f"/api/v1/datasets/{GROUPED}/{verb}"
    answer = rig.request("POST", address, role=Role.ADMIN, json={"group": "g33"})
    assert "did you mean g3?" in assert_problem(answer, 404)["detail"]
    assert assert_problem(
        rig.request("POST", "/api/v1/datasets/none/forget", role=Role.ADMIN, json={"group": "g"}), 404
    )


def test_without_an_answer_nothing_is_forgotten(rig, snapshot, capsys):
    arguments = ["--url", rig.url, "--token", rig.tokens[Role.ADMIN]]
    assert run(["dataset", "forget", GROUPED, "--group", "g3", "--erase", *arguments]) == 2
    told = capsys.readouterr().err
    assert "tiny@1 learnt from it" in told
    assert "these versions can no longer be reproduced" in told
    assert "nobody can be asked here; say it with --yes" in told
    assert rig.request("GET", "/api/v1/jobs", role=Role.ADMIN).json()["items"] == []
    assert run(["dataset", "show", GROUPED, "--json", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["head"]["digest"] == snapshot
