"""Following `next` visits each row of a list exactly once, in the list's order, however it grows meanwhile."""

import base64
from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from edgeops.api.roles import Role
from edgeops.digest import digest_bytes
from edgeops.protocol.messages import Phase
from fleet_server.db import ingest, jobs, rollups, tables, tokens
from tests.contract.rig import START, ApiRig, assert_problem

ROWS = 23
DEVICE = "pump-0000"


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = ApiRig(tmp_path_factory.mktemp("api"))
    for number in range(ROWS):
        rig.enrol_device(f"pump-{number:04}")
    with rig.database.write() as connection:
        for number in range(ROWS):
            # Equal times: the order must not hang on them.
            jobs.queue(connection, jobs.Publish(model="digits", version=1), created_by="me", now=START)
            tokens.add_api_token(connection, tokens.ApiToken(f"token{number:04}", "me", Role.VIEWER, "hash", START))
    with rig.database.write_telemetry() as connection:
        ingest.add_windows(connection, [window(number) for number in range(ROWS)])
        rollups.put(connection, [rollup(number) for number in range(ROWS)])
        ingest.put_predictions(connection, [prediction(number) for number in range(ROWS)])
        ingest.put_aside(connection, [aside(number) for number in range(ROWS)])
    yield rig
    rig.close()


def window(number):
    return {
        "device_id": DEVICE,
        "spool": bytes([number % 3]) * 8,
        "seq": number,
        "deployment": "digits",
        "digest": digest_bytes(b"model"),
        "phase": Phase.LIVE,
        "closed_at": START + timedelta(seconds=number // 4),
        "received_at": START,
        "duration_ms": 1,
        "rows": number,
        "source_rows": number,
        "errors": 0,
        "dropped": 0,
        "latency_p50_us": 1,
        "latency_p95_us": 1,
        "record_bytes": 1,
        "sketch": b"",
        "paired": b"",
    }


def rollup(number):
    return {
        "device_id": DEVICE,
        "deployment": f"camera-{number % 2}",
        "digest": digest_bytes(bytes([number % 3])),
        "hour": START + timedelta(hours=number // 4),
        "windows": 1,
        "duration_ms": 1,
        "rows": 1,
        "source_rows": 1,
        "errors": 0,
        "dropped": 0,
        "latency_p50_us": 1,
        "latency_p95_us": 1,
        "record_bytes": 1,
        "sketch": b"",
        "unsketched": 0,
    }


def prediction(number):
    return {
        "device_id": DEVICE,
        "deployment": f"camera-{number % 2}",
        "digest": digest_bytes(bytes([number % 3])),
        "input_id": str(number),
        "phase": Phase.LIVE,
        "answer": 1.0,
        "confidence": 0.5,
        "answered_at": START,
        "received_at": START,
    }


def aside(number):
    return {
        "at": START,
        "device_id": DEVICE,
        "topic": "edgeops/v1/up/x/status",
        "reason": "forged",
        "detail": str(number),
        "payload": b"?",
    }


#: Path, what is unique in an item, and how many there are beside the rows above.
LISTS = [
    ("/api/v1/devices", ("id",), 0),
    ("/api/v1/jobs", ("id",), 0),
    ("/api/v1/tokens", ("id",), 1 + len(Role)),
    ("/api/v1/quarantine", ("id",), 0),
    (f"/api/v1/devices/{DEVICE}/telemetry", ("rows",), 0),
    ("/api/v1/fleet/telemetry", ("hour", "deployment", "digest"), 0),
    ("/api/v1/fleet/windows", ("id",), 0),
    (f"/api/v1/devices/{DEVICE}/predictions", ("deployment", "digest", "input_id"), 0),
]


def pages(rig, path, limit):
    cursor = {}
    while True:
        answer = rig.request("GET", path, role=Role.ADMIN, params={"limit": limit} | cursor)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield page["items"]
        if page["next"] is None:
            return
        cursor = {"cursor": page["next"]}


def everything(rig, path):
    return next(pages(rig, path, 1000))


@pytest.mark.parametrize(("path", "unique", "extra"), LISTS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, ROWS + 5))
def test_each_row_is_visited_once_in_order(rig, path, unique, extra, limit):
    parts = list(pages(rig, path, limit))
    assert all(len(part) == limit for part in parts[:-1])
    assert 0 < len(parts[-1]) <= limit
    visited = [item for part in parts for item in part]
    keys = [tuple(item[name] for name in unique) for item in visited]
    assert len(keys) == len(set(keys)) == ROWS + extra
    assert visited == everything(rig, path)


def test_rows_that_come_meanwhile_move_nothing(rig):
    known = [item["id"] for item in everything(rig, "/api/v1/jobs")]
    follow = pages(rig, "/api/v1/jobs", 5)
    visited = [item["id"] for item in next(follow)]
    with rig.database.write() as connection:
        newer = jobs.queue(
            connection, jobs.Publish(model="digits", version=1), created_by="me", now=START + timedelta(hours=1)
        )
        connection.execute(delete(tables.jobs).where(tables.jobs.c.id == visited[-1]))
    visited += [item["id"] for part in follow for item in part]
    assert visited == known
    assert everything(rig, "/api/v1/jobs")[0]["id"] == newer.id
    with rig.database.write() as connection:
        connection.execute(delete(tables.jobs).where(tables.jobs.c.id == newer.id))
        jobs.queue(connection, jobs.Publish(model="digits", version=1), created_by="me", now=START)


def test_a_cursor_of_another_list_is_refused(rig):
    cursor = rig.request("GET", "/api/v1/devices?limit=1", role=Role.ADMIN).json()["next"]
    for path, _, _ in LISTS[1:]:
        assert_problem(rig.request("GET", path, role=Role.ADMIN, params={"cursor": cursor}), 422)


@pytest.mark.parametrize(("path", "unique", "extra"), LISTS)
def test_a_changed_cursor_is_refused_or_harmless(rig, path, unique, extra):
    cursor = rig.request("GET", f"{path}?limit=2", role=Role.ADMIN).json()["next"]
    for place in range(0, len(cursor), 3):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        answer = rig.request("GET", path, role=Role.ADMIN, params={"cursor": changed})
        assert answer.status_code in {200, 422}, answer.text


def test_the_client_follows_pages_by_itself(rig):
    client = rig.client()
    assert [one.id for one in client.devices()] == [f"pump-{number:04}" for number in range(ROWS)]
    assert len(list(client.predictions(DEVICE))) == ROWS
    assert len(list(client.predictions(DEVICE, "camera-1"))) == ROWS // 2


def test_a_cursor_with_a_time_of_no_zone_is_refused(rig):
    path = f"/api/v1/devices/{DEVICE}/telemetry"
    cursor = msgspec.msgpack.encode((path, ("2026-01-01T00:00:00", b"s" * 8, 0)))
    answer = rig.request(
        "GET", path, role=Role.VIEWER, params={"cursor": base64.urlsafe_b64encode(cursor).decode().rstrip("=")}
    )
    assert_problem(answer, 422)
