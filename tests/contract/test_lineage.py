"""From an answer of a device back to the rows that were learnt, and where versions ran."""

import json
from datetime import timedelta

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from edgeops.rollout.installation import InstallationState
from fleet_server.db import tables
from tests.contract.rig import START, ApiRig
from tests.contract.trained import DATASET, MODEL, add_dataset, add_version

DEVICE, DEPLOYMENT = "pump-0001", "bench"


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = ApiRig(tmp_path_factory.mktemp("api"))
    rig.snapshot = add_dataset(rig.config, rig.database, rig.now)
    rig.digests = [
        add_version(rig.config, rig.database, version, rig.now, snapshot=rig.snapshot).digest for version in (1, 2)
    ]
    rig.enrol_device(DEVICE)
    for hour, digest in enumerate(rig.digests, start=1):
        add_stay(rig, f"inst-{hour}", digest, START + timedelta(hours=hour))
    with rig.database.write_telemetry() as connection:
        for place, digest in enumerate(rig.digests):
            connection.execute(
                tables.predictions.insert().values(
                    device_id=DEVICE, deployment=DEPLOYMENT, digest=digest, input_id=f"row-{place}", phase="live",
                    answer=1.0, confidence=0.9, answered_at=START + timedelta(hours=place + 1), received_at=START,
                )
            )  # fmt: skip
    yield rig
    rig.close()


def add_stay(rig, name, digest, at):
    with rig.database.write() as connection:
        connection.execute(
            tables.rollouts.insert().values(
                id=f"rollout-{name}", model=MODEL, version=1, variant="int8", digest=digest, target="t", deployment=DEPLOYMENT,
                selector="all", intent="improve", policy={}, wanted_waves=[], state="finished", created_by="ann", created_at=at,
            )
        )  # fmt: skip
        connection.execute(
            tables.installations.insert().values(
                id=name, rollout_id=f"rollout-{name}", wave=0, device_id=DEVICE, deployment=DEPLOYMENT, digest=digest,
                state=InstallationState.HEALTHY, updated_at=at, finished_at=at,
            )
        )  # fmt: skip


@pytest.fixture
def edgeops(rig, capsys):
    def told(*words, code=0):
        assert run([*words, "--url", rig.url, "--token", rig.tokens[Role.VIEWER]]) == code
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    return told


def test_a_model_ran_on_a_device_from_one_commit_to_the_next(edgeops):
    found = json.loads(edgeops("model", "history", MODEL, "--json"))
    assert [(one["version"], one["since"], one["until"]) for one in found] == [
        (2, "2026-01-01T02:00:00Z", None),
        (1, "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"),
    ]
    [old] = json.loads(edgeops("model", "history", f"{MODEL}@1", "--json"))
    assert (old["device"], old["deployment"], old["rollout"]) == (DEVICE, DEPLOYMENT, "rollout-inst-1")


def test_the_history_comes_page_by_page(rig):
    client = rig.client(Role.VIEWER)
    first = rig.request("GET", f"/api/v1/models/{MODEL}/history?limit=1", role=Role.VIEWER).json()
    assert [one["version"] for one in first["items"]] == [2]
    assert len(list(client.history(MODEL))) == 2


def test_an_answer_leads_back_to_the_file_that_was_imported(rig, edgeops):
    found = json.loads(
        edgeops("model", "lineage", "--device", DEVICE, "--deployment", DEPLOYMENT, "--input", "row-0", "--json")
    )
    assert (found["answered"]["version"], found["answered"]["digest"]) == (1, rig.digests[0])
    [snapshot] = found["lineage"]["snapshots"]
    assert (snapshot["digest"], snapshot["dataset"]) == (rig.snapshot, DATASET)
    assert snapshot["source"].startswith("sha256:")
    assert found["lineage"]["run"]["id"] == "run-0001"
    latest = edgeops("model", "lineage", "--device", DEVICE, "--deployment", DEPLOYMENT)
    assert f"{MODEL}@2" in latest


def test_an_answer_that_nobody_kept_is_asked_back(edgeops):
    told = edgeops("model", "lineage", "--device", DEVICE, "--deployment", DEPLOYMENT, "--input", "row-9", code=3)
    assert "no answer is kept" in told
    assert edgeops("model", "lineage", f"{MODEL}@7", code=3)
    assert edgeops("model", "lineage", "--device", DEVICE, code=2)


def test_two_versions_are_told_apart_by_data_questions_and_sizes(edgeops):
    found = json.loads(edgeops("model", "diff", f"{MODEL}@1", f"{MODEL}@2", "--json"))
    assert found["data"]["rows"] == [600, 600]
    assert found["run"]["parameters"] == {}
    assert found["sizes"]["int8"][0] > 0
    assert "int8" in edgeops("model", "diff", f"{MODEL}@1", f"{MODEL}@2")
