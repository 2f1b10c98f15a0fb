"""What the server signs stays fresh though nothing else happens, and what only people sign is told in time."""

from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.metadata import Metadata

from edgeops import limits
from edgeops.trust.custody import move_offline
from edgeops.trust.repository import Repository
from fleet_server.config import ServerConfig
from fleet_server.db import events
from fleet_server.freshness import Freshness
from fleet_server.setup import init
from tests.stores import database_in

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    config = ServerConfig(tmp_path / "data")
    init(config, now=NOW)
    move_offline(config.keys, tmp_path / "stick")
    return config


@pytest.fixture
def database(config):
    database = database_in(config.db)
    yield database
    database.close()


def ends(config):
    """When what the server signs itself ends first."""
    keys = Repository.open(config.repository, config.keys).role_keys()
    return min(key.expires for key in keys if key.role in ("snapshot", "timestamp"))


def told(database):
    with database.read() as connection:
        found = events.after(connection, 0, [events.EventKind.KEY_EXPIRES])
    return [(one.subject, one.data["within_days"], one.at) for one in found]


def test_an_idle_server_signs_at_half_of_the_life_for_as_long_as_it_runs(config, database):
    freshness = Freshness(config, database)
    for day in range(0, 400, 3):
        freshness.keep(NOW + timedelta(days=day))
        assert ends(config) - NOW >= timedelta(days=day) + limits.TIMESTAMP_LIFE / 2 - timedelta(days=3)


def test_a_look_that_finds_all_fresh_writes_nothing(config, database):
    freshness = Freshness(config, database)
    freshness.keep(NOW)
    before = (config.metadata / "timestamp.json").read_bytes()
    freshness.keep(NOW + timedelta(days=14))
    assert (config.metadata / "timestamp.json").read_bytes() == before


def test_a_server_that_was_off_for_a_month_is_fresh_after_its_first_look(config, database):
    late = NOW + timedelta(days=31)
    assert ends(config) <= late
    Freshness(config, database).keep(late)
    assert ends(config) == late + limits.TIMESTAMP_LIFE
    timestamp = Metadata.from_file(str(config.metadata / "timestamp.json")).signed
    assert timestamp.expires == late + limits.TIMESTAMP_LIFE


def test_what_was_signed_in_a_future_that_the_clock_came_back_from_is_signed_again(config, database):
    freshness = Freshness(config, database)
    freshness.keep(datetime(2036, 1, 20, tzinfo=UTC))
    assert ends(config) > datetime(2036, 1, 20, tzinfo=UTC)
    freshness.keep(NOW)
    assert ends(config) == NOW + limits.TIMESTAMP_LIFE


@pytest.mark.parametrize("wrong", [datetime(1970, 1, 1, tzinfo=UTC), NOW - timedelta(days=2)])
def test_a_clock_that_stands_before_the_root_was_signed_signs_nothing_again(config, database, wrong):
    before = (config.metadata / "timestamp.json").read_bytes()
    Freshness(config, database).keep(wrong)
    assert (config.metadata / "timestamp.json").read_bytes() == before


def test_what_only_people_sign_is_told_90_30_and_7_days_before_and_when_it_has_ended(config, database):
    freshness = Freshness(config, database)
    for day in range(260, 370):
        freshness.keep(NOW + timedelta(days=day))
    life = limits.TARGETS_LIFE.days
    expected = [(90, life - 90), (30, life - 30), (7, life - 7), (0, life)]
    assert [(within, at) for role, within, at in told(database) if role == "targets"] == [
        (within, NOW + timedelta(days=day)) for within, day in expected
    ]
    assert all(role == "targets" for role, _, _ in told(database)), "what the server signs itself never came to it"
