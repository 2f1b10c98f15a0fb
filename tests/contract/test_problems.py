"""Every failure is a problem document (RFC 9457) that names what and where."""

import re
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeops.api.roles import Role
from edgeops.api.shapes import Problem
from fleet_server.api.promises import MEDIA_TYPE
from tests.contract.rig import assert_problem
from tests.contract.test_access_matrix import LEAST_ROLE

#: What makes the thing that is not there.
_MAKES = ("PUT", "/api/v1/groups/{name}")
UNKNOWN = [key for key in LEAST_ROLE if "{" in key[1] and key != _MAKES]
PAGES = [
    f"/api/v1/{noun}" for noun in ("devices", "quarantine", "datasets", "runs", "models", "jobs", "rollouts", "tokens")
]
PAGES += ["/api/v1/retrainings", "/api/v1/devices/{device_id}/telemetry", "/api/v1/devices/{device_id}/predictions"]
UPLOADS = ("/api/v1/datasets", "/api/v1/datasets/inspect", "/api/v1/models")
JSON_BODIES = sorted(
    path
    for method, path in LEAST_ROLE
    if method == "POST"
    and path not in {*UPLOADS, "/api/v1/labels/csv", "/api/v1/keys/changes"}
    and not path.endswith(
        ("/abort", "/cancel", "/release", "/drift/check", "/authorities", "/switch", "/test", "/reproduce")
    )
)
#: What is looked at before the thing that it is about.
NEEDED_BODIES = {
    "/api/v1/models/{name}/feedback": {"device_id": "dev-1", "deployment": "gas", "input_id": "1", "label": "red"},
    "/api/v1/models/{name}/retraining/policy": {},
    "/api/v1/models/{name}/promotion/policy": {},
    "/api/v1/models/{name}/versions/{version}/override": {"remark": "a rehearsal"},
    "/api/v1/devices/{device_id}/pin": {},
    "/api/v1/devices/{device_id}/labels": {},
    "/api/v1/models/{name}/aliases/{alias}": {"version": 7},
    "/api/v1/incidents/{incident_id}/close": {},
    "/api/v1/rollouts/{rollout_id}/advance": {"remark": "looked at it"},
    "/api/v1/datasets/{name}/forget": {"group": "g1"},
    "/api/v1/datasets/{name}/erase": {"group": "g1"},
}
NEEDED_QUERIES = {
    "/api/v1/datasets/{name}/difference": {"to": "7"},
    "/api/v1/runs/{run_id}/difference": {"to": "7"},
    "/api/v1/devices/{device_id}/lineage": {"deployment": "gas"},
    "/api/v1/datasets/{name}/groups": {"group": "g1"},
}
#: Each status of a failure that some operation may end in.
PROMISED = {"401", "403", "404", "409", "412", "413", "416", "422", "5XX"}


@pytest.fixture(scope="module")
def device(rig):
    return rig.enrol_device("pump-0001")


def example(path):
    path = path.replace("{alias}", "champion")
    return re.sub(r"\{[a-z_]+\}", "7", path)


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
def test_an_unknown_thing_is_a_404_that_says_which(rig, method, path):
    body, query = None if method == "GET" else NEEDED_BODIES.get(path), NEEDED_QUERIES.get(path)
    problem = assert_problem(rig.request(method, example(path), role=Role.ADMIN, json=body, params=query), 404)
    assert "7" in problem["detail"]


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1", "/api/v2/devices", "/api/v1/devices/", "/docs", "/redoc", "/api/v1/docs"]
)
def test_an_unknown_path_is_a_404(rig, path):
    assert path in assert_problem(rig.request("GET", path), 404)["detail"]


@pytest.mark.parametrize("path", sorted({example(path) for _, path in LEAST_ROLE}))
def test_a_method_that_a_path_does_not_take_is_a_405(rig, path):
    answer = rig.request("PATCH", path, role=Role.ADMIN)
    assert_problem(answer, 405)
    there = {method for method, each in LEAST_ROLE if example(each) == path}
    assert there <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=%00", "cursor"),
        ("cursor=gqFh", "cursor"),
    ],
)
def test_a_query_that_cannot_be_used_is_a_422_that_names_the_parameter(rig, device, path, query, name):
    answer = rig.request("GET", f"{path.format(device_id=device)}?{query}", role=Role.ADMIN)
    assert [error["pointer"] for error in assert_problem(answer, 422)["errors"]] == [name]


@pytest.mark.parametrize("path", ["devices", "devices/pump-0001", "fleet/telemetry", "keys", "pins"])
def test_a_parameter_that_an_operation_does_not_have_is_refused_by_name(rig, device, path):
    answer = rig.request("GET", f"/api/v1/{path}?limti=1&limit=1", role=Role.VIEWER)
    problem = assert_problem(answer, 422)
    assert "limti" in {one["pointer"] for one in problem["errors"]}


def test_who_misspells_a_parameter_of_an_order_changes_nothing(rig, device):
    rig.request("PUT", f"/api/v1/devices/{device}/pin", role=Role.OPERATOR, json={"deployment": "gas"})
    pin = f"/api/v1/devices/{device}/pin"
    problem = assert_problem(rig.request("DELETE", f"{pin}?deploymnt=gas", role=Role.OPERATOR), 422)
    assert "there are: deployment" in problem["errors"][0]["detail"]
    assert rig.request("DELETE", f"{pin}?deployment=gas", role=Role.OPERATOR).status_code == 204


@pytest.mark.parametrize("path", JSON_BODIES)
@pytest.mark.parametrize("body", [b"{", b'"text"', b"[]", b"\xff\xfe", b"p\xd7\x05", b'{"surprise": 1}'])
def test_a_body_that_cannot_be_used_is_a_422_with_pointers(rig, path, body):
    answer = rig.request(
        "POST", example(path), role=Role.ADMIN, content=body, headers={"Content-Type": "application/json"}
    )
    problem = assert_problem(answer, 422)
    assert problem["errors"]
    assert all(error["pointer"].startswith("#") and error["detail"] for error in problem["errors"])


def test_each_wrong_field_is_named(rig):
    body = {"dataset": "gas", "model": "Gas!", "seed": -1, "epochs": 0}
    problem = assert_problem(rig.request("POST", "/api/v1/runs", role=Role.OPERATOR, json=body), 422)
    assert {error["pointer"] for error in problem["errors"]} == {"#/model", "#/seed", "#/epochs"}


def test_an_upload_without_its_fields_names_them(rig):
    answer = rig.request("POST", "/api/v1/datasets", role=Role.OPERATOR, files={"file": ("a.csv", b"a,b\n1,2\n")})
    problem = assert_problem(answer, 422)
    assert {error["pointer"] for error in problem["errors"]} == {"#/name"}


@pytest.mark.parametrize("path", ["/api/v1/datasets", "/api/v1/models"])
def test_an_upload_without_its_file_says_so(rig, path):
    for content in ({"data": {"name": "abc", "label": "y"}}, {"files": {"other": ("a", b"b")}}, {"json": {}}):
        answer = rig.request("POST", path, role=Role.OPERATOR, **content)
        assert assert_problem(answer, 422)["errors"][0]["pointer"] == "#/file"


def test_a_document_beyond_its_limit_is_a_413(rig):
    body = b'{"name": "' + b"x" * (2 << 20) + b'", "role": "viewer"}'
    answer = rig.request("POST", "/api/v1/tokens", role=Role.ADMIN, content=body)
    assert "1048576" in assert_problem(answer, 413)["detail"]


def test_a_large_body_of_unknown_length_is_a_413(rig):
    chunks = (b"x" * 65536 for _ in range(64))
    assert_problem(rig.request("POST", "/api/v1/tokens", role=Role.ADMIN, content=chunks), 413)


@pytest.mark.parametrize("path", UPLOADS)
def test_a_file_may_be_larger_than_a_document(rig, path):
    answer = rig.request("POST", path, role=Role.OPERATOR, files={"file": ("a", b"x" * (4 << 20))})
    assert answer.status_code in {202, 422}, answer.text


@pytest.mark.parametrize("path", UPLOADS)
def test_nobody_uploads_before_their_role_was_checked(rig, path):
    before = set(rig.config.blobs.rglob("*"))
    answer = rig.request("POST", path, role=Role.VIEWER, files={"file": ("a", b"x" * (4 << 20))})
    assert_problem(answer, 403)
    assert set(rig.config.blobs.rglob("*")) == before


def test_the_openapi_document_promises_problems_and_only_problems(rig):
    document = rig.http.get("/api/v1/openapi.json").json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            failures = {status: answer for status, answer in operation["responses"].items() if status[0] != "2"}
            assert {"422", "5XX"} <= set(failures) <= PROMISED, path
            assert ("401" in failures) == ("security" in operation) or path.startswith("/blobs"), path
            assert all(set(answer["content"]) == {MEDIA_TYPE} for answer in failures.values()), path
    assert set(document["components"]["schemas"]["Problem"]["properties"]) == set(Problem.model_fields)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(sorted(LEAST_ROLE)),
    name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    query=st.dictionaries(
        st.sampled_from(
            ["cursor", "limit", "from", "to", "channel", "deployment", "digest", "split", "labels", "device"]
        ),
        st.text(max_size=60) | st.integers().map(str) | st.datetimes().map(str),
        max_size=4,
    ),
    body=st.none()
    | st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
        max_leaves=10,
    ),
)
def test_no_input_finds_a_bug(rig, key, name, query, body):
    method, path = key
    address = re.sub(r"\{[a-z_]+\}", quote(name, safe=""), path)
    answer = rig.request(method, address, role=Role.ADMIN, params=query, json=body)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert_problem(answer, answer.status_code)


def test_no_text_that_is_taken_may_hold_what_not_every_database_keeps(rig):
    """PostgreSQL keeps no NUL in a text."""
    described = rig.request("GET", "/api/v1/openapi.json", role=Role.VIEWER).json()
    bodies = {
        f"{method} {path}": body["schema"]
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        for media, body in operation.get("requestBody", {}).get("content", {}).items()
        if media == "application/json"
    }
    open_fields = {f"{name}: {place}" for name, schema in bodies.items() for place in _free_texts(described, schema)}
    assert len(bodies) >= 30
    assert not open_fields


def _free_texts(described, schema, place="#", seen=frozenset()):
    """Where a text may be anything at all."""
    if name := schema.get("$ref", "").rpartition("/")[2]:
        if name not in seen:
            yield from _free_texts(described, described["components"]["schemas"][name], place, seen | {name})
        return
    if schema.get("type") == "string" and not {"pattern", "enum", "const", "format"} & set(schema):
        yield place
    for field, part in schema.get("properties", {}).items():
        yield from _free_texts(described, part, f"{place}/{field}", seen)
    for kind in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for part in schema.get(kind, ()):
            yield from _free_texts(described, part, place, seen)
    for kind in ("items", "additionalProperties", "propertyNames"):
        if isinstance(schema.get(kind), dict):
            yield from _free_texts(described, schema[kind], f"{place}/*", seen)
