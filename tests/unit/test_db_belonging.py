"""A shared database belongs to the data folder that was the first to be prepared with it."""

import shutil
import threading
from datetime import UTC, datetime

import pytest

from edgeops.errors import ConfigError
from fleet_server.alone import alone
from fleet_server.app import serve
from fleet_server.config import ServerConfig
from fleet_server.db import tokens
from fleet_server.db.database import Database
from fleet_server.setup import init
from tests.integration.ports import free_port
from tests.stores import ON_POSTGRESQL, STORES

pytestmark = ON_POSTGRESQL

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def url(tmp_path):
    return STORES.url(tmp_path, empty=True)


@pytest.fixture
def first(tmp_path, url):
    config = ServerConfig(tmp_path / "first", database=url)
    init(config, now=NOW)
    return config


def names(config):
    database = Database.of(config)
    try:
        with database.read() as connection:
            return [one.name for one in tokens.api_token_page(connection, after=None, limit=9)]
    finally:
        database.close()


def test_a_second_folder_is_refused_and_nothing_of_it_is_written(tmp_path, url, first):
    before = names(first)
    second = ServerConfig(tmp_path / "second", database=url)
    with pytest.raises(ConfigError, match=f"belongs to another fleet than the data folder {second.data}: .*none yet"):
        init(second, now=NOW)
    assert not list(second.keys.glob("*.pem")), "no keys of a fleet that cannot be"
    assert names(first) == before


def test_a_folder_that_was_prepared_elsewhere_is_refused_by_every_process(tmp_path, url, first):
    init(ServerConfig(tmp_path / "second"), now=NOW)
    strayed = ServerConfig(tmp_path / "second", database=url, api_port=free_port())
    with pytest.raises(ConfigError, match="give each server a database of its own"):
        init(strayed, now=NOW)
    with pytest.raises(ConfigError, match="belongs to another fleet"):
        serve(strayed)
    database = Database.of(strayed)
    for process in ("link", "jobs"):
        with (
            pytest.raises(ConfigError, match="belongs to another fleet"),
            alone(strayed, database, process, threading.Event()),
        ):
            pytest.fail("it may not work")
    with pytest.raises(ConfigError, match="belongs to another fleet"):
        names(strayed)
    database.close()


def test_the_same_folder_and_a_copy_of_it_are_one_fleet(tmp_path, url, first):
    init(first, now=NOW)
    copy = ServerConfig(shutil.copytree(first.data, tmp_path / "moved"), database=url)
    init(copy, now=NOW)
    assert names(copy) == names(first)
