"""Every decision of a person is in the audit trail, in the transaction that carries it out."""

from datetime import UTC, datetime

import pytest

from edgeops.api.roles import Role
from edgeops.artifact.manifest import Variant
from edgeops.errors import AccessError, ConflictError, NotFoundError
from edgeops.protocol.keys import SigningKey
from fleet_server import roster
from fleet_server.access import Access
from fleet_server.config import ServerConfig
from fleet_server.db import audit, devices, models
from fleet_server.enrolment import Newcomer, enrol
from fleet_server.publish import publish, withdraw
from fleet_server.setup import init
from tests.contract.trained import add_dataset, add_version
from tests.stores import database_in

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    config = ServerConfig(tmp_path / "data")
    init(config, now=NOW)
    return config


@pytest.fixture
def database(config):
    database = database_in(config.db)
    yield database
    with database.read() as connection:
        assert isinstance(audit.verify(connection), audit.Intact)
    database.close()


@pytest.fixture
def access(database):
    return Access(database)


def told(database, *, since=1):
    """(actor, action, subject) of every entry, oldest first, after the one that `init` makes."""
    with database.read() as connection:
        entries = audit.page(connection, limit=1000)
    return [(one.actor, one.action, one.subject) for one in reversed(entries)][since:]


def test_the_first_token_is_the_owners_decision(database):
    ((actor, action, _),) = told(database, since=0)
    assert (actor, action) == ("edgeops-server", "token.created")


def test_tokens_are_created_and_revoked_once(access, database):
    token_id = access.create_token("bob", Role.VIEWER, created_by="ann", now=NOW).row.id
    for _ in range(2):
        access.revoke_token(token_id, revoked_by="eve", now=NOW)
    with pytest.raises(NotFoundError, match="edgeops token list"):
        access.revoke_token("nothing", revoked_by="eve", now=NOW)
    assert told(database) == [("ann", "token.created", token_id), ("eve", "token.revoked", token_id)]


def test_a_device_enrols_in_the_name_of_who_made_its_token_is_released_and_removed(config, access, database):
    made = access.create_enrolment_tokens(2, created_by="ann", now=NOW)
    newcomer = Newcomer("pump", "board-1", SigningKey.generate().public, "0.1")
    device_id = enrol(config, database, access, token=made[0].text, newcomer=newcomer, now=NOW).device_id
    with pytest.raises(AccessError):
        enrol(config, database, access, token=made[0].text, newcomer=newcomer, now=NOW)
    with database.write() as connection:
        devices.quarantine(connection, device_id, reason="two speakers", now=NOW)
    roster.release(database, device_id, released_by="bob", now=NOW)
    with pytest.raises(ConflictError, match="not in quarantine"):
        roster.release(database, device_id, released_by="bob", now=NOW)
    roster.remove(config, database, device_id, removed_by="eve", now=NOW)
    for leave in (
        lambda: roster.remove(config, database, device_id, removed_by="eve", now=NOW),
        lambda: roster.release(database, device_id, released_by="eve", now=NOW),
    ):
        with pytest.raises(NotFoundError, match="was removed at 2026-11-23"):
            leave()
    assert told(database) == [
        ("ann", "enrolment-token.created", made[0].row.id),
        ("ann", "enrolment-token.created", made[1].row.id),
        ("ann", "device.enrolled", device_id),
        ("bob", "device.released", device_id),
        ("eve", "device.removed", device_id),
    ]


def test_a_version_is_published_and_withdrawn_once(config, database):
    add_version(config, database, 1, NOW, snapshot=add_dataset(config, database, NOW))
    for _ in range(2):
        publish(config, database, "tiny", 1, variant=None, published_by="ann", now=NOW)
    for _ in range(2):
        withdraw(config, database, "tiny", 1, variant=None, withdrawn_by="bob", now=NOW)
    publish(config, database, "tiny", 1, variant=Variant.INT8, published_by="eve", now=NOW)
    assert told(database) == [
        ("ann", "model.published", "tiny@1"),
        ("bob", "model.withdrawn", "tiny@1"),
        ("eve", "model.published", "tiny@1"),
    ]


def test_what_could_not_be_done_was_not_decided(config, database):
    add_version(config, database, 1, NOW, snapshot=add_dataset(config, database, NOW))
    with database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER no_trail BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with pytest.raises(Exception, match="disk full"):
        publish(config, database, "tiny", 1, variant=None, published_by="ann", now=NOW)
    with database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER no_trail")
        assert not models.get_artifact(connection, "tiny", 1, "int8").is_published
    assert told(database) == []
