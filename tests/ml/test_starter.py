"""The model that comes with the package is the one that its recipe and seed make."""

from datetime import UTC, datetime

import pytest

from edgeops.artifact.package import open_artifact
from fleet_server import starter
from fleet_server.config import ServerConfig
from fleet_server.db import models
from fleet_server.db.database import Database
from fleet_server.setup import init
from tests.ml.starter import SEED, make


@pytest.mark.slow
@pytest.mark.long
def test_the_starter_model_can_be_made_again_within_a_point(tmp_path):
    made = make(tmp_path)
    assert made.run.schema == starter.starter_run().schema
    assert made.run.metrics["accuracy"] == pytest.approx(starter.starter_run().metrics["accuracy"], abs=0.01)


def test_its_card_names_recipe_and_seed(tmp_path):
    init(ServerConfig(tmp_path), now=datetime.now(UTC), starter=True)
    path = ServerConfig(tmp_path).blob_path(starter.descriptor().digest)
    card = open_artifact(path).card
    assert starter.starter_run().recipe in card
    assert str(SEED) in card


def test_a_fresh_data_folder_has_it_published_once(tmp_path):
    config, now = ServerConfig(tmp_path), datetime.now(UTC)
    init(config, now=now, starter=True)
    init(config, now=now, starter=True)
    database = Database.in_folder(config.db)
    with database.read() as connection:
        (artifact,) = models.list_artifacts(connection, starter.NAME, starter.VERSION)
    database.close()
    assert artifact.is_published
