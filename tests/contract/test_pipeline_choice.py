"""A pipeline that publishes the smallest variant: which one is to be listed, as the server chooses it."""

import json

import pytest

from edgeops.api.roles import Role
from edgeops.artifact.manifest import Variant
from edgeops.cli.app import run
from edgeops.data.rules import read_rules
from edgeops.digest import digest_file
from fleet_server.db import jobs
from fleet_server.db.jobs import ImportDataset, Train
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.work import work_digest
from tests.contract.rig import ApiRig
from tests.contract.trained import DATASET, MODEL, add_dataset, add_version

RULES = 'label = "label"'
FILE = f"""
[datasets.{DATASET}]
file = "rows.csv"
[datasets.{DATASET}.rules]
{RULES}

[models.{MODEL}]
dataset = "{DATASET}"
publish = "smallest"
"""


@pytest.fixture
def rig(tmp_path):
    """A server that has done the import and the training of the file already."""
    rig = ApiRig(tmp_path)
    snapshot = add_dataset(rig.config, rig.database, rig.now)
    add_version(rig.config, rig.database, 1, rig.now, snapshot=snapshot)
    file = tmp_path / "rows.csv"
    file.write_text("x,label\n1,a\n")
    imported = ImportDataset(name=DATASET, upload=digest_file(file), file_name=file.name, rules=read_rules(RULES))
    trained = Train(dataset=DATASET, snapshot=snapshot, model=MODEL, recipe=RecipeName.DENSE, variants=tuple(Variant))
    for request, result in ((imported, {"snapshot": snapshot}), (trained, {"model": MODEL, "version": 1})):
        with rig.database.write() as connection:
            job = jobs.queue(connection, request, created_by="ada", now=rig.now, work=work_digest(request))
            jobs.succeed(connection, job.id, result=result, now=rig.now)
    yield rig
    rig.close()


@pytest.fixture
def pipeline(rig, tmp_path, capsys):
    def pipeline(verb, budgets=""):
        file = tmp_path / "edgeops.toml"
        file.write_text(FILE + budgets)
        code = run(["pipeline", verb, str(file), "--json", "--url", rig.url, "--token", rig.tokens[Role.ADMIN]])
        told = capsys.readouterr()
        return code, json.loads(told.out)["steps"][-1], told.err

    return pipeline


def test_the_variant_that_is_chosen_is_to_be_published(pipeline):
    code, step, _ = pipeline("plan")
    assert code == 0
    assert (step["kind"], step["standing"], step["detail"]) == ("publish", "to do", "int8 of tiny@1")


def test_where_no_variant_keeps_the_budgets_the_run_ends_with_the_exit_code_of_a_gate(pipeline):
    code, step, err = pipeline("run", 'budgets = {max_size = "10B"}')
    assert code == 8
    assert step["standing"] == "refused"
    assert step["detail"].startswith("no variant of tiny@1 can be taken: int8: ")
    assert step["detail"].endswith(" bytes, 10 may be")
    assert "beyond the budgets: publish tiny" in err
