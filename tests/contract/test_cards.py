"""What a version tells of itself, as the API has it and the commands write it."""

import json

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from tests.contract.rig import ApiRig, assert_problem
from tests.contract.trained import DATASET, add_dataset, add_version


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = ApiRig(tmp_path_factory.mktemp("api"))
    add_version(rig.config, rig.database, 1, rig.now, snapshot=add_dataset(rig.config, rig.database, rig.now))
    yield rig
    rig.close()


@pytest.fixture
def model(rig, capsys):
    def asked(*words):
        code = run(["model", *words, "--url", rig.url, "--token", rig.tokens[Role.VIEWER]])
        told = capsys.readouterr()
        return code, told.out, told.err

    return asked


def test_a_bill_names_the_data_and_the_file(rig, model):
    code, out, _ = model("bom", "tiny@1")
    assert code == 0
    bill = json.loads(out)
    assert bill["metadata"]["timestamp"] == f"{rig.now:%Y-%m-%dT%H:%M:%SZ}"
    assert bill["components"][0]["name"] == DATASET
    [file] = bill["metadata"]["component"]["components"]
    assert "sha256:" + file["hashes"][0]["content"] == rig.client().version("tiny", 1).artifacts[0].digest
    answer = rig.request("GET", "/api/v1/models/tiny/versions/1/bom", role=Role.VIEWER)
    assert answer.headers["content-type"] == "application/vnd.cyclonedx+json; version=1.6"
    assert answer.text == out


def test_a_bill_goes_into_a_file(model, tmp_path):
    code, out, err = model("bom", "tiny@1", "--out", str(tmp_path / "bom.json"))
    assert (code, out) == (0, "")
    assert "bom.json is written" in err
    assert json.loads((tmp_path / "bom.json").read_text())["specVersion"] == "1.6"


def test_a_card_is_markdown_or_one_page(rig, model, tmp_path):
    code, out, _ = model("card", "tiny@1")
    assert code == 0
    assert out.startswith("# tiny 1, int8\n\nA tiny model for tests.")
    assert model("card", "tiny@1", "--html", "--variant", "int8", "--out", str(tmp_path / "card.html"))[0] == 0
    page = (tmp_path / "card.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<h2>Promotion gate</h2>" in page
    for as_, kind in (("html", "text/html"), ("markdown", "text/markdown")):
        answer = rig.request("GET", f"/api/v1/models/tiny/versions/1/card?as={as_}", role=Role.VIEWER)
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"


@pytest.mark.parametrize(("query", "status"), [("as=pdf", 422), ("variant=float32", 404)])
def test_a_card_that_there_is_not_is_refused(rig, query, status):
    assert_problem(rig.request("GET", f"/api/v1/models/tiny/versions/1/card?{query}", role=Role.VIEWER), status)


@pytest.mark.parametrize("what", ["bom", "card"])
def test_a_version_that_is_not_there_tells_nothing(rig, what):
    assert_problem(rig.request("GET", f"/api/v1/models/tiny/versions/7/{what}", role=Role.VIEWER), 404)
