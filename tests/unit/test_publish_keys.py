"""Publishing when keys are elsewhere: who signs what, what waits for a signature, and what is listed no longer."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.artifact.manifest import encode_value, target_path
from edgeops.errors import ConfigError
from edgeops.trust.custody import move_offline
from edgeops.trust.repository import Repository
from fleet_server.config import ServerConfig
from fleet_server.db import audit, events, models
from fleet_server.db.models import Standing
from fleet_server.publish import Listing, publish, publish_auto, withdraw
from fleet_server.setup import init
from tests.contract.trained import MODEL, add_dataset, add_version
from tests.delegating import delegate, undelegate
from tests.stores import database_in

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SIGNED = "models/tiny/1-int8.json"
AUTO = "models/tiny/auto/1-int8.json"


@pytest.fixture
def config(tmp_path):
    config = ServerConfig(tmp_path / "data")
    init(config, now=NOW)
    return config


@pytest.fixture
def database(config):
    database = database_in(config.db)
    yield database
    database.close()


@pytest.fixture
def descriptor(config, database):
    return add_version(config, database, 1, NOW, snapshot=add_dataset(config, database, NOW))


@pytest.fixture
def offline(config, tmp_path):
    """Where the keys are."""
    move_offline(config.keys, tmp_path / "stick")
    return tmp_path / "stick"


def repository(config, offline=None):
    return Repository.open(config.repository, config.keys, offline=offline)


def by_a_person(config, database, now=NOW):
    (artifact,) = publish(config, database, MODEL, 1, variant=None, published_by="ann", now=now)
    return artifact


def by_the_fleet(config, database, now=NOW):
    (artifact,) = publish_auto(config, database, MODEL, 1, variant=None, published_by="retraining", now=now)
    return artifact


def told(database):
    with database.read() as connection:
        happened = events.after(connection, 0, [kind for kind in events.EventKind if kind.startswith("model.")])
        entries = audit.page(connection, limit=100)
    return [one.kind for one in happened], [
        (one.actor, one.action) for one in reversed(entries) if one.action.startswith("model.")
    ]


def test_without_the_targets_key_a_version_awaits_its_signature(config, database, descriptor, offline):
    artifact = by_a_person(config, database)
    assert artifact.standing is Standing.AWAITING_SIGNATURE
    assert artifact.awaiting_signature_at == NOW
    assert SIGNED not in repository(config).listed()
    assert told(database) == (["model.awaits-signature"], [("ann", "model.awaits-signature")])


def test_asking_again_changes_nothing(config, database, descriptor, offline):
    first = by_a_person(config, database)
    assert by_a_person(config, database, NOW + timedelta(hours=1)) == first
    assert len(told(database)[0]) == 1


def test_what_was_signed_elsewhere_is_published_when_it_is_asked_for_again(config, database, descriptor, offline):
    by_a_person(config, database)
    repository(config, offline).publish({SIGNED: encode_value(descriptor)}, NOW)
    artifact = by_a_person(config, database)
    assert (artifact.standing, artifact.target) == (Standing.PUBLISHED, SIGNED)
    assert artifact.awaiting_signature_at is None
    assert told(database)[1][-1] == ("ann", "model.published")


def test_another_descriptor_under_the_same_name_does_not_count_as_signed(config, database, descriptor, offline):
    repository(config, offline).publish({SIGNED: b"{}"}, NOW)
    assert by_a_person(config, database).standing is Standing.AWAITING_SIGNATURE


def test_a_delegated_key_publishes_below_auto_and_the_target_is_stored(config, database, descriptor, offline):
    delegate(repository(config, offline), MODEL, NOW)
    artifact = by_the_fleet(config, database)
    assert (artifact.standing, artifact.target) == (Standing.PUBLISHED, AUTO)
    assert artifact.target == target_path(descriptor.manifest, auto=True)
    assert {AUTO} == {path for path in repository(config).listed() if path.startswith("models/")}


def test_a_delegated_key_signs_nothing_that_a_person_published(config, database, descriptor, offline):
    delegate(repository(config, offline), MODEL, NOW)
    assert by_a_person(config, database).standing is Standing.AWAITING_SIGNATURE
    assert AUTO not in repository(config).listed()


@pytest.mark.parametrize("days", [None, limits.DELEGATION_LIFE.days])
def test_without_a_delegation_nobody_signs_what_the_fleet_retrained(config, database, descriptor, days):
    """Not even the targets key, which lies on this server: nobody looked at the model."""
    if days is not None:
        delegate(repository(config), MODEL, NOW - timedelta(days=days))
    assert by_the_fleet(config, database).standing is Standing.AWAITING_SIGNATURE
    assert by_a_person(config, database).target == SIGNED


def test_a_person_may_sign_what_the_fleet_published(config, database, descriptor):
    delegate(repository(config), MODEL, NOW)
    by_the_fleet(config, database)
    artifact = by_a_person(config, database)
    assert (artifact.standing, artifact.target) == (Standing.PUBLISHED, SIGNED)
    assert {SIGNED, AUTO} <= set(repository(config).listed())


def test_without_the_targets_key_what_the_fleet_published_stays_so(config, database, descriptor, offline):
    delegate(repository(config, offline), MODEL, NOW)
    by_the_fleet(config, database)
    artifact = by_a_person(config, database)
    assert (artifact.standing, artifact.target) == (Standing.PUBLISHED, AUTO)


def test_withdrawing_unlists_both_signatures(config, database, descriptor):
    delegate(repository(config), MODEL, NOW)
    by_the_fleet(config, database)
    by_a_person(config, database)
    (artifact,) = withdraw(config, database, MODEL, 1, variant=None, withdrawn_by="ann", now=NOW)
    assert artifact.standing is Standing.WITHDRAWN
    assert not {SIGNED, AUTO} & set(repository(config).listed())


def test_what_waits_for_a_signature_can_be_withdrawn(config, database, descriptor, offline):
    by_a_person(config, database)
    (artifact,) = withdraw(config, database, MODEL, 1, variant=None, withdrawn_by="ann", now=NOW)
    assert artifact.standing is Standing.WITHDRAWN


def test_without_the_targets_key_what_it_signed_cannot_be_withdrawn(config, database, descriptor, tmp_path):
    by_a_person(config, database)
    move_offline(config.keys, tmp_path / "stick")
    with pytest.raises(ConfigError, match="the targets key is not on this machine"):
        withdraw(config, database, MODEL, 1, variant=None, withdrawn_by="ann", now=NOW)
    with database.read() as connection:
        assert models.get_artifact(connection, MODEL, 1, "int8").is_published


def test_undelegating_beside_the_server_withdraws_what_the_key_signed(config, database, descriptor, offline):
    delegate(repository(config, offline), MODEL, NOW)
    by_the_fleet(config, database)
    listing = Listing(config, database)
    assert listing.follow(NOW) == []
    undelegate(repository(config, offline), MODEL, NOW)

    assert listing.follow(NOW) == [], "a job may be about to say so itself"
    (gone,) = listing.follow(NOW)

    assert gone.digest == descriptor.digest
    with database.read() as connection:
        assert models.get_artifact(connection, MODEL, 1, "int8").standing is Standing.WITHDRAWN
    assert told(database)[1][-1] == ("repository", "model.withdrawn")
    assert listing.follow(NOW) == []


def test_a_delegation_that_ends_withdraws_what_its_key_signed(config, database, descriptor):
    delegate(repository(config), MODEL, NOW)
    by_the_fleet(config, database)
    listing = Listing(config, database)
    listing.follow(NOW)
    late = NOW + limits.DELEGATION_LIFE
    assert listing.follow(late) == []
    assert [one.digest for one in listing.follow(late)] == [descriptor.digest]


def test_undelegating_leaves_what_a_person_signed_as_well(config, database, descriptor):
    delegate(repository(config), MODEL, NOW)
    repository(config).publish({SIGNED: encode_value(descriptor)}, NOW)
    by_the_fleet(config, database)
    undelegate(repository(config), MODEL, NOW)
    listing = Listing(config, database)
    assert [listing.follow(NOW) for _ in range(3)] == [[], [], []]
    with database.read() as connection:
        artifact = models.get_artifact(connection, MODEL, 1, "int8")
    assert (artifact.standing, artifact.target) == (Standing.PUBLISHED, SIGNED)


def test_publishing_again_after_the_delegation_was_taken_back_asks_for_a_signature(
    config, database, descriptor, offline
):
    delegate(repository(config, offline), MODEL, NOW)
    by_the_fleet(config, database)
    undelegate(repository(config, offline), MODEL, NOW)
    artifact = by_the_fleet(config, database)
    assert artifact.standing is Standing.AWAITING_SIGNATURE
    assert not artifact.is_published
