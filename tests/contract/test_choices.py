"""Which variant to take, as the API tells and draws it and the command shows it."""

import json

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from tests.contract.rig import ApiRig, assert_problem
from tests.contract.trained import add_grouped, add_version


@pytest.fixture
def rig(tmp_path):
    rig = ApiRig(tmp_path)
    add_version(rig.config, rig.database, 1, rig.now, snapshot=add_grouped(rig.config, rig.database, rig.now))
    yield rig
    rig.close()


@pytest.fixture
def choose(rig, capsys):
    def choose(*options):
        code = run(["model", "choose", "tiny@1", *options, "--url", rig.url, "--token", rig.tokens[Role.VIEWER]])
        told = capsys.readouterr()
        return code, told.out, told.err

    return choose


def test_a_viewer_is_told_which_variant_to_take(choose, tmp_path):
    code, out, err = choose("--picture", str(tmp_path / "front.svg"))
    assert code == 0
    assert "taken" in out.splitlines()[0]
    assert "edgeops publish tiny@1 --variant int8" in err
    picture = (tmp_path / "front.svg").read_text()
    assert picture.startswith("<svg")
    assert "not beaten" not in picture, "one point makes no line, so none is told of"


def test_budgets_that_none_keeps_end_with_the_exit_code_of_a_gate(choose):
    code, out, err = choose("--max-size", "10B", "--json")
    assert code == 8
    assert json.loads(out)["chosen"] is None
    assert "no variant of tiny@1 can be taken" in err


@pytest.mark.parametrize("size", ["100", "0.5MiB", "1 kB"])
def test_a_size_is_read_with_its_unit(choose, size):
    assert choose("--max-size", size)[0] in {0, 8}


@pytest.mark.parametrize("size", ["", "kB", "-1", "0", "1GB", "1e3"])
def test_what_is_no_size_is_refused(choose, size):
    code, _, err = choose("--max-size", size)
    assert code == 2
    assert "no size" in err


def test_a_version_that_is_not_there_has_no_choice(rig):
    answer = rig.request("GET", "/api/v1/models/tiny/versions/7/choice", role=Role.VIEWER)
    assert assert_problem(answer, 404)
