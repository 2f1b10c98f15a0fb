"""Orders that cannot be carried out: a problem document that points at each field, and nothing half-created."""

import secrets

import pytest
from sqlalchemy import func, select

from edgeops.api.roles import Role
from fleet_server.db import models
from fleet_server.db.tables import control
from tests.contract.rig import assert_problem
from tests.contract.test_targets import ORDER, fleet  # noqa: F401 - the same fleet
from tests.unit.engine_rig import DESCRIPTOR, digest_of, target_of

WRONG = [
    ("nobody matches", {"to": "label.hall=9"}, 422, "#/to"),
    ("a device that is not there", {"to": "id=gone-0001"}, 422, "#/to"),
    ("an unknown key", {"to": "hal=3"}, 422, "#/to"),
    ("an unknown key in a wave", {"waves": ["hal=3", "100%"]}, 422, "#/waves/0"),
    ("no selector at all", {"to": "label.hall="}, 422, "#/to"),
    ("a deployment of nobody", {"deployment": "gass"}, 422, "#/deployment"),
    ("more successes than all", {"policy": {"min_success": 1.2}}, 422, "#/policy/min_success"),
    ("more devices than there are", {"policy": {"min_devices": 9}}, 422, "#/policy/min_devices"),
    ("a threshold of health below nothing", {"policy": {"health": {"max_loss": -1}}}, 422, "#/policy/health/max_loss"),
    ("an unknown threshold", {"policy": {"retrys": 1}}, 422, "#/policy/retrys"),
    ("tables without end", {"policy": {"bake": [[[[[[[[]]]]]]]]}}, 422, "#/policy/bake/0/0/0/0/0/0/0"),
    ("waves that end before all", {"waves": ["1"]}, 422, "#/waves"),
    ("waves that shrink", {"waves": ["100%", "50%", "100%"]}, 422, "#/waves/1"),
    ("no wave", {"waves": ["half"]}, 422, "#/waves/0"),
    ("a start after the end of the calendar", {"starts_at": "9999-12-31T23:59:59-23:59"}, 422, "#/starts_at"),
    ("a start before its beginning", {"starts_at": "0001-01-01T00:00:00+10:00"}, 422, "#/starts_at"),
    ("an unknown model", {"model": "gass"}, 404, "#/model"),
    ("an unknown version", {"version": 9}, 404, "#/version"),
    ("an unknown variant", {"variant": "float32"}, 404, "#/variant"),
    ("compatible with nobody", {"to": "id=odd-0001"}, 422, "#/variant"),
    ("unsigned", {"version": 2}, 409, "#/version"),
    ("awaiting its signature", {"version": 3}, 409, "#/version"),
    ("withdrawn", {"version": 4}, 409, "#/version"),
]


@pytest.fixture(scope="module")
def orders(fleet):  # noqa: F811
    """The fleet, and versions that no device would run."""
    with fleet.database.write() as connection:
        for version in (2, 3, 4):
            models.add_version(connection, "gas", version, task="classification", run_id="run-1", now=fleet.now)
            artifact = models.Artifact(
                digest=digest_of(version), model="gas", version=version, variant="int8", size_bytes=1, tflite_bytes=1,
                target=target_of(version), descriptor=DESCRIPTOR, created_at=fleet.now, published_at=None,
                withdrawn_at=fleet.now if version == 4 else None,
            )  # fmt: skip
            models.add_artifact(connection, artifact)
            if version == 3:
                models.mark_awaiting_signature(connection, artifact, fleet.now)
    return fleet


def everything(rig):
    """How many rows each table has."""
    with rig.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in control.sorted_tables
        }


@pytest.mark.parametrize(
    ("changes", "status", "pointer"), [one[1:] for one in WRONG], ids=[one[0].replace(" ", "-") for one in WRONG]
)
def test_an_order_that_cannot_be_points_at_its_field_and_leaves_nothing(orders, changes, status, pointer):
    before = everything(orders)
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    for _ in range(2):  # the same request again is refused again
        answer = orders.request("POST", "/api/v1/rollouts", role=Role.OPERATOR, json=ORDER | changes, headers=headers)
        told = assert_problem(answer, status)["errors"]
        assert [one["pointer"] for one in told] == [pointer]
        assert told[0]["detail"]
    assert everything(orders) == before


def test_a_repeated_order_begins_one_rollout(orders):
    headers = {"Idempotency-Key": "an-order-sent-twice"}
    first, second = (
        orders.request("POST", "/api/v1/rollouts", role=Role.OPERATOR, json=ORDER, headers=headers) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert [one.id for one in orders.client().rollouts()] == [first.json()["id"]]
    stale = orders.request(
        "POST", f"/api/v1/rollouts/{first.json()['id']}/abort", role=Role.OPERATOR, headers={"If-Match": '"99"'}
    )
    assert_problem(stale, 412)
    assert [one.state for one in orders.client().rollouts()] == ["running"]
