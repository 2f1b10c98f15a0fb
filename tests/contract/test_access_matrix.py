"""Which role may call which endpoint, for every endpoint there is."""

import re

import pytest

from edgeops.api.roles import Role
from tests.contract.rig import assert_problem

#: Who may do what a role is there for.
MAY = {
    Role.VIEWER: set(Role),
    Role.DATA_SCIENTIST: {Role.DATA_SCIENTIST, Role.OPERATOR, Role.ADMIN},
    Role.OPERATOR: {Role.OPERATOR, Role.ADMIN},
    Role.APPROVER: {Role.APPROVER, Role.ADMIN},
    Role.ADMIN: {Role.ADMIN},
}
#: Everything that the API offers, and the role that it is there for; None = open.
LEAST_ROLE = {
    ("GET", "/api/v1/health"): None,
    ("POST", "/api/v1/enrol"): None,
    ("GET", "/api/v1/authorities"): None,
    ("GET", "/api/v1/time"): None,
    ("GET", "/tuf/metadata/{name}"): None,
    ("GET", "/tuf/targets/{path}"): None,
    # No role but a device's pass opens it (test_ranges).
    ("GET", "/blobs/{name}"): None,
    ("GET", "/api/v1/restorations"): Role.VIEWER,
    ("GET", "/api/v1/audit"): Role.VIEWER,
    ("GET", "/api/v1/audit/export"): Role.VIEWER,
    ("GET", "/api/v1/audit/verify"): Role.VIEWER,
    ("GET", "/api/v1/keys"): Role.VIEWER,
    ("GET", "/api/v1/keys/today"): Role.VIEWER,
    ("POST", "/api/v1/keys/next"): Role.ADMIN,
    ("POST", "/api/v1/keys/changes"): Role.OPERATOR,
    ("GET", "/api/v1/devices"): Role.VIEWER,
    ("GET", "/api/v1/devices/{device_id}"): Role.VIEWER,
    ("GET", "/api/v1/devices/{device_id}/telemetry"): Role.VIEWER,
    ("GET", "/api/v1/devices/{device_id}/predictions"): Role.VIEWER,
    ("GET", "/api/v1/devices/{device_id}/predictions/latest"): Role.VIEWER,
    ("GET", "/api/v1/quarantine"): Role.VIEWER,
    ("GET", "/api/v1/incidents"): Role.VIEWER,
    ("GET", "/api/v1/incidents/{incident_id}"): Role.VIEWER,
    ("POST", "/api/v1/incidents/{incident_id}/close"): Role.OPERATOR,
    ("GET", "/api/v1/fleet/telemetry"): Role.VIEWER,
    ("GET", "/api/v1/fleet/windows"): Role.VIEWER,
    ("GET", "/api/v1/events"): Role.VIEWER,
    ("GET", "/api/v1/events/stream"): Role.VIEWER,
    ("GET", "/api/v1/samples/{sample_id}"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/samples"): Role.VIEWER,
    ("GET", "/api/v1/datasets"): Role.VIEWER,
    ("GET", "/api/v1/datasets/{name}"): Role.VIEWER,
    ("GET", "/api/v1/datasets/{name}/rows"): Role.VIEWER,
    ("GET", "/api/v1/datasets/{name}/difference"): Role.VIEWER,
    ("GET", "/api/v1/datasets/{name}/quarantine"): Role.VIEWER,
    ("GET", "/api/v1/datasets/{name}/groups"): Role.VIEWER,
    ("GET", "/api/v1/recipes"): Role.VIEWER,
    ("GET", "/api/v1/runs"): Role.VIEWER,
    ("GET", "/api/v1/runs/{run_id}"): Role.VIEWER,
    ("GET", "/api/v1/runs/{run_id}/epochs"): Role.VIEWER,
    ("GET", "/api/v1/benchmarks/{benchmark_id}"): Role.VIEWER,
    ("POST", "/api/v1/benchmarks"): Role.OPERATOR,
    ("GET", "/api/v1/runs/{run_id}/difference"): Role.VIEWER,
    ("GET", "/api/v1/runs/{run_id}/picture"): Role.VIEWER,
    ("GET", "/api/v1/models"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/versions/{version}"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/versions/{version}/artifacts/{variant}"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/versions/{version}/artifacts/{variant}/descriptor"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/versions/{version}/bom"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/versions/{version}/card"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/versions/{version}/choice"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/versions/{version}/choice.svg"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/versions/{version}/lineage"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/history"): Role.VIEWER,
    ("GET", "/api/v1/devices/{device_id}/lineage"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/aliases"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/drift"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/drift/history"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/labels"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/labels/queue"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/labels/queue.csv"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/retraining/policy"): Role.VIEWER,
    ("GET", "/api/v1/models/{name}/retrainings"): Role.VIEWER,
    ("GET", "/api/v1/retrainings"): Role.VIEWER,
    ("GET", "/api/v1/retrainings/{retraining_id}"): Role.VIEWER,
    ("GET", "/api/v1/jobs"): Role.VIEWER,
    ("GET", "/api/v1/jobs/{job_id}"): Role.VIEWER,
    ("GET", "/api/v1/rollouts"): Role.VIEWER,
    ("GET", "/api/v1/rollouts/{rollout_id}"): Role.VIEWER,
    ("GET", "/api/v1/rollouts/{rollout_id}/evidence"): Role.VIEWER,
    ("GET", "/api/v1/rollouts/{rollout_id}/installations"): Role.VIEWER,
    ("GET", "/api/v1/devices/{device_id}/why"): Role.VIEWER,
    ("GET", "/api/v1/groups"): Role.VIEWER,
    ("GET", "/api/v1/groups/{name}"): Role.VIEWER,
    ("PUT", "/api/v1/groups/{name}"): Role.OPERATOR,
    ("DELETE", "/api/v1/groups/{name}"): Role.OPERATOR,
    ("GET", "/api/v1/pins"): Role.VIEWER,
    ("PUT", "/api/v1/devices/{device_id}/pin"): Role.OPERATOR,
    ("DELETE", "/api/v1/devices/{device_id}/pin"): Role.OPERATOR,
    ("POST", "/api/v1/devices/{device_id}/labels"): Role.OPERATOR,
    ("POST", "/api/v1/rollouts/preview"): Role.VIEWER,
    ("POST", "/api/v1/datasets/samples"): Role.DATA_SCIENTIST,
    ("POST", "/api/v1/datasets/preview"): Role.VIEWER,
    ("POST", "/api/v1/runs/preview"): Role.VIEWER,
    ("POST", "/api/v1/enrolment-tokens"): Role.OPERATOR,
    ("POST", "/api/v1/datasets"): Role.DATA_SCIENTIST,
    ("POST", "/api/v1/datasets/inspect"): Role.DATA_SCIENTIST,
    ("POST", "/api/v1/datasets/{name}/forget"): Role.DATA_SCIENTIST,
    ("POST", "/api/v1/datasets/{name}/erase"): Role.APPROVER,
    ("POST", "/api/v1/runs"): Role.DATA_SCIENTIST,
    ("POST", "/api/v1/models"): Role.DATA_SCIENTIST,
    ("POST", "/api/v1/models/{name}/versions/{version}/reproduce"): Role.DATA_SCIENTIST,
    ("POST", "/api/v1/models/{name}/versions/{version}/publish"): Role.OPERATOR,
    ("POST", "/api/v1/models/{name}/versions/{version}/withdraw"): Role.OPERATOR,
    ("POST", "/api/v1/models/{name}/versions/{version}/override"): Role.APPROVER,
    ("GET", "/api/v1/models/{name}/promotion/policy"): Role.VIEWER,
    ("PUT", "/api/v1/models/{name}/promotion/policy"): Role.APPROVER,
    ("PUT", "/api/v1/models/{name}/aliases/{alias}"): Role.OPERATOR,
    ("POST", "/api/v1/models/{name}/drift/check"): Role.DATA_SCIENTIST,
    ("POST", "/api/v1/labels"): Role.DATA_SCIENTIST,
    ("POST", "/api/v1/labels/csv"): Role.DATA_SCIENTIST,
    ("POST", "/api/v1/models/{name}/feedback"): Role.DATA_SCIENTIST,
    ("PUT", "/api/v1/models/{name}/retraining/policy"): Role.OPERATOR,
    ("POST", "/api/v1/models/{name}/retrainings"): Role.OPERATOR,
    ("POST", "/api/v1/retrainings/{retraining_id}/cancel"): Role.OPERATOR,
    ("POST", "/api/v1/rollouts"): Role.OPERATOR,
    **{
        ("POST", f"/api/v1/rollouts/{{rollout_id}}/{verb}"): Role.OPERATOR
        for verb in ("submit", "pause", "resume", "abort", "undo", "retry")
    },
    **{("POST", f"/api/v1/rollouts/{{rollout_id}}/{verb}"): Role.APPROVER for verb in ("approve", "deny", "advance")},
    ("GET", "/api/v1/freeze"): Role.VIEWER,
    ("PUT", "/api/v1/freeze"): Role.OPERATOR,
    ("DELETE", "/api/v1/freeze"): Role.OPERATOR,
    ("GET", "/api/v1/four-eyes"): Role.VIEWER,
    ("PUT", "/api/v1/four-eyes"): Role.ADMIN,
    ("DELETE", "/api/v1/four-eyes"): Role.ADMIN,
    ("POST", "/api/v1/devices/{device_id}/release"): Role.OPERATOR,
    ("DELETE", "/api/v1/devices/{device_id}"): Role.ADMIN,
    ("GET", "/api/v1/tokens"): Role.ADMIN,
    ("POST", "/api/v1/tokens"): Role.ADMIN,
    ("DELETE", "/api/v1/tokens/{token_id}"): Role.ADMIN,
    ("POST", "/api/v1/authorities"): Role.ADMIN,
    ("GET", "/api/v1/webhooks"): Role.ADMIN,
    ("POST", "/api/v1/webhooks"): Role.ADMIN,
    ("GET", "/api/v1/webhooks/{webhook_id}"): Role.ADMIN,
    ("DELETE", "/api/v1/webhooks/{webhook_id}"): Role.ADMIN,
    ("POST", "/api/v1/webhooks/{webhook_id}/test"): Role.ADMIN,
    ("GET", "/api/v1/webhooks/{webhook_id}/deliveries"): Role.ADMIN,
    ("POST", "/api/v1/authorities/switch"): Role.ADMIN,
}
GUARDED = [(method, path, role) for (method, path), role in LEAST_ROLE.items() if role is not None]
REFUSED = {401, 403}


def example(path):
    return re.sub(r"\{[a-z_]+\}", "1", path)


def test_the_matrix_names_every_endpoint(rig):
    assert set(rig.operations()) == set(LEAST_ROLE)


@pytest.mark.parametrize(("method", "path", "least"), GUARDED)
def test_nobody_gets_in_without_a_token(rig, method, path, least):
    answer = rig.request(method, example(path))
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path", "least"), GUARDED)
@pytest.mark.parametrize(
    "header", ["Bearer edgeops_000000000000_wrong", "Bearer x", "Basic YWRtaW46YWRtaW4=", "Bearer"]
)
def test_a_wrong_token_is_no_token(rig, method, path, least, header):
    assert_problem(rig.request(method, example(path), headers={"Authorization": header}), 401)


@pytest.mark.parametrize(("method", "path", "least"), GUARDED)
def test_each_role_may_what_the_matrix_says_and_nothing_more(rig, method, path, least):
    for role in Role:
        answer = rig.request(method, example(path), role=role)
        if role not in MAY[least]:
            assert str(least) in assert_problem(answer, 403)["detail"]
        else:
            assert answer.status_code not in REFUSED, answer.text
            assert answer.status_code < 500


@pytest.mark.parametrize(("method", "path"), [key for key, role in LEAST_ROLE.items() if role is None])
def test_open_endpoints_ask_for_no_token(rig, method, path):
    assert rig.request(method, example(path)).status_code in {200, 404, 422}


def test_the_openapi_document_says_which_endpoints_need_a_token(rig):
    guarded = {key for key, operation in rig.operations().items() if operation.get("security")}
    assert guarded == {key for key, role in LEAST_ROLE.items() if role is not None}
