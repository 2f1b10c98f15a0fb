"""Bearer tokens and one-time tokens: who gets in, and who does not."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from edgeops.api.roles import Right, Role
from edgeops.errors import InputError
from fleet_server.access import Access, Identity
from fleet_server.db import tokens
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    yield database
    database.close()


@pytest.fixture
def access(database):
    return Access(database)


def last_used(database, token_id):
    with database.read() as connection:
        return tokens.api_token(connection, token_id).last_used_at


def test_a_token_names_its_owner_and_role(access):
    made = access.create_token("ann", Role.OPERATOR, created_by="root", now=NOW)
    assert access.identify(made.text, now=NOW) == Identity(made.row.id, "ann", Role.OPERATOR)


@pytest.mark.parametrize("name", ["policy", "edgeops-server", "repository", "edgeops", "Policy", " policy "])
def test_no_token_is_called_as_the_server_itself_is_in_the_audit_trail(access, database, name):
    with pytest.raises(InputError, match="name the person or the program") as refused:
        access.create_token(name, Role.OPERATOR, created_by="root", now=NOW)
    assert [pointer for pointer, _ in refused.value.fields] == ["#/name"]
    with database.read() as connection:
        assert tokens.api_token_page(connection, limit=10) == ()


def test_a_token_is_stored_as_an_argon2_hash_only(access, database):
    made = access.create_token("ann", Role.VIEWER, created_by="root", now=NOW)
    secret = made.text.split("_", 2)[2]
    with database.read() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM api_tokens").one())
    assert "$argon2id$" in stored
    assert secret not in stored


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        (Role.VIEWER, {Right.READ}),
        (Role.DATA_SCIENTIST, {Right.READ, Right.LEARN}),
        (Role.OPERATOR, {Right.READ, Right.LEARN, Right.OPERATE}),
        (Role.APPROVER, {Right.READ, Right.APPROVE}),
        (Role.ADMIN, set(Right)),
    ],
)
def test_a_role_has_the_rights_of_the_table_and_no_other(role, rights):
    assert {right for right in Right if Identity("t", "ann", role).may(right)} == rights


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text + "A",
        lambda text: text[:-1],
        lambda text: text.replace("edgeops_", "enrol_"),
        lambda text: text.split("_", 2)[2],
        lambda text: "edgeops_000000000000_" + text.split("_", 2)[2],
        lambda _: "",
        lambda _: "edgeops__",
        lambda _: "edgeops_é_é",
    ],
)
def test_a_spoilt_token_opens_nothing(access, spoil):
    made = access.create_token("ann", Role.ADMIN, created_by="root", now=NOW)
    assert access.identify(made.text, now=NOW) is not None
    assert access.identify(spoil(made.text), now=NOW) is None


def test_a_revoked_token_opens_nothing_though_it_was_remembered(access, database):
    made = access.create_token("ann", Role.ADMIN, created_by="root", now=NOW)
    assert access.identify(made.text, now=NOW) is not None
    with database.write() as connection:
        tokens.revoke_api_token(connection, made.row.id, now=NOW)
    assert access.identify(made.text, now=NOW) is None


def test_a_token_made_by_another_process_is_known_at_once(access, database):
    made = Access(database).create_token("ann", Role.VIEWER, created_by="root", now=NOW)
    assert access.identify(made.text, now=NOW) is not None


def test_a_remembered_token_costs_no_second_hash(access):
    made = access.create_token("ann", Role.VIEWER, created_by="root", now=NOW)
    costs = []
    for _ in range(20):
        started = time.process_time()
        access.identify(made.text, now=NOW)
        costs.append(time.process_time() - started)
    assert min(costs[1:]) < costs[0] / 4


def test_use_is_noted_at_most_once_a_minute(access, database):
    made = access.create_token("ann", Role.VIEWER, created_by="root", now=NOW)
    for seconds, noted in ((0, 0), (59, 0), (60, 60), (119, 60)):
        access.identify(made.text, now=NOW + timedelta(seconds=seconds))
        assert last_used(database, made.row.id) == NOW + timedelta(seconds=noted)


def test_an_enrolment_token_is_no_api_token_and_the_other_way_round(access):
    (enrolment,) = access.create_enrolment_tokens(1, created_by="ann", now=NOW)
    api = access.create_token("ann", Role.ADMIN, created_by="root", now=NOW)
    assert access.identify(enrolment.text, now=NOW) is None
    assert access.check_enrolment_token(api.text) is None
    assert access.check_enrolment_token(enrolment.text).id == enrolment.row.id


def test_enrolment_tokens_differ_and_live_for_an_hour(access):
    made = access.create_enrolment_tokens(5, created_by="ann", now=NOW)
    assert len({one.text for one in made}) == 5
    assert {one.row.expires_at for one in made} == {NOW + timedelta(hours=1)}
