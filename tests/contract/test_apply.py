"""`edgeops apply` with the sample file of the docs: once it changes, twice it does not."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from edgeops.errors import ConflictError
from edgeops.fleet_file.applying import carry_out, present_of
from edgeops.fleet_file.document import read_document
from edgeops.fleet_file.plan import Act, plan
from edgeops.fleet_file.source import read_source
from edgeops.protocol.messages import DeploymentState, DeviceFacts, Presence, Reported, UpdateState
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.waves import Wave as PlannedWave
from fleet_server.db import devices, models, rollouts
from fleet_server.db.identifiers import new_id
from tests.unit.engine_rig import DESCRIPTOR, digest_of, target_of
from tests.unit.run_rows import add_run

SAMPLE = Path(__file__).resolve().parents[2] / "docs/fleet.yaml"


def add_pump(rig, device_id, site, *, arch="aarch64"):
    rig.enrol_device(device_id, labels={"site": site})
    facts = DeviceFacts(
        arch=arch, runtime="litert", runtime_version="2.3", python="3.11", memory_bytes=1 << 30, disk_free_bytes=1
    )
    deployments = (DeploymentState(deployment="pump1", state=UpdateState.IDLE),)
    reported = Reported(desired_epoch=0, desired_revision=0, facts=facts, deployments=deployments)
    with rig.database.write() as connection:
        devices.set_reported(connection, device_id, reported, now=rig.now)
        devices.set_presence(connection, device_id, presence=Presence.ONLINE, session_counter=1, now=rig.now)


@pytest.fixture(scope="module")
def fleet(rig):
    """The fleet of the sample: two named pumps and one in the lab."""
    for device_id, site in (("pump-1-0a1b", "plant"), ("pump-2-77fe", "plant"), ("pump-3-1234", "lab")):
        add_pump(rig, device_id, site)
    with rig.database.write() as connection:
        add_run(connection, "pump-state", rig.now)
        models.add_version(connection, "pump-state", 1, task="classification", run_id="run-1", now=rig.now)
        artifact = models.Artifact(
            digest=digest_of(1), model="pump-state", version=1, variant="int8", size_bytes=1, tflite_bytes=1,
            target=target_of(1), descriptor=DESCRIPTOR, created_at=rig.now, published_at=None, withdrawn_at=None,
        )  # fmt: skip
        models.add_artifact(connection, artifact)
        models.mark_published(connection, artifact, rig.now, target=artifact.target)
    return rig


@pytest.fixture
def apply(fleet, capsys, monkeypatch):
    monkeypatch.setenv("EDGEOPS_URL", fleet.url)
    monkeypatch.setenv("EDGEOPS_TOKEN", fleet.tokens[Role.OPERATOR])

    def call(file, *options):
        code = run(["apply", str(file), *options])
        written = capsys.readouterr()
        return code, written.out, written.err

    return call


def test_the_sample_is_applied_once_and_a_second_time_changes_nothing(fleet, apply):
    client = fleet.client(Role.OPERATOR)
    code, out, _ = apply(SAMPLE, "--dry-run")
    assert code == 0
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [
        "+ group canaries", "+ group pair", "+ pin pump-2-77fe/pump1", "~ retraining pump-state",
        "+ rollout pump1 on not group=pair",
    ]  # fmt: skip
    assert list(client.groups.every()) == []
    assert apply(SAMPLE)[0] == 2  # nobody can be asked
    code, _, err = apply(SAMPLE, "--yes")
    assert code == 0, err
    assert "group canaries made" in err
    assert client.groups.get("canaries").members == ("pump-3-1234",)
    assert client.retraining_policy("pump-state").labels == 40
    (rollout,) = client.rollouts()
    assert (rollout.selector, rollout.policy["max_in_flight"]) == ("not group=pair", 20)
    code, out, err = apply(SAMPLE, "--yes", "--prune")
    assert (code, out) == (0, "")
    assert "nothing to change" in err
    assert json.loads(apply(SAMPLE, "--json")[1]) == {"changes": [], "applied": False}
    assert len(list(client.rollouts())) == 1


def test_what_drifts_is_shown_as_a_diff_and_put_right(fleet, apply, tmp_path):
    client = fleet.client(Role.OPERATOR)
    file = tmp_path / "fleet.yaml"
    file.write_text("groups:\n  lab: site=lab\n")
    apply(file, "--yes")
    client.groups.put("lab", selector="all")
    client.groups.put("other", selector="all")
    code, out, _ = apply(file, "--yes")
    assert code == 0
    assert out.splitlines() == ["~ group lab", "    - selector: all", "    + selector: site=lab"]
    assert client.groups.get("lab").selector == "site=lab"
    for rollout in client.rollouts():
        client.abort_rollout(rollout.id)  # what an open rollout names is not removed
    document = json.loads(apply(file, "--yes", "--prune", "--json")[1])
    assert document["applied"]
    assert ("remove", "group", "other") in [(one["act"], one["noun"], one["name"]) for one in document["changes"]]


def test_a_file_that_cannot_be_used_is_refused_with_line_and_pointer_and_changes_nothing(fleet, apply, tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text("groups:\n  fine: all\n  canaries: hal=3\n")
    code, _, err = apply(file, "--yes")
    assert code == 1
    assert f"{file}:3: #/groups/canaries/selector: not a selector" in err
    assert "fine" not in [one.name for one in fleet.client(Role.VIEWER).groups.every()]
    assert "cannot read" in apply(tmp_path / "none.yaml")[2]
    file.write_bytes(b"\xff\xfe")
    assert "no UTF-8 text" in apply(file)[2]


def test_what_only_the_server_knows_is_refused_before_anything_is_made(fleet, apply, tmp_path):
    """A group's stranger, a pin's, an artifact that nobody can run, and waves that no device is in."""
    add_pump(fleet, "odd-0001", "museum", arch="z80")
    client = fleet.client(Role.OPERATOR)
    before = (list(client.groups.every()), list(client.pins.every()), [one.id for one in client.rollouts()])
    file = tmp_path / "fleet.yaml"
    file.write_text(
        """groups:
  old: site=museum
  strangers: [pump-1-0a1b, nobody-1]
pins:
  - device: nobody-2
  - {device: pump-2-77fe, to: "DIGEST"}
retraining:
  pump-state: {labels: 47}
rollouts:
  - {model: pump-state@1, deployment: pump1, to: group=old}
  - {model: pump-state@1, deployment: pump1, to: id=pump-1-0a1b, waves: [id=pump-3-1234, 100%]}
  - {model: pump-state@7, deployment: pump1, to: all}
""".replace("DIGEST", "sha256:" + "0" * 64)
    )
    for options in (("--yes",), ("--dry-run",)):
        code, _, err = apply(file, *options)
        assert code == 1
        assert f"{file}:3: #/groups/strangers: no enrolled device with id nobody-1" in err
        assert f"{file}:5: #/pins/0/device: no enrolled device with id nobody-2" in err
        assert f"{file}:6: #/pins/1/to: no artifact sha256:{'0' * 64} here" in err
        assert f"{file}:10: #/rollouts/0/variant: " in err
        assert f"{file}:11: #/rollouts/1/waves/0: " in err
        assert f"{file}:12: #/rollouts/2/model: model 'pump-state' has no version 7" in err
        after = (list(client.groups.every()), list(client.pins.every()), [one.id for one in client.rollouts()])
        assert after == before
        assert client.retraining_policy("pump-state").labels != 47


def test_a_pin_and_a_policy_are_made_as_the_file_names_them_and_a_second_time_nothing_changes(fleet, apply, tmp_path):
    """A digest, a moment with an offset, and a wave of more than a few characters."""
    file = tmp_path / "fleet.yaml"
    file.write_text(
        f"""pins:
  - {{device: pump-3-1234, deployment: pump1, to: "{digest_of(1)}", until: "2030-01-01T00:00:00+02:00"}}
retraining:
  pump-state: {{waves: [label.site=plant-north or online, 100%]}}
"""
    )
    code, _, err = apply(file, "--yes")
    assert code == 0, err
    assert "pin pump-3-1234/pump1 made" in err
    assert fleet.client(Role.VIEWER).retraining_policy("pump-state").waves[0] == "label.site=plant-north or online"
    assert "nothing to change: the fleet is as the file says" in apply(file, "--yes")[2]
    fleet.client(Role.OPERATOR).pins.remove("pump-3-1234", deployment="pump1")


def test_a_group_means_in_the_preview_what_the_file_will_have_made_of_it(fleet, apply, tmp_path):
    client = fleet.client(Role.OPERATOR)
    client.groups.put("moving", selector="site=nowhere")
    file = tmp_path / "fleet.yaml"
    wanted = "rollouts:\n  - {model: pump-state@1, deployment: pump1, to: group=moving}\n"
    file.write_text(wanted)
    code, _, err = apply(file, "--yes")
    assert code == 1
    assert "#/rollouts/0/to: " in err
    file.write_text("groups:\n  moving: site=plant\n" + wanted)
    code, _, err = apply(file, "--yes")
    assert code == 0, err
    assert client.groups.get("moving").selector == "site=plant"


def test_pins_of_the_file_that_leave_a_rollout_nobody_are_refused_before_anything_is_made(fleet, apply, tmp_path):
    client = fleet.client(Role.OPERATOR)
    before = list(client.pins.every())
    file = tmp_path / "fleet.yaml"
    wanted = "rollouts:\n  - {model: pump-state@1, deployment: pump1, to: id=pump-3-1234}\n"
    pinned = "pins:\n  - {device: pump-3-1234, reason: spare}\n"
    file.write_text(pinned + wanted)
    code, _, err = apply(file, "--yes")
    assert code == 1
    assert f"{file}:4: #/rollouts/0/to: no device is left to ask: 1 of 1 pinned, as pump-3-1234: " in err
    assert list(client.pins.every()) == before
    file.write_text(pinned)
    assert apply(file, "--yes")[0] == 0
    file.write_text("pins: []\n" + wanted)
    assert apply(file, "--dry-run")[0] == 1
    code, _, err = apply(file, "--dry-run", "--prune")
    assert code == 0, err
    client.pins.remove("pump-3-1234")


def test_where_a_change_is_refused_after_all_it_is_said_what_was_made_and_applying_again_makes_the_rest(
    fleet, apply, tmp_path
):
    file = tmp_path / "fleet.yaml"
    said = "groups:\n  halfway: site=lab\npins:\n  - {device: pump-3-1234, until: %s}\nretraining:\n  pump-state: {labels: 44}\n"
    file.write_text(said % "2020-01-01")
    code, _, err = apply(file, "--yes")
    assert code == 1
    assert "1 of 3 changes are made and stay; not made: pin pump-3-1234, retraining pump-state" in err
    assert "applying the file again is safe" in err
    assert "has passed" in err
    client = fleet.client(Role.OPERATOR)
    assert client.groups.get("halfway").selector == "site=lab"
    assert client.retraining_policy("pump-state").labels != 44
    file.write_text(said % "2030-01-01")
    code, _, err = apply(file, "--yes")
    assert code == 0, err
    assert "halfway" not in err
    assert client.retraining_policy("pump-state").labels == 44


def test_what_somebody_undid_is_told_and_not_begun_again(fleet, apply, tmp_path):
    client = fleet.client(Role.OPERATOR)
    selector = "id=pump-1-0a1b"
    brought = client.create_rollout("pump-state", 1, deployment="pump1", to=selector, waves=("1",), draft=True)
    with fleet.database.write() as connection:
        first = rollouts.get(connection, brought.id)
        undo = replace(first, id=new_id("rollout", fleet.now + timedelta(seconds=1)), version=2, undoes=first.id)
        rollouts.add(connection, undo, [PlannedWave((Candidate(id="pump-1-0a1b", name="pump-1", online=True),))])
    file = tmp_path / "fleet.yaml"
    file.write_text(f"rollouts:\n  - {{model: pump-state@1, deployment: pump1, to: {selector}}}\n")
    code, out, err = apply(file, "--yes")
    assert code == 0, err
    assert f"! rollout pump1 on {selector}" in out
    assert f"rollout {undo.id} undid {first.id}" in out
    assert "nothing to change: what differs is not changed by a file" in err


def test_models_that_are_not_there_are_told_all_at_once_with_their_places(fleet, apply, tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text("""groups:
  unmade: site=lab
pins:
  - {device: pump-1-0a1b, to: pump-state@1, variant: float32}
  - {device: pump-2-77fe, to: pump-stat@1}
  - {device: nobody-1}
retraining:
  pump-stat: {labels: 40}
""")
    code, out, err = apply(file, "--yes")
    assert code == 1
    assert f"{file}:4: #/pins/0/variant: pump-state@1 has no variant 'float32'; there are: int8" in err
    assert f"{file}:5: #/pins/1/to: no version 1 of a model 'pump-stat'" in err
    assert f"{file}:6: #/pins/2/device: no enrolled device with id nobody-1" in err
    assert f"{file}:8: #/retraining/pump-stat: no model 'pump-stat'" in err
    assert "pump-stat" not in out
    assert "unmade" not in [one.name for one in fleet.client(Role.VIEWER).groups.every()]


def test_groups_of_a_policy_are_looked_for_among_those_that_there_will_be(fleet, apply, tmp_path):
    client = fleet.client(Role.OPERATOR)
    client.groups.put("leaving", selector="online")
    file = tmp_path / "fleet.yaml"
    file.write_text("""groups:
  coming: site=lab
retraining:
  pump-state:
    selector: not group=leaving
    waves: [group=comming, group=coming, 100%]
""")
    code, _, err = apply(file, "--yes", "--prune")
    assert code == 1
    assert f"{file}:5: #/retraining/pump-state/selector: no group 'leaving'" in err
    assert f"{file}:6: #/retraining/pump-state/waves/0: no group 'comming', did you mean 'coming'?" in err
    assert "coming" not in [one.name for one in client.groups.every()]
    file.write_text(file.read_text().replace("group=comming, ", ""))
    code, _, err = apply(file, "--yes")
    assert code == 0, err
    assert client.retraining_policy("pump-state").waves == ("group=coming", "100%")
    with pytest.raises(ConflictError, match="group coming is named by the retraining policy of pump-state"):
        client.groups.remove("coming")


def test_what_somebody_changed_since_the_plan_was_shown_is_not_overwritten(fleet):
    client = fleet.client(Role.OPERATOR)
    client.groups.put("contested", selector="all")
    client.pins.put("pump-1-0a1b", reason="mine")
    client.pins.put("pump-1-0a1b", deployment="pump1", reason="mine")
    text = (
        "groups:\n  contested: site=lab\npins:\n  - {device: pump-1-0a1b, reason: file}\n"
        "retraining:\n  pump-state: {labels: 41}\n"
    )
    document = read_document(read_source(text, name="fleet.yaml"))
    present = present_of(client, document)
    client.pins.put("pump-1-0a1b", reason="ours")
    client.pins.put("pump-1-0a1b", deployment="pump1", reason="ours")
    client.groups.put("contested", selector="not site=lab")
    client.set_retraining_policy("pump-state", {"labels": 43})
    pins = {("pin", "pump-1-0a1b"), ("pin", "pump-1-0a1b/pump1")}
    changes = [
        one for one in plan(document, present, prune=True) if (one.noun, one.name) in pins or one.act is Act.CHANGE
    ]
    assert len(changes) == 4
    for change in changes:
        with pytest.raises(ConflictError, match="read it again and decide anew"):
            carry_out(client, change, present.editions)
    assert client.groups.get("contested").selector == "not site=lab"
    assert client.retraining_policy("pump-state").labels == 43
    assert [one.reason for one in client.pins.every() if one.device_id == "pump-1-0a1b"] == ["ours", "ours"]


def test_a_rollout_that_awaits_an_approval_is_not_told_as_begun(fleet, apply, tmp_path):
    add_pump(fleet, "pump-4-4444", "attic")
    file = tmp_path / "fleet.yaml"
    file.write_text("rollouts:\n  - {model: pump-state@1, deployment: pump1, to: site=attic}\n")
    admin = fleet.client(Role.ADMIN)
    admin.demand_four_eyes()
    try:
        code, _, err = apply(file, "--yes")
    finally:
        admin.waive_four_eyes()
    assert code == 0, err
    (rollout,) = [one for one in admin.rollouts() if one.selector == "site=attic"]
    waits = "waits for an approver, who approves or denies it"
    assert f"rollout {rollout.id} is awaiting-approval, {waits}: pump-state@1" in err
    code, out, err = apply(file, "--yes")
    assert code == 0
    assert f"rollout {rollout.id} is awaiting-approval, and {waits}" in out
    assert "nothing to change: what differs is not changed by a file" in err
