"""Every call that changes something is in the audit trail, in the name of its caller."""

import re

import pytest

from edgeops.api.roles import Role
from fleet_server.db import audit
from tests.contract.seeds import SeededRig
from tests.contract.test_access_matrix import LEAST_ROLE

#: A question; and what devices say of themselves through an operator's program.
NO_DECISION = {
    ("POST", "/api/v1/rollouts/preview"),
    ("POST", "/api/v1/datasets/preview"),
    ("POST", "/api/v1/runs/preview"),
    ("POST", "/api/v1/models/{name}/drift/check"),
    ("POST", "/api/v1/models/{name}/feedback"),
}
#: A change that is published already changes nothing (test_key_changes_audit).
ELSEWHERE = {("POST", "/api/v1/keys/changes")}
CHANGES = sorted(key for key in LEAST_ROLE if key[0] != "GET" and key not in NO_DECISION | ELSEWHERE)


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = SeededRig(tmp_path_factory.mktemp("audited"))
    yield rig
    rig.close()


def entries(rig):
    with rig.database.read() as connection:
        return [(one.id, one.actor) for one in audit.oldest_first(connection)]


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_change_is_told_with_who_made_it(rig, method, path):
    seeds = rig.seed(method, path)
    address = re.sub(r"\{([a-z_]+)\}", lambda one: str(seeds["path"][one[1]]), path)
    body = seeds.get("body")
    content = {"json": body}
    if path in {"/api/v1/datasets", "/api/v1/datasets/inspect", "/api/v1/models"}:
        fields = {name: value for name, value in body.items() if name != "file"}
        content = {"data": fields, "files": {"file": ("a.csv", body["file"])}}
    elif isinstance(body, bytes):
        content = {"content": body}
    before = entries(rig)
    answer = rig.request(method, address, role=Role.ADMIN, **content)
    assert answer.status_code < 300, answer.text
    told = entries(rig)[len(before) :]
    # Of an enrolment it is whoever made the token.
    assert "a admin" in {actor for _, actor in told}


def test_what_only_asks_adds_nothing(rig):
    reads = [path for (method, path), role in LEAST_ROLE.items() if method == "GET" and role is not None]
    known = [(path, rig.seed("GET", path).get("path", {})) for path in reads if "stream" not in path]
    before = entries(rig)
    for path, values in known:
        rig.request("GET", re.sub(r"\{([a-z_]+)\}", lambda one: str(values.get(one[1], 1)), path), role=Role.ADMIN)  # noqa: B023 - called at once
    assert entries(rig) == before
