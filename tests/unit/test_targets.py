"""Groups, pins and labels as the server keeps them, and what a plan over its fleet says."""

from datetime import timedelta

import msgspec
import pytest

from edgeops import limits
from edgeops.errors import ConflictError, InputError, NotFoundError
from edgeops.learning.triggers import RetrainPolicy, read_policy
from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.pins import Pin
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutState
from fleet_server import targets
from fleet_server.db import audit, devices, events, groups, pins, policies, rollouts
from fleet_server.db.events import EventKind
from fleet_server.rollout_orders import abort_rollout
from fleet_server.rollout_plans import Order, plan_rollout
from tests.unit.engine_rig import Fleet, digest_of
from tests.unit.retraining_rig import Loop


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def order(**changes):
    values = {
        "model": "gas", "version": 1, "variant": "int8", "deployment": "gas", "selector": "all",
        "waves": ("1", "100%"), "intent": "improve", "created_by": "me",
    }  # fmt: skip
    return Order(**(values | changes))


def planned(fleet, **changes):
    with fleet.database.read() as connection:
        return plan_rollout(connection, order(**changes), fleet.now)


def put_group(fleet, name="canaries", **changes):
    values = {"selector": "id=dev-1"} if "device_ids" not in changes else {}
    with fleet.database.write() as connection:
        return targets.set_group(connection, name, set_by="me", now=fleet.now, **(values | changes))


def put_pin(fleet, device_id="dev-0", **changes):
    values = {
        "deployment": None,
        "digest": None,
        "reason": "audit",
        "pinned_by": "me",
        "pinned_at": fleet.now,
        "until": None,
    }
    _, undone = targets.set_pin(fleet.database, Pin(device_id=device_id, **(values | changes)))
    fleet.run()
    return undone


def unpin(fleet, device_id="dev-0", deployment=None):
    targets.remove_pin(fleet.database, device_id, deployment, removed_by="me", now=fleet.now)


def decisions(fleet):
    with fleet.database.read() as connection:
        return [entry.action for entry in reversed(audit.page(connection, limit=100))]


# -- one plan


def test_an_order_and_its_preview_name_the_same_devices_in_the_same_waves(fleet):
    before = planned(fleet)
    rollout_id = fleet.roll_out()
    made = fleet.installations(rollout_id)
    assert before.plan.wave_of() == {device_id: one.wave for device_id, one in made.items()}


def test_an_order_with_an_objection_leaves_nothing_behind(fleet):
    for changes in ({"selector": "id=dev-0,gone"}, {"waves": ("1",)}, {"policy": {"retries": -1}}, {"version": 3}):
        with pytest.raises((InputError, ConflictError)):
            fleet.roll_out(**changes)
    with fleet.database.read() as connection:
        assert rollouts.page(connection, limit=10) == ()
    assert fleet.events(EventKind.ROLLOUT_CREATED) == []
    assert decisions(fleet) == []


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"model": "gass"}, ["#/model"]),
        ({"version": 9}, ["#/version"]),
        ({"variant": "float32"}, ["#/variant"]),
        ({"version": 3}, ["#/version"]),
        ({"version": 3, "waves": ("1",), "intent": "x"}, ["#/version", "#/intent", "#/waves"]),
        ({"model": "gass", "deployment": "G"}, ["#/model", "#/deployment"]),
    ],
)
def test_each_field_that_is_wrong_is_pointed_at(fleet, changes, pointers):
    assert [one.pointer for one in planned(fleet, **changes).objections] == pointers


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"version": 9}, NotFoundError),
        ({"version": 3}, ConflictError),
        ({"version": 3, "intent": "x"}, InputError),
        ({"model": "gass", "intent": "x"}, InputError),
    ],
)
def test_what_is_wrong_decides_the_error_which_names_every_field(fleet, changes, kind):
    found = planned(fleet, **changes)
    with pytest.raises(kind) as caught:
        found.refuse()
    assert [pointer for pointer, _ in caught.value.fields] == [one.pointer for one in found.objections]
    assert all(detail in str(caught.value) for _, detail in caught.value.fields)


def test_a_withdrawn_artifact_is_told(fleet):
    fleet.withdraw(1)
    (objection,) = planned(fleet).objections
    assert "was withdrawn" in objection.detail


def test_a_plan_sees_groups_pins_and_other_rollouts(fleet):
    put_group(fleet)
    put_pin(fleet, "dev-0")
    fleet.roll_out(2)
    found = planned(fleet, selector="group=canaries or id=dev-0,dev-2").plan
    assert {one.device.id: one.standing.value for one in found.placements} == {
        "dev-0": "pinned",
        "dev-1": "taken",
        "dev-2": "taken",
    }


def test_a_device_that_runs_the_model_is_left_out(fleet):
    fleet.roll_out(selector="id=dev-0")
    fleet.commit("dev-0")
    fleet.report("dev-0", *_running("gas", digest_of(1)))
    assert {one.device.id: one.standing.value for one in planned(fleet).plan.placements} == {
        "dev-0": "current",
        "dev-1": "ready",
        "dev-2": "ready",
    }
    assert planned(fleet, version=2).plan.totals()["ready"] == 3


# -- groups


def test_a_group_is_made_changed_and_removed(fleet):
    assert put_group(fleet).revision == 1
    assert put_group(fleet).revision == 1  # nothing changed
    assert put_group(fleet, device_ids=["dev-2", "dev-0", "dev-2"]).revision == 2
    with fleet.database.read() as connection:
        group = targets.known_group(connection, "canaries")
        assert (group.selector, group.device_ids) == ("", ("dev-2", "dev-0"))
        assert targets.members(connection, group) == ("dev-0", "dev-2")
    with fleet.database.write() as connection:
        targets.remove_group(connection, "canaries", removed_by="me", now=fleet.now)
        assert groups.get(connection, "canaries") is None
    assert decisions(fleet) == ["group.set", "group.set", "group.removed"]
    assert len(fleet.events(EventKind.GROUP_CHANGED)) == 3


@pytest.mark.parametrize(
    ("name", "changes", "words", "pointer"),
    [
        ("C", {}, "not a group name: 'C'", "name"),
        ("canaries", {"selector": "sit=1"}, "unknown key 'sit'", "#/selector"),
        ("canaries", {"selector": "online, group=others"}, "names no other group, and this names others", "#/selector"),
        ("canaries", {"device_ids": ["dev-0", "gone"]}, "no enrolled device with id gone", "#/device_ids"),
    ],
)
def test_a_group_that_cannot_be_is_refused(fleet, name, changes, words, pointer):
    with pytest.raises(InputError, match=words) as caught:
        put_group(fleet, name, **changes)
    assert [one for one, _ in caught.value.fields] == ([] if pointer is None else [pointer])


def test_there_are_only_so_many_groups(fleet, monkeypatch):
    monkeypatch.setattr(limits, "MAX_GROUPS", 1)
    put_group(fleet)
    put_group(fleet, selector="online")
    with pytest.raises(ConflictError, match="there are 1 groups already"):
        put_group(fleet, "others")


@pytest.mark.parametrize(
    "values",
    [
        {"selector": "group=canaries", "waves": ("100%",)},
        {"waves": ("1", "group=canaries", "100%")},
        {"waves": ("1", "id=dev-0 or group=canaries", "100%"), "draft": True},
    ],
)
def test_a_group_that_a_rollout_names_stays_until_that_has_ended(fleet, values):
    put_group(fleet)
    rollout_id = fleet.roll_out(**values)
    with fleet.database.write() as connection, pytest.raises(ConflictError, match=rollout_id):
        targets.remove_group(connection, "canaries", removed_by="me", now=fleet.now)
    fleet.abort(rollout_id)
    with fleet.database.write() as connection:
        targets.remove_group(connection, "canaries", removed_by="me", now=fleet.now)


@pytest.mark.parametrize("values", [{"selector": "not group=canaries"}, {"waves": ["group=canaries", "100%"]}])
def test_a_group_that_a_retraining_policy_names_stays_until_that_is_changed(fleet, values):
    """Otherwise labels are bought and a model is trained before its rollout cannot begin."""
    put_group(fleet)
    with fleet.database.write() as connection:
        policies.put(connection, "gas", read_policy(values), updated_by="me", now=fleet.now)
        with pytest.raises(
            ConflictError, match="canaries is named by the retraining policy of gas; end or change that"
        ):
            targets.remove_group(connection, "canaries", removed_by="me", now=fleet.now)
        policies.put(connection, "gas", RetrainPolicy(), updated_by="me", now=fleet.now)
        targets.remove_group(connection, "canaries", removed_by="me", now=fleet.now)


@pytest.mark.parametrize(("mode", "holds"), [("auto", True), ("propose", False)])
def test_a_group_that_a_retraining_under_way_names_stays_until_that_has_ended(tmp_path, mode, holds):
    """It goes on by the policy that it began with; what is only proposed takes the one of its approval."""
    values = {"mode": mode, "labels": 4, "min_labels": 2, "waves": ["100%"]}
    loop = Loop(tmp_path, policy=values | {"selector": "group=canaries"})
    put_group(loop)
    loop.judge()
    going = loop.last()
    loop.allow(**values)
    with loop.database.write() as connection:
        if holds:
            with pytest.raises(ConflictError, match=f"canaries is named by {going.id} of gas"):
                targets.remove_group(connection, "canaries", removed_by="me", now=loop.now)
        else:
            targets.remove_group(connection, "canaries", removed_by="me", now=loop.now)
    loop.close()


def test_a_group_that_is_unknown_is_told_with_those_that_are_there(fleet):
    put_group(fleet)
    with fleet.database.read() as connection, pytest.raises(NotFoundError, match="no group 'x'; known groups: canar"):
        targets.known_group(connection, "x")


# -- pins


def test_a_pinned_device_is_never_asked(fleet):
    put_pin(fleet, "dev-0")
    rollout_id = fleet.roll_out(waves=("100%",))
    assert set(fleet.installations(rollout_id)) == {"dev-1", "dev-2"}


def test_a_device_that_is_pinned_before_its_turn_is_not_asked_until_the_pin_ends(fleet):
    fleet.go("dev-2")
    rollout_id = fleet.roll_out(waves=("1", "100%"))
    put_pin(fleet, "dev-1", until=fleet.now + timedelta(minutes=10))
    put_pin(fleet, "dev-2", deployment="gas")
    fleet.commit("dev-0")
    fleet.come("dev-2")
    states = fleet.states(rollout_id)
    assert (states["dev-1"], states["dev-2"]) == (InstallationState.PENDING, InstallationState.PENDING)
    fleet.wait(timedelta(minutes=11))
    assert fleet.states(rollout_id)["dev-1"] is InstallationState.OFFERED
    assert fleet.states(rollout_id)["dev-2"] is InstallationState.PENDING


def test_a_pin_takes_back_what_was_offered_and_it_forbids(fleet):
    fleet.roll_out(waves=("100%",))
    assert fleet.desired_digest("dev-0") == digest_of(1)
    put_pin(fleet, "dev-0")
    assert fleet.newest("dev-0").state is InstallationState.SUPERSEDED
    assert "pinned to what it runs by me" in fleet.newest("dev-0").detail
    assert fleet.desired_digest("dev-0") is None
    put_pin(fleet, "dev-1", digest=digest_of(1))
    put_pin(fleet, "dev-2", deployment="vibration")
    for device_id in ("dev-1", "dev-2"):
        assert fleet.newest(device_id).state is InstallationState.OFFERED


def second_on_all(fleet, **changes):
    """A rollout of version 2 that all devices have, where version 1 ran before."""
    for version in (1, 2):
        fleet.now += timedelta(seconds=1)
        rollout_id = fleet.roll_out(version, waves=("100%",), **changes)
        for device_id in fleet.ids:
            fleet.commit(device_id)
            state = DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(version))
            fleet.report(device_id, state)
    return rollout_id


def tell_all(fleet):
    """Every device tells that it runs what it should."""
    for device_id in fleet.ids:
        active = fleet.desired_digest(device_id)
        fleet.report(device_id, DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=active))
    fleet.wait(timedelta(seconds=2), step=timedelta(seconds=1))


def test_a_pinned_device_is_not_taken_back_and_named_and_one_that_is_pinned_to_another_model_is(fleet):
    rollout_id = second_on_all(fleet)
    put_pin(fleet, "dev-0")
    put_pin(fleet, "dev-1", digest=digest_of(1))
    abort_rollout(fleet.database, rollout_id, fleet.me("wrong"), roll_back=True)
    tell_all(fleet)
    assert [fleet.desired_digest(one) for one in fleet.ids] == [digest_of(2), digest_of(1), digest_of(1)]
    assert fleet.states(rollout_id)["dev-0"] is InstallationState.HEALTHY
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is RolloutState.ROLLED_BACK
    assert rollout.reason == "taken back by me: wrong; pinned and left as they are: 1 (dev-0)"


def test_a_device_whose_pin_ended_before_the_others_went_back_goes_back_with_them(fleet):
    rollout_id = second_on_all(fleet)
    put_pin(fleet, "dev-0")
    abort_rollout(fleet.database, rollout_id, fleet.me(), roll_back=True)
    unpin(fleet, "dev-0")
    fleet.run()
    assert {fleet.desired_digest(one) for one in fleet.ids} == {digest_of(1)}


def test_a_pin_does_not_keep_a_model_that_the_device_gave_up_itself(fleet):
    rollout_id = second_on_all(fleet)
    put_pin(fleet, "dev-0")
    crashed = DeploymentState(
        deployment="gas", state=UpdateState.ROLLED_BACK, reason=Reason.CRASHES, active=digest_of(1)
    )
    fleet.report("dev-0", crashed)
    assert fleet.states(rollout_id)["dev-0"] is InstallationState.REGRESSED
    abort_rollout(fleet.database, rollout_id, fleet.me(), roll_back=True)
    assert fleet.desired_digest("dev-0") == digest_of(1)


def test_a_wave_that_fails_takes_nothing_from_a_pinned_device(fleet):
    policy = Policy(bake=timedelta(0), retries=0, roll_back_on_failure=True, max_failure=0.3)
    rollout_id = fleet.roll_out(waves=("100%",), policy=policy)
    fleet.commit("dev-0")
    fleet.commit("dev-1")
    put_pin(fleet, "dev-0")
    fleet.say("dev-2", UpdateState.ROLLED_BACK, reason=Reason.INFERENCE)
    assert fleet.rollout(rollout_id).state is RolloutState.ROLLING_BACK
    assert [fleet.desired_digest(one) for one in fleet.ids] == [digest_of(1), None, None]


def test_a_late_device_that_fails_its_gate_keeps_the_model_as_long_as_it_is_pinned(fleet):
    fleet.go("dev-2")
    policy = Policy(bake=timedelta(0), retries=0, evidence_timeout=timedelta(minutes=1))
    rollout_id = fleet.roll_out(waves=("100%",), policy=policy)
    fleet.commit("dev-0")
    fleet.commit("dev-1")
    fleet.come("dev-2")
    fleet.commit("dev-2", shown=False)
    put_pin(fleet, "dev-2")
    fleet.wait(timedelta(minutes=5), step=timedelta(seconds=20))
    assert fleet.states(rollout_id)["dev-2"] is InstallationState.COMMITTED
    unpin(fleet, "dev-2")
    fleet.wait(timedelta(minutes=2), step=timedelta(seconds=20))
    assert fleet.states(rollout_id)["dev-2"] is InstallationState.ROLLED_BACK


def test_a_pin_to_another_model_than_what_runs_says_that_it_brings_none(fleet):
    second_on_all(fleet)
    words = f"deployment gas: it runs {digest_of(2)[:19]}, and a pin brings no model: begin a rollout of it"
    assert put_pin(fleet, "dev-0", digest=digest_of(1)) == words
    assert fleet.desired_digest("dev-0") == digest_of(2)
    assert put_pin(fleet, "dev-0", digest=digest_of(2)) == put_pin(fleet, "dev-0") == ""
    assert put_pin(fleet, "dev-0", deployment="vibration", digest=digest_of(1)) == ""


def test_a_pin_of_a_device_says_so_to_the_next_reader(fleet):
    put_pin(fleet, "dev-1", deployment="gas", digest=digest_of(1))
    put_pin(fleet, "dev-1")
    with fleet.database.read() as connection:
        assert [one.deployment for one in pins.of(connection, "dev-1")] == [None, "gas"]
        assert set(pins.every(connection)) == {"dev-1"}
        assert [one.deployment for one in pins.page(connection, limit=1)] == [None]
        assert [one.deployment for one in pins.page(connection, after=("dev-1", ""), limit=9)] == ["gas"]
    assert decisions(fleet) == ["device.pinned", "device.pinned"]
    assert [event.subject for event in fleet.events(EventKind.DEVICE_PINNED)] == ["dev-1", "dev-1"]


def test_a_pin_is_taken_away(fleet):
    put_pin(fleet, "dev-1", deployment="gas")
    with pytest.raises(NotFoundError, match="device dev-1 is not pinned as a whole"):
        unpin(fleet, "dev-1")
    unpin(fleet, "dev-1", "gas")
    with pytest.raises(NotFoundError, match="device dev-1 is not pinned for 'gas'"):
        unpin(fleet, "dev-1", "gas")
    assert planned(fleet).plan.totals()["ready"] == 3


def test_a_pin_that_cannot_be_is_refused(fleet):
    with pytest.raises(NotFoundError, match="no device 'dev-7'"):
        put_pin(fleet, "dev-7")
    with pytest.raises(NotFoundError, match="no artifact sha256:"):
        put_pin(fleet, "dev-0", digest="sha256:" + "9" * 64)
    with pytest.raises(InputError, match="has passed") as caught:
        put_pin(fleet, "dev-0", until=fleet.now)
    assert [pointer for pointer, _ in caught.value.fields] == ["#/until"]
    assert decisions(fleet) == []


# -- labels


def test_labels_are_given_and_taken_and_others_stay(fleet):
    targets.set_labels(fleet.database, "dev-0", {"hall": "3", "spare": ""}, set_by="me", now=fleet.now)
    targets.set_labels(fleet.database, "dev-0", {"hall": "4"}, without=["spare", "none"], set_by="me", now=fleet.now)
    targets.set_labels(fleet.database, "dev-0", {"hall": "4"}, set_by="me", now=fleet.now)  # nothing changes
    with fleet.database.read() as connection:
        assert devices.get(connection, "dev-0").labels == {"hall": "4"}
        assert len(events.after(connection, 0, [EventKind.DEVICE_LABELLED], limit=9)) == 2
    assert decisions(fleet) == ["device.labelled", "device.labelled"]


def test_a_device_has_only_so_many_labels(fleet):
    many = {f"key-{number}": "" for number in range(limits.MAX_LABELS)}
    targets.set_labels(fleet.database, "dev-0", many, set_by="me", now=fleet.now)
    with pytest.raises(InputError, match="65 labels; a device has 64 at most"):
        targets.set_labels(fleet.database, "dev-0", {"more": ""}, set_by="me", now=fleet.now)


def test_what_the_owner_says_of_a_device_is_not_kept_here_and_not_taken_away_here(fleet):
    with fleet.database.write() as connection:
        reported = devices.get(connection, "dev-0").reported
        facts = msgspec.structs.replace(reported.facts, labels={"hall": "1", "site": "lab"})
        devices.set_reported(connection, "dev-0", msgspec.structs.replace(reported, facts=facts), now=fleet.now)
    targets.set_labels(fleet.database, "dev-0", {"hall": "2"}, set_by="me", now=fleet.now)
    with fleet.database.read() as connection:
        assert devices.get(connection, "dev-0").labels == {"hall": "2", "site": "lab"}
        assert devices.labels_of(connection, "dev-0") == {"hall": "2"}
    with pytest.raises(InputError, match="the owner of dev-0 says site in its configuration"):
        targets.set_labels(fleet.database, "dev-0", {}, without=["site"], set_by="me", now=fleet.now)
    targets.set_labels(fleet.database, "dev-0", {}, without=["hall"], set_by="me", now=fleet.now)
    with fleet.database.read() as connection:
        assert devices.get(connection, "dev-0").labels == {"hall": "1", "site": "lab"}


def _running(deployment, digest):
    from edgeops.protocol.messages import DeploymentState

    return (DeploymentState(deployment=deployment, state=UpdateState.COMMITTED, active=digest),)
