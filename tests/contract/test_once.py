"""A request that comes again with its Idempotency-Key acts once, whatever happens in between."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from edgeops import limits
from edgeops.api.roles import Role
from edgeops.api.wire import NEW
from edgeops.errors import NotFoundError
from fleet_server.db import audit, idempotency, tables, tokens
from tests.contract.rig import assert_problem

KEY = {"Idempotency-Key": "0123456789abcdef"}


def post(rig, path="/api/v1/tokens", *, role=Role.ADMIN, key="0123456789abcdef", **content):
    content = content or {"json": {"name": "ann", "role": "viewer"}}
    return rig.request("POST", path, role=role, headers={"Idempotency-Key": key}, **content)


def names(rig):
    with rig.database.read() as connection:
        return [row.name for row in tokens.api_token_page(connection, after=None, limit=1_000)]


def test_the_same_request_again_gets_the_first_answer_and_acts_once(rig):
    body = {"name": "once", "role": "viewer"}
    first = post(rig, key="the-same-request", json=body)
    again = post(rig, key="the-same-request", json=body)
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert first.headers["content-type"] == again.headers["content-type"]
    assert names(rig).count("once") == 1


def test_blanks_and_the_order_of_fields_make_no_other_request(rig):
    first = post(rig, key="another-order-of-fields", content=b'{"name": "order", "role": "viewer"}')
    again = post(rig, key="another-order-of-fields", content=b'{"role":"viewer","name":"order"}')
    assert first.json() == again.json()


def test_a_key_of_another_body_or_path_is_refused_and_does_nothing(rig):
    assert post(rig, key="one-key-two-requests").status_code == 201
    before = names(rig)
    other_body = post(rig, key="one-key-two-requests", json={"name": "bob", "role": "viewer"})
    other_path = post(rig, "/api/v1/enrolment-tokens", key="one-key-two-requests", json={"count": 1})
    for answer in (other_body, other_path):
        assert [one["pointer"] for one in assert_problem(answer, 422)["errors"]] == ["Idempotency-Key"]
    assert names(rig) == before


def test_two_tokens_may_use_the_same_key(rig):
    first = post(rig, "/api/v1/enrolment-tokens", key="shared-by-chance", json={"count": 1})
    second = post(rig, "/api/v1/enrolment-tokens", key="shared-by-chance", json={"count": 1}, role=Role.OPERATOR)
    assert first.status_code == second.status_code == 201
    assert first.json() != second.json()


def test_requests_at_the_same_time_act_once_and_get_one_answer(rig):
    body = {"name": "at-once", "role": "viewer"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(rig, key="eight-at-the-same-time", json=body), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert names(rig).count("at-once") == 1


def test_what_failed_is_carried_out_anew(rig):
    assert_problem(post(rig, "/api/v1/devices/late-0001/release", key="released-too-early"), 404)
    rig.enrol_device("late-0001")
    assert_problem(post(rig, "/api/v1/devices/late-0001/release", key="released-too-early"), 409)


def test_after_a_day_the_key_is_forgotten(rig):
    body = {"name": "daily", "role": "viewer"}
    first = post(rig, key="from-one-day-to-another", json=body)
    rig.pass_time(limits.IDEMPOTENCY_LIFE + timedelta(seconds=1))
    assert post(rig, key="from-one-day-to-another", json=body).json()["id"] != first.json()["id"]


def test_of_one_token_the_newest_keys_are_remembered(rig):
    role = Role.OPERATOR
    kept = limits.IDEMPOTENCY_KEYS_PER_TOKEN
    with rig.database.read() as connection:
        count = "SELECT count(*), token_id FROM idempotency_keys GROUP BY token_id"
        before = max(connection.exec_driver_sql(count).scalars(), default=0)
    assert before <= kept
    first = post(rig, "/api/v1/enrolment-tokens", key="the-first-of-many", json={"count": 1}, role=role)
    table = tables.idempotency_keys
    with rig.database.write() as connection:
        newest = connection.execute(select(table).order_by(table.c.created_at.desc()).limit(1)).one()
        filler = [
            {**newest._mapping, "id": f"filler-{one}", "created_at": newest.created_at + timedelta(milliseconds=one)}
            for one in range(1, kept + 1)
        ]
        connection.execute(table.insert(), filler)
    rig.pass_time(timedelta(hours=1))
    post(rig, "/api/v1/enrolment-tokens", key="the-last-of-many", json={"count": 1}, role=role)
    again = post(rig, "/api/v1/enrolment-tokens", key="the-first-of-many", json={"count": 1}, role=role)
    assert again.json() != first.json()


def test_an_answer_that_shows_a_secret_is_not_readable_in_the_database(rig):
    secret = post(rig, key="a-secret-is-shown-once", json={"name": "secret", "role": "viewer"}).json()["token"]
    with rig.database.read() as connection:
        answers = connection.exec_driver_sql("SELECT answer FROM idempotency_keys").scalars().all()
    assert answers
    assert not any(secret.encode() in answer or b"secret" in answer for answer in answers)


def test_a_process_killed_between_the_act_and_its_record_leaves_neither(rig):
    program = """
import os, pathlib, signal, sys
from datetime import UTC, datetime
from fleet_server.access import Access
from fleet_server.db import idempotency
from fleet_server.config import ServerConfig
from fleet_server.db.database import Database
config = ServerConfig(pathlib.Path(sys.argv[1]), database=sys.argv[2] or None)
database, now = Database.of(config), datetime.now(UTC)
claim = lambda connection: idempotency.claim(connection, "killed", token_id="t", asked="", now=now)
with database.together(claim):
    Access(database).create_token("killed", "viewer", created_by="test", now=now)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    where = (str(rig.config.data), rig.config.database or "")
    ended = subprocess.run([sys.executable, "-c", program, *where], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert "killed" not in names(rig)
    with rig.database.read() as connection:
        assert idempotency.find(connection, "killed", now=rig.now) is None
        assert isinstance(audit.verify(connection), audit.Intact)


@pytest.mark.parametrize("key", ["short", "a" * 201, "with blanks in it", "ümlaut-as-latin-1".encode("latin-1")])
def test_a_key_that_is_none_is_refused(rig, key):
    answer = rig.request("POST", "/api/v1/enrolment-tokens", role=Role.ADMIN, headers={"Idempotency-Key": key})
    assert [one["pointer"] for one in assert_problem(answer, 422)["errors"]] == ["Idempotency-Key"]


def test_every_post_takes_a_key(rig):
    without = {
        path
        for (method, path), operation in rig.operations().items()
        if method == "POST" and "Idempotency-Key" not in {one["name"] for one in operation.get("parameters", ())}
    }
    assert without == set()


def test_an_upload_acts_once(rig):
    def upload():
        files = {"file": ("a.csv", b"x,y\n" + b"1,a\n2,b\n" * 20)}
        data = {"name": "pumps", "label": "y"}
        return post(rig, "/api/v1/datasets", key="the-same-upload", files=files, data=data)

    first, again = upload(), upload()
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()


def test_the_client_repeats_a_request_whose_answer_was_lost(rig, cutting_proxy):
    client = cutting_proxy.client(rig.tokens[Role.ADMIN])
    made = client.create_token("lost", Role.VIEWER)
    assert cutting_proxy.cut == 1
    assert names(rig).count("lost") == 1
    assert rig.client().create_token("other", Role.VIEWER).id != made.id


def test_a_change_whose_answer_was_lost_and_that_is_no_more_legal_says_that_it_may_have_been_done(rig, cutting_proxy):
    client = cutting_proxy.client(rig.tokens[Role.ADMIN])
    edition = rig.client().groups.put("gone", selector="site=north", edition=NEW).revision
    with pytest.raises(NotFoundError, match="this was sent before"):
        client.groups.remove("gone", edition=edition)
    assert "gone" not in [one.name for one in rig.client().groups.every()]


def test_the_client_repeats_a_put_whose_answer_was_lost_and_that_demands_an_edition(rig, cutting_proxy):
    client = cutting_proxy.client(rig.tokens[Role.ADMIN])
    assert client.groups.put("lost", selector="site=north", edition=NEW).revision == 1
    assert cutting_proxy.cut == 1
