"""ETag and If-Match: nobody overwrites what they have not seen."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import func, select

from edgeops.api.roles import Role
from edgeops.api.wire import NEW
from edgeops.errors import ConflictError
from edgeops.protocol.messages import Intent
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutState
from edgeops.rollout.waves import Wave as PlannedWave
from fleet_server.db import rollouts, tables
from fleet_server.db.identifiers import new_id
from tests.contract.loop_rig import LoopRig
from tests.contract.rig import assert_problem
from tests.unit.drift_rig import digest

POLICY = "/api/v1/models/tiny/retraining/policy"


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = LoopRig(tmp_path_factory.mktemp("editions"))
    yield rig
    rig.close()


@pytest.fixture
def rollout(rig):
    """A rollout that runs, as a reader sees it."""
    with rig.database.write() as connection:
        one = rollouts.Rollout(
            id=new_id("rollout", rig.now),
            model="tiny",
            version=1,
            variant="int8",
            digest=digest(),
            target="models/tiny/1-int8.json",
            deployment="bench",
            selector="all",
            intent=Intent.IMPROVE,
            policy=Policy(),
            state=RolloutState.RUNNING,
            created_by="ann",
            created_at=rig.now,
        )
        rollouts.add(connection, one, [PlannedWave((Candidate(id="edge-1", name="edge-1", online=True),))])
    return read(rig, one.id)


def abort(rig, rollout_id, tag):
    headers = {} if tag is None else {"If-Match": tag}
    return rig.request("POST", f"/api/v1/rollouts/{rollout_id}/abort", role=Role.OPERATOR, headers=headers)


def read(rig, rollout_id):
    return rig.request("GET", f"/api/v1/rollouts/{rollout_id}", role=Role.VIEWER)


def test_a_rollout_comes_with_its_revision_as_etag(rig, rollout):
    assert rollout.headers["etag"] == f'"{rollout.json()["revision"]}"'
    assert read(rig, rollout.json()["id"]).headers["etag"] == rollout.headers["etag"]


def test_who_saw_the_present_edition_may_change_it_and_gets_the_next(rig, rollout):
    answer = abort(rig, rollout.json()["id"], rollout.headers["etag"])
    assert answer.status_code == 200
    assert answer.headers["etag"] == f'"{answer.json()["revision"]}"' != rollout.headers["etag"]


@pytest.mark.parametrize("tag", ['"0"', 'W/"1"', '"0", "99"', '""'])
def test_who_saw_another_edition_changes_nothing(rig, rollout, tag):
    problem = assert_problem(abort(rig, rollout.json()["id"], tag), 412)
    assert "read it again" in problem["detail"]
    assert [one["pointer"] for one in problem["errors"]] == ["If-Match"]
    assert read(rig, rollout.json()["id"]).json()["state"] == rollout.json()["state"]


@pytest.mark.parametrize("tag", [None, "*", '"0", "1"'])
def test_who_demands_no_edition_or_lists_the_present_one_is_let_through(rig, rollout, tag):
    assert abort(rig, rollout.json()["id"], tag).status_code == 200


def test_an_illegal_transition_is_a_409_whatever_was_seen(rig, rollout):
    ended = abort(rig, rollout.json()["id"], None)
    assert_problem(abort(rig, rollout.json()["id"], ended.headers["etag"]), 409)


@pytest.mark.parametrize("tag", ["1", '"1', "x, y", '"1",'])
def test_what_is_no_etag_is_refused_by_name(rig, rollout, tag):
    problem = assert_problem(abort(rig, rollout.json()["id"], tag), 422)
    assert [one["pointer"] for one in problem["errors"]] == ["If-Match"]


def test_an_unknown_thing_is_a_404_whatever_was_seen(rig):
    assert_problem(abort(rig, "rollout-0", '"1"'), 404)


def test_of_changes_at_once_by_people_who_saw_the_same_one_is_made(rig):
    seen = rig.request("GET", POLICY, role=Role.VIEWER).headers["etag"]

    def put(labels):
        headers = {"If-Match": seen}
        return rig.request("PUT", POLICY, role=Role.OPERATOR, headers=headers, json={"labels": labels}).status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(put, range(40, 46))) == [200, *[412] * 5]


def test_the_etag_of_a_policy_is_that_of_its_values(rig):
    first = rig.request("PUT", POLICY, role=Role.OPERATOR, json={"labels": 7}).headers["etag"]
    second = rig.request("PUT", POLICY, role=Role.OPERATOR, json={"labels": 8}).headers["etag"]
    again = rig.request("PUT", POLICY, role=Role.OPERATOR, json={"labels": 7}).headers["etag"]
    assert first == again != second
    assert rig.request("GET", POLICY, role=Role.VIEWER).headers["etag"] == again


def test_the_command_line_changes_a_rollout_only_as_it_was_shown(rig, rollout, capsys):
    rollout_id, seen = rollout.json()["id"], rollout.json()["revision"]
    assert rig.edgeops("rollout", "pause", rollout_id, "--revision", str(seen)) == 0
    assert rig.edgeops("rollout", "resume", rollout_id, "--revision", str(seen)) == 6
    assert "read it again and decide anew" in capsys.readouterr().err
    assert read(rig, rollout_id).json()["state"] == "paused"


def test_a_policy_is_changed_only_as_it_was_read(rig):
    seen = rig.operator.retraining_policy("tiny")
    rig.operator.set_retraining_policy("tiny", {"labels": 51})
    with pytest.raises(ConflictError, match="read it again and decide anew"):
        rig.operator.set_retraining_policy("tiny", {"labels": 52}, edition=seen.edition)
    assert rig.edgeops("retrain", "policy", "tiny", "--seed", "3") == 0
    assert rig.operator.retraining_policy("tiny").labels == 51


def test_a_frozen_fleet_says_by_whom(rig, capsys):
    assert rig.edgeops("rollout", "frozen") == 0
    assert rig.edgeops("rollout", "freeze", "--remark", "harvest") == 0
    assert rig.edgeops("rollout", "frozen") == 0
    assert "harvest" in capsys.readouterr().out
    assert rig.edgeops("rollout", "thaw") == 0


def test_a_pin_comes_with_an_edition_that_a_list_shows_as_well(rig):
    path = "/api/v1/devices/edge-1/pin"
    first = rig.request("PUT", path, role=Role.OPERATOR, json={"reason": "audit"})
    (listed,) = [one for one in rig.operator.pins.every() if one.device_id == "edge-1"]
    assert first.headers["etag"] == f'"{first.json()["edition"]}"' == f'"{listed.edition}"'
    rig.operator.pins.put("edge-1", reason="theirs", edition=listed.edition)
    for method, body in (("PUT", {"json": {"reason": "mine"}}), ("DELETE", {})):
        seen = {"If-Match": first.headers["etag"]}
        assert_problem(rig.request(method, path, role=Role.OPERATOR, headers=seen, **body), 412)
    (left,) = [one for one in rig.operator.pins.every() if one.device_id == "edge-1"]
    assert left.reason == "theirs"
    rig.operator.pins.remove("edge-1", edition=left.edition)


def test_what_was_taken_away_meanwhile_does_not_come_back(rig):
    seen = rig.operator.groups.put("gone", selector="all").revision
    rig.operator.groups.remove("gone")
    with pytest.raises(ConflictError, match="it was taken away meanwhile"):
        rig.operator.groups.put("gone", selector="not all", edition=seen)
    pin = rig.operator.pins.put("edge-1", reason="audit")
    rig.operator.pins.remove("edge-1")
    with pytest.raises(ConflictError, match="it was taken away meanwhile"):
        rig.operator.pins.put("edge-1", reason="other", edition=pin.edition)
    assert [one.device_id for one in rig.operator.pins.every()] == []


def test_who_saw_none_makes_none_anew(rig):
    rig.operator.groups.put("fresh", selector="all", edition=NEW)
    with pytest.raises(ConflictError, match="there is one by now"):
        rig.operator.groups.put("fresh", selector="not all", edition=NEW)
    assert rig.operator.groups.get("fresh").selector == "all"
    problem = rig.request(
        "PUT", "/api/v1/groups/fresh", role=Role.OPERATOR, headers={"If-None-Match": '"1"'}, json={"selector": "all"}
    )
    assert [one["pointer"] for one in assert_problem(problem, 422)["errors"]] == ["If-None-Match"]


#: A thing, what it was before, what it shall be, and what somebody else makes of it.
PUTS = [
    ("/api/v1/groups/lost", {"selector": "not all"}, {"selector": "all"}, {"selector": "id=edge-1"}),
    ("/api/v1/devices/edge-2/pin", {"reason": "harvest"}, {"reason": "audit"}, {"reason": "fair"}),
    (POLICY, {"labels": 61}, {"labels": 62}, {"labels": 63}),
]


def traces(rig):
    """What was written down of decisions, and of news."""
    with rig.database.read() as connection:
        counts = [select(func.count()).select_from(table) for table in (tables.audit, tables.events)]
        return [connection.execute(count).scalar_one() for count in counts]


def put(rig, path, body, role=Role.OPERATOR, **headers):
    return rig.request("PUT", path, role=role, headers=headers, json=body)


@pytest.mark.parametrize(("path", "before", "body", "theirs"), PUTS)
def test_a_put_whose_answer_was_lost_is_answered_when_it_comes_again(rig, path, before, body, theirs):
    seen = put(rig, path, before).headers["etag"]
    first = put(rig, path, body, **{"If-Match": seen})
    written = traces(rig)
    again = put(rig, path, body, **{"If-Match": seen})
    assert (again.status_code, again.headers["etag"]) == (200, first.headers["etag"]) != (200, seen)
    assert again.json() == first.json()
    assert traces(rig) == written
    put(rig, path, theirs)
    written = traces(rig)
    assert_problem(put(rig, path, body, **{"If-Match": seen}), 412)
    assert traces(rig) == written


@pytest.mark.parametrize(("path", "body", "theirs"), [(path, body, theirs) for path, _, body, theirs in PUTS[:2]])
def test_a_first_put_whose_answer_was_lost_is_answered_when_it_comes_again(rig, path, body, theirs):
    rig.request("DELETE", path, role=Role.OPERATOR)
    first = put(rig, path, body, **{"If-None-Match": "*"})
    written = traces(rig)
    again = put(rig, path, body, **{"If-None-Match": "*"})
    assert (again.status_code, again.headers["etag"], again.json()) == (200, first.headers["etag"], first.json())
    assert_problem(put(rig, path, theirs, **{"If-None-Match": "*"}), 412)
    assert traces(rig) == written


def test_the_pin_of_another_person_is_another_though_it_says_the_same(rig):
    path, before, body, _ = PUTS[1]
    seen = put(rig, path, before).headers["etag"]
    put(rig, path, body, role=Role.ADMIN)
    assert_problem(put(rig, path, body, **{"If-Match": seen}), 412)
    (left,) = [one for one in rig.operator.pins.every() if one.device_id == "edge-2"]
    assert left.pinned_by == "a admin"
    rig.operator.pins.remove("edge-2")


def test_the_edition_of_a_pin_is_the_same_wherever_the_clock_stands_that_it_ends_by(rig):
    until = datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    pin = rig.operator.pins.put("edge-1", reason="audit", until=until)
    (read,) = [one for one in rig.operator.pins.every() if one.device_id == "edge-1"]
    assert (pin.edition, pin.until) == (read.edition, until)
    rig.operator.pins.remove("edge-1", edition=pin.edition)


def test_a_freeze_whose_answer_was_lost_may_be_sent_again(rig):
    for _ in range(2):
        assert rig.request("PUT", "/api/v1/freeze", role=Role.OPERATOR, json={"remark": "harvest"}).status_code == 200
    assert_problem(rig.request("PUT", "/api/v1/freeze", role=Role.OPERATOR, json={"remark": "fair"}), 409)
    for _ in range(2):
        assert rig.request("DELETE", "/api/v1/freeze", role=Role.OPERATOR).json() == {"freeze": None}
