"""Groups, pins, labels and previews through REST, as the client and the command line use them."""

import json
from datetime import timedelta

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from edgeops.errors import ConflictError, InputError, NotFoundError
from edgeops.protocol.messages import DeploymentState, DeviceFacts, Presence, Reported, UpdateState
from fleet_server.db import devices, models
from tests.contract.rig import assert_problem
from tests.unit.engine_rig import DESCRIPTOR, digest_of, target_of
from tests.unit.run_rows import add_run

FACTS = DeviceFacts(
    arch="aarch64", runtime="litert", runtime_version="2.3", python="3.11", memory_bytes=1 << 30, disk_free_bytes=1 << 30
)  # fmt: skip
ORDER = {"model": "gas", "version": 1, "deployment": "gas", "waves": ["1", "100%"]}


@pytest.fixture(scope="module")
def fleet(rig):
    """Two devices that report `gas`, one of them offline, one that has a strange processor, and one that is new."""
    for name, facts in (("pump-0001", FACTS), ("pump-0002", FACTS), ("odd-0001", None), ("new-0001", "none")):
        rig.enrol_device(name, name=name[:-5], labels={"hall": "3"} if name == "pump-0001" else {})
        if facts == "none":
            continue
        told = facts or DeviceFacts(
            **{field: getattr(FACTS, field) for field in FACTS.__struct_fields__} | {"arch": "z80"}
        )
        deployments = (DeploymentState(deployment="gas", state=UpdateState.IDLE),)
        with rig.database.write() as connection:
            reported = Reported(desired_epoch=0, desired_revision=0, facts=told, deployments=deployments)
            devices.set_reported(connection, name, reported, now=rig.now)
            if name != "pump-0002":
                devices.set_presence(connection, name, presence=Presence.ONLINE, session_counter=1, now=rig.now)
    with rig.database.write() as connection:
        add_run(connection, "gas", rig.now)
        models.add_version(connection, "gas", 1, task="classification", run_id="run-1", now=rig.now)
        artifact = models.Artifact(
            digest=digest_of(1), model="gas", version=1, variant="int8", size_bytes=1, tflite_bytes=1,
            target=target_of(1), descriptor=DESCRIPTOR, created_at=rig.now, published_at=None, withdrawn_at=None,
        )  # fmt: skip
        models.add_artifact(connection, artifact)
        models.mark_published(connection, artifact, rig.now, target=artifact.target)
    return rig


@pytest.fixture
def client(fleet):
    return fleet.client(Role.OPERATOR)


@pytest.fixture
def command(fleet, capsys, monkeypatch):
    """Run `edgeops ...` as an operator; its exit code, and what it wrote."""
    monkeypatch.setenv("EDGEOPS_URL", fleet.url)
    monkeypatch.setenv("EDGEOPS_TOKEN", fleet.tokens[Role.OPERATOR])

    def call(*arguments):
        code = run(arguments)
        written = capsys.readouterr()
        return code, written.out, written.err

    return call


def test_a_group_goes_round_trip(client):
    made = client.groups.put("canaries", selector="label.hall=3")
    assert (made.selector, made.device_ids, made.revision, made.members) == ("label.hall=3", (), 1, None)
    assert client.groups.get("canaries").members == ("pump-0001",)
    listed = client.groups.put("listed", device_ids=["pump-0002"])
    assert (listed.selector, listed.device_ids) == (None, ("pump-0002",))
    assert [one.name for one in client.groups.every()] == ["canaries", "listed"]
    for name in ("canaries", "listed"):
        client.groups.remove(name)
    with pytest.raises(NotFoundError, match="no group 'canaries'"):
        client.groups.get("canaries")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#"),
        ({"selector": "all", "device_ids": ["pump-0001"]}, "#"),
        ({"selector": "hal=3"}, "#/selector"),
        ({"selector": ""}, "#/selector"),
        ({"device_ids": ["gone-0001"]}, "#/device_ids"),
    ],
)
def test_a_group_that_cannot_be_is_a_problem_with_its_pointer(fleet, body, pointer):
    answer = fleet.request("PUT", "/api/v1/groups/canaries", role=Role.OPERATOR, json=body)
    assert [one["pointer"] for one in assert_problem(answer, 422)["errors"]] == [pointer]


def test_a_pin_goes_round_trip(client):
    pinned = client.pins.put("pump-0001", deployment="gas", digest=digest_of(1), reason="the audit")
    assert (pinned.device_id, pinned.reason, pinned.pinned_by) == ("pump-0001", "the audit", "a operator")
    assert pinned.warning.startswith("deployment gas: it runs no model, and a pin brings no model")
    assert [one.deployment for one in client.pins.every()] == ["gas"]
    client.pins.remove("pump-0001", deployment="gas")
    assert list(client.pins.every()) == []
    with pytest.raises(NotFoundError, match="is not pinned"):
        client.pins.remove("pump-0001", deployment="gas")


def test_labels_go_round_trip(client):
    assert client.label_device("new-0001", {"hall": "4"}).labels == {"hall": "4"}
    assert client.label_device("new-0001", {}, without=["hall"]).labels == {}


def test_a_preview_names_every_device_with_the_reason(client):
    preview = client.preview_rollout(ORDER)
    assert (preview.matched, preview.asked, preview.problems) == (4, 2, ())
    assert {name: count for name, count in preview.totals.items() if count} == {
        "ready": 1, "offline": 1, "incompatible": 1, "no-deployment": 1,
    }  # fmt: skip
    assert [(one.position, one.size) for one in preview.waves] == [(0, 1), (1, 1)]
    assert [(one.device_id, one.standing, one.wave) for one in preview.items] == [
        ("pump-0001", "ready", 0), ("pump-0002", "offline", 1), ("odd-0001", "incompatible", None),
        ("new-0001", "no-deployment", None),
    ]  # fmt: skip
    assert preview.items[2].reason.startswith("architecture z80")


def test_a_preview_comes_in_parts(client):
    seen, cursor = [], None
    while True:
        part = client.preview_rollout(ORDER, cursor=cursor, limit=3)
        assert part.matched == 4
        seen += [one.device_id for one in part.items]
        cursor = part.next
        if cursor is None:
            break
    assert seen == ["pump-0001", "pump-0002", "odd-0001", "new-0001"]


def test_a_preview_knows_pins_that_are_to_be(client):
    client.pins.put("pump-0001", reason="audit")
    try:
        made = {"device_id": "pump-0002", "deployment": "gas", "reason": "acceptance"}
        preview = client.preview_rollout(ORDER | {"pins": [made]})
        assert preview.totals["pinned"] == 2
        (problem,) = preview.problems
        assert problem.pointer == "#/to"
        reasons = {one.device_id: one.reason for one in preview.items}
        assert reasons["pump-0002"].endswith(": acceptance")
        gone = {"device_id": "pump-0001", "removed": True}
        preview = client.preview_rollout(ORDER | {"pins": [made, gone]})
        assert (preview.asked, preview.totals["pinned"], preview.items[0].device_id) == (1, 1, "pump-0001")
        assert len(list(client.pins.every())) == 1
    finally:
        client.pins.remove("pump-0001")


def test_what_is_wrong_is_the_same_in_a_preview_and_in_the_refusal(fleet, client):
    order = ORDER | {"waves": ["1", "half"], "policy": {"retrys": 1}, "to": "id=gone-0001 or all"}
    preview = client.preview_rollout(order)
    answer = fleet.request("POST", "/api/v1/rollouts", role=Role.OPERATOR, json=order)
    told = [(one["pointer"], one["detail"]) for one in assert_problem(answer, 422)["errors"]]
    assert told == [(one.pointer, one.detail) for one in preview.problems]
    assert [pointer for pointer, _ in told] == ["#/policy/retrys", "#/to", "#/waves/1"]
    assert list(client.rollouts()) == []


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"model": "gass"}, 404, "#/model"),
        ({"version": 2}, 404, "#/version"),
        ({"variant": "float32"}, 404, "#/variant"),
        ({"to": "id=odd-0001"}, 422, "#/variant"),
        ({"to": "label.hall=9"}, 422, "#/to"),
        ({"waves": ["1"]}, 422, "#/waves"),
        ({"policy": {"min_devices": 9}}, 422, "#/policy/min_devices"),
    ],
)
def test_a_refusal_points_at_the_field(fleet, changes, status, pointer):
    answer = fleet.request("POST", "/api/v1/rollouts", role=Role.OPERATOR, json=ORDER | changes)
    assert [one["pointer"] for one in assert_problem(answer, status)["errors"]] == [pointer]


def test_a_dry_run_shows_totals_waves_and_devices_and_starts_nothing(command, client):
    code, out, err = command("rollout", "create", "gas@1", "--deployment", "gas", "--dry-run")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["matched", "4"]
    assert next(line for line in lines if line.startswith("odd-0001")).split()[2:5] == [
        "-",
        "incompatible",
        "architecture",
    ]
    assert "nothing was started" in err
    assert list(client.rollouts()) == []


def test_a_dry_run_is_one_document_with_as_many_devices_as_are_asked_for(command):
    code, out, _ = command("rollout", "create", "gas@1", "--deployment", "gas", "--dry-run", "--json", "--limit", "2")
    document = json.loads(out)
    assert code == 0
    assert (document["matched"], len(document["devices"])) == (4, 2)


def test_a_dry_run_of_what_could_not_begin_tells_why_and_fails(command):
    code, out, err = command("rollout", "create", "gas@1", "--deployment", "gas", "--waves", "1,half,100%", "--dry-run")
    assert code == 1
    assert "#/waves/1: not a wave: 'half'" in err
    assert "pump-0001" in out


def test_a_policy_is_named_by_options_over_a_document(fleet, command, client):
    order = ("rollout", "create", "gas@1", "--deployment", "gas", "--draft", "--json")
    windows = ("--window", "sat 22:00-05:00 Europe/Berlin", "--window", "daily 02:00-04:00 UTC")
    document = ("--policy", '{"retries": 3, "health": {"labels": 5}}', "--retries", "2", "--min-rows", "7")
    made = client.rollout(json.loads(command(*order, *windows, *document)[1])["id"])
    client.abort_rollout(made.id)
    fleet.now += timedelta(seconds=1)  # rollouts of one moment have no order
    assert made.policy["maintenance"] == ["sat 22:00-05:00 Europe/Berlin", "daily 02:00-04:00 UTC"]
    assert (made.policy["retries"], made.policy["health"]["labels"], made.policy["health"]["min_rows"]) == (2, 5, 7)
    code, _, wrong = command(*order, "--window", "someday")
    assert code == 1
    assert "policy/maintenance/0: not a maintenance window: 'someday'" in " ".join(wrong.split())
    for document, word in (("[1]", "no JSON object"), ("{", "no JSON")):
        code, _, wrong = command(*order, "--policy", document)
        assert (code, word in wrong) == (2, True)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("--needs-approval", "awaiting-approval: waits for an approver, who approves or denies it"),
        ("--draft", "draft: waits for its author, who submits it"),
    ],
)
def test_who_watches_what_a_person_has_to_let_begin_is_told_so_and_exits_0(fleet, command, client, how, words):
    fleet.now += timedelta(seconds=1)
    code, out, err = command("rollout", "create", "gas@1", "--deployment", "gas", how, "--watch")
    made = next(client.rollouts())
    assert (code, err, out.splitlines()[-1]) == (0, "", words)
    lines = command("rollout", "status", made.id)[1].splitlines()
    assert next(line for line in lines if line.startswith("waits for")).endswith(made.waits_for)
    assert any(line.startswith("deadline") for line in lines)
    assert command("rollout", "abort", made.id)[1] == f"{made.id} is aborted: aborted by a operator\n"


def test_a_rollout_that_waits_for_its_time_says_which(fleet, command, client):
    fleet.now += timedelta(seconds=1)
    start = (fleet.now + timedelta(days=1)).isoformat()
    assert command("rollout", "create", "gas@1", "--deployment", "gas", "--start", start)[0] == 0
    made = next(client.rollouts())
    lines = command("rollout", "status", made.id)[1].splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("waits for", "starts"))] == ["waits", "starts"]
    assert not any(line.startswith(("reason", "approved by", "deadline")) for line in lines)
    client.abort_rollout(made.id)
    fleet.now += timedelta(seconds=1)


def test_commands_for_groups_pins_and_labels(command):
    assert command("group", "set", "halls", "label.hall=3")[:2] == (0, "halls: label.hall=3\n")
    assert command("group", "set", "halls")[0] == 2
    assert "1: pump-0001" in command("group", "show", "halls")[1]
    assert "halls" in command("group", "list")[1]
    assert json.loads(command("group", "list", "--json")[1])[0]["name"] == "halls"
    assert command("group", "remove", "halls")[0] == 0
    assert command("group", "show", "halls")[0] == 3
    code, _, told = command("devices", "pin", "pump-0001", "--to", "gas@1", "--reason", "audit")
    assert (code, "warning: deployment gas: it runs no model, and a pin brings" in told) == (0, True)
    assert "audit" in command("devices", "pins")[1]
    assert command("devices", "pin", "pump-0001", "--to", "gas@1", "--variant", "float32")[0] == 2
    assert command("devices", "unpin", "pump-0001")[0] == 0
    assert command("devices", "unpin", "pump-0001")[0] == 3
    assert command("devices", "label", "new-0001", "site=plant-1", "hall=2")[1] == "hall=2, site=plant-1\n"
    assert command("devices", "label", "new-0001", "site-", "hall-")[1] == "no labels\n"
    assert command("devices", "label", "new-0001", "site")[0] == 2


def test_why_is_told_for_every_deployment_of_a_device(command, client):
    made = client.order_rollout(ORDER)
    found = client.why("pump-0002")
    (gas,) = found.deployments
    assert (found.device_id, gas.deployment, gas.rollout_id) == ("pump-0002", "gas", made.id)
    assert [one.cause for one in gas.hindrances] == ["health-gate", "silence"]
    assert "0 of 1 device committed" in gas.hindrances[0].words
    code, out, _ = command("why", "pump-0002")
    assert code == 0
    assert out.splitlines()[1].split()[:2] == ["gas", "health-gate"]
    assert json.loads(command("why", "pump-0002", "--json")[1])["device_id"] == "pump-0002"
    (odd,) = client.why("odd-0001").deployments
    assert [one.cause for one in odd.hindrances] == ["incompatible"]
    assert odd.hindrances[0].words.startswith(f"rollout {made.id} leaves it out: architecture z80")
    assert f"rollout {made.id} leaves it out: it has not reported yet" in command("why", "new-0001")[1]
    assert command("why", "gone-0001")[0] == 3
    client.abort_rollout(made.id)
    assert "new-0001 reports no deployment" in command("why", "new-0001")[1]


def test_why_tells_a_device_that_was_left_out_of_its_pin(fleet, command, client):
    client.pins.put("pump-0001", reason="the audit")
    fleet.now += timedelta(seconds=1)
    made = client.order_rollout(ORDER | {"waves": ["100%"]})
    pinned, left_out = client.why("pump-0001").deployments[0].hindrances
    assert (pinned.cause, pinned.words) == ("pin", "pinned to what it runs by a operator: the audit")
    assert (left_out.cause, left_out.words) == ("left-out", f"rollout {made.id} leaves it out: {pinned.words}")
    assert "the audit" in command("why", "pump-0001")[1]
    client.abort_rollout(made.id)
    client.pins.remove("pump-0001")
    fleet.now += timedelta(seconds=1)


def test_an_edition_that_was_not_seen_is_not_overwritten(fleet, client):
    client.groups.put("canaries", selector="all")
    etag = fleet.request("GET", "/api/v1/groups/canaries", role=Role.VIEWER).headers["etag"]
    client.groups.put("canaries", selector="online")
    for method, body in (("PUT", {"selector": "all"}), ("DELETE", None)):
        answer = fleet.request(
            method, "/api/v1/groups/canaries", role=Role.OPERATOR, json=body, headers={"If-Match": etag}
        )
        assert_problem(answer, 412)
    assert client.groups.get("canaries").selector == "online"
    client.groups.remove("canaries")


def test_a_group_that_a_rollout_names_is_kept(fleet, client):
    client.groups.put("canaries", device_ids=["pump-0001"])
    made = client.order_rollout(ORDER | {"to": "group=canaries"})
    with pytest.raises(ConflictError, match=made.id):
        client.groups.remove("canaries")
    client.abort_rollout(made.id)
    client.groups.remove("canaries")
    with pytest.raises(InputError, match="no group 'canaries'"):
        client.order_rollout(ORDER | {"to": "group=canaries"})
