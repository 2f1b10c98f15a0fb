"""Incidents through the API: listed, read, closed once."""

import pytest

from edgeops.api.roles import Role
from edgeops.errors import AccessError, ConflictError, NotFoundError
from edgeops.rollout.deviation import Cause, Deviation
from fleet_server.db import incidents
from tests.contract.rig import ApiRig

SHOULD = f"sha256:{'a' * 64}"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    rig = ApiRig(tmp_path_factory.mktemp("api"))
    rig.enrol_device("pump-0001")
    yield rig
    rig.close()


def test_an_incident_is_listed_read_and_closed_once_by_a_person(api):
    found = Deviation(cause=Cause.NO_MODEL, should=SHOULD, runs=None, heals_by_asking=True)
    with api.database.write() as connection:
        begun = incidents.begin(connection, "pump-0001", "pump", found, now=api.now)
    client = api.client(Role.OPERATOR)
    assert [one.id for one in client.incidents(is_open=True)] == [begun.id]
    assert list(client.incidents(is_open=False)) == []
    assert list(client.incidents(device_id="pump-0002")) == []
    with pytest.raises(AccessError):
        api.client(Role.VIEWER).close_incident(begun.id)
    closed = client.close_incident(begun.id, remark="on the bench")
    assert (closed.cause, closed.should, closed.runs) == ("no-model", SHOULD, None)
    assert (closed.closed_at, closed.closed_by, closed.remark) == (api.now, "a operator", "on the bench")
    with pytest.raises(ConflictError, match="closed already"):
        client.close_incident(begun.id)
    assert [one.id for one in client.incidents(is_open=False)] == [begun.id]
    with pytest.raises(NotFoundError, match="edgeops incident list"):
        client.close_incident("incident-none")
