"""Tokens: found by id, revoked for good, spent once."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from fleet_server.db import tokens
from tests.stores import ON_BOTH, database_in

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    with database.write() as connection:
        token = tokens.EnrolmentToken(id="t-1", hash="h", created_by="me", created_at=NOW, expires_at=NOW + HOUR)
        tokens.add_enrolment_token(connection, token)
        for token_id in ("b", "a"):
            token = tokens.ApiToken(id=token_id, name="me", role="admin", hash="h", created_at=NOW)
            tokens.add_api_token(connection, token)
    yield database
    database.close()


def test_an_api_token_is_found_used_and_revoked_once(database):
    with database.write() as connection:
        tokens.mark_api_token_used(connection, "a", now=NOW)
        assert tokens.api_token(connection, "a").last_used_at == NOW
        assert tokens.revoke_api_token(connection, "a", now=NOW)
        assert not tokens.revoke_api_token(connection, "a", now=NOW)
        assert tokens.api_token(connection, "a").revoked_at == NOW
        assert tokens.api_token(connection, "c") is None
        assert [token.id for token in tokens.api_token_page(connection, limit=9)] == ["a", "b"]


def test_an_enrolment_token_is_spent_once(database):
    with database.write() as connection:
        assert tokens.use_enrolment_token(connection, "t-1", device_id="cam-1", now=NOW)
        assert not tokens.use_enrolment_token(connection, "t-1", device_id="cam-2", now=NOW)
        assert tokens.enrolment_token(connection, "t-1").device_id == "cam-1"


def test_an_expired_or_unknown_enrolment_token_is_not_spent(database):
    with database.write() as connection:
        assert not tokens.use_enrolment_token(connection, "t-1", device_id="cam-1", now=NOW + HOUR)
        assert not tokens.use_enrolment_token(connection, "t-2", device_id="cam-1", now=NOW)
        assert tokens.enrolment_token(connection, "t-2") is None


def test_of_several_callers_at_once_one_spends_the_token(database):
    won = []

    def spend(number):
        with database.write() as connection:
            if tokens.use_enrolment_token(connection, "t-1", device_id=f"cam-{number}", now=NOW):
                won.append(number)

    threads = [threading.Thread(target=spend, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
