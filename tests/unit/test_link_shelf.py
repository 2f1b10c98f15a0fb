"""What the link hands out of the blobs, and what it does about a file that is damaged."""

from types import SimpleNamespace

import pytest

from edgeops.artifact.blockplan import block_list
from fleet_server.config import ServerConfig
from fleet_server.link.blocks import Shelf
from tests.integration.fetch_rig import stock
from tests.stores import database_in


@pytest.fixture
def rig(tmp_path):
    config = ServerConfig(tmp_path)
    config.db.mkdir()
    database = database_in(config.db)
    yield SimpleNamespace(config=config, database=database)
    database.close()


@pytest.fixture
def shelf(rig):
    shelf = Shelf(rig.database, rig.config.blob_path)
    yield shelf
    shelf.close()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: bytes([data[0] ^ 1]) + data[1:]])
def test_no_list_is_told_of_a_damaged_file_and_the_right_one_once_it_is_mended(rig, shelf, damage):
    descriptor, data = stock(rig, 3 * 32 * 1024)
    file = rig.config.blob_path(descriptor.digest)
    file.write_bytes(damage(data))
    found = shelf.find(descriptor.digest)
    assert shelf.block_list(found) is None
    file.write_bytes(data)
    assert shelf.block_list(found) == block_list(data, descriptor.block_bytes)
