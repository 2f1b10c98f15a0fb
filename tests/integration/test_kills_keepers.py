"""kill -9 before every statement and commit of what looks after the fleet again and again: each thing is told once.

As `tests.integration.test_kills_everywhere` does it with the engine, orders, the courier and retention.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.drift.finding import Verdict
from edgeops.rollout.shadowing import of_asked, of_control
from edgeops.trust.custody import move_offline
from edgeops.trust.repository import Repository
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.db import audit, devices, events, models
from fleet_server.db.database import Database
from fleet_server.db.events import EventKind
from fleet_server.db.models import Standing
from fleet_server.disagreements import Disagreements
from fleet_server.freshness import Freshness
from fleet_server.monitoring import Monitoring
from fleet_server.publish import Listing, publish_auto
from fleet_server.setup import init
from fleet_server.shadowing import ShadowKeeper
from tests.contract.trained import MODEL, add_dataset, add_version
from tests.delegating import delegate, undelegate
from tests.kills import kill_everywhere, stage_of
from tests.stores import ON_BOTH, config_for
from tests.unit import test_disagreements, test_shadowing
from tests.unit.drift_rig import DriftRig

pytestmark = [pytest.mark.slow, pytest.mark.long, ON_BOTH]

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    config = config_for(tmp_path / "data")
    init(config, now=NOW)
    return config


@pytest.fixture
def database(config):
    database = Database.of(config)
    yield database
    database.close()


@pytest.fixture
def closing():
    rigs = []
    yield rigs.append
    for rig in rigs:
        rig.close()


# -- monitoring ----------------------------------------------------------------------------


def judge_windows(stage):
    Monitoring(stage.open(), Artifacts(Blobs(stage.config))).run_once(stage.now)


def test_monitoring_begins_one_spell_and_tells_it_once(tmp_path, closing):
    rig = DriftRig(tmp_path)
    closing(rig)
    for _ in range(3):
        rig.round()
    for device_id in ("edge-1", "edge-2", "edge-3"):
        rig.send(device_id, rig.weather.rows(100, shift=2.0))
    assert kill_everywhere(judge_windows, stage_of(config_for(tmp_path / "data"), rig.now)) > 10
    assert [one.judgement.verdict for one in rig.spells()] == [Verdict.STABLE, Verdict.DRIFT]
    assert len([one for one in rig.news() if one.data["verdict"] == Verdict.DRIFT]) == 1
    before = len(rig.news())
    rig.restart()
    rig.wait(0)
    assert len(rig.news()) == before


# -- shadows and disagreements -------------------------------------------------------------


def tell_shadows(stage):
    ShadowKeeper(stage.open()).run_once(stage.now)


def test_every_device_is_told_once_to_show_itself(tmp_path, closing):
    rig = test_shadowing.Rig(tmp_path)
    closing(rig)
    rig.wait(3)
    before = {device_id: revision(rig, device_id) for device_id in rig.ids}
    assert kill_everywhere(tell_shadows, stage_of(config_for(tmp_path / "data"), rig.now)) > 5
    policy = test_shadowing.POLICY
    assert rig.told() == {"edge-00": of_asked(policy), "edge-01": of_control(policy), "edge-02": of_control(policy)}
    assert {one: revision(rig, one) - before[one] for one in rig.ids} == {"edge-00": 0, "edge-01": 1, "edge-02": 1}
    assert rig.turn() == 0


def revision(rig, device_id):
    with rig.database.read() as connection:
        return devices.get(connection, device_id).desired_revision


def ask_for_disagreements(stage):
    Disagreements(stage.open(), Artifacts(Blobs(stage.config))).run_once(stage.now)


def test_a_wave_asks_once_for_disagreements_and_queues_each_input_once(tmp_path, closing):
    rig = test_disagreements.Rig(tmp_path)
    closing(rig)
    rig.wait(2)
    config = config_for(tmp_path / "data")
    assert kill_everywhere(ask_for_disagreements, stage_of(config, rig.now)) > 10
    assert len(rig.commands()) == 1
    rig.answer()
    rig.wait(2)
    assert kill_everywhere(ask_for_disagreements, stage_of(config, rig.now)) > 10
    queued = [one.sample_id for one in rig.queue()]
    assert len(queued) == len(set(queued)) == test_disagreements.POLICY.health.labels
    assert len(rig.commands()) == 1


# -- what is signed ------------------------------------------------------------------------


def follow_the_listing(stage):
    """Twice, as one that runs does: only what is missing twice in a row is gone."""
    listing = Listing(stage.config, stage.open())
    listing.follow(stage.now)
    listing.follow(stage.now + timedelta(seconds=1))


def test_what_is_listed_no_longer_is_withdrawn_once(config, database):
    described = add_version(config, database, 1, NOW, snapshot=add_dataset(config, database, NOW))
    repository = Repository.open(config.repository, config.keys)
    delegate(repository, MODEL, NOW)
    publish_auto(config, database, MODEL, 1, variant=None, published_by="retraining", now=NOW)
    undelegate(Repository.open(config.repository, config.keys), MODEL, NOW)
    assert kill_everywhere(follow_the_listing, stage_of(config, NOW)) > 5
    with database.read() as connection:
        assert models.artifact_by_digest(connection, described.digest).standing is Standing.WITHDRAWN
        assert isinstance(audit.verify(connection), audit.Intact)
        actions = [one.action for one in audit.page(connection, limit=100)]
        assert actions.count("model.withdrawn") == 1
        assert len(events.after(connection, 0, [EventKind.MODEL_WITHDRAWN])) == 1


def keep_fresh(stage):
    Freshness(stage.config, stage.open()).keep(stage.now)


def test_what_ends_soon_is_told_once_and_what_the_server_signs_is_fresh(config, database, tmp_path):
    move_offline(config.keys, tmp_path / "stick")
    late = NOW + limits.TARGETS_LIFE - timedelta(days=40)
    assert kill_everywhere(keep_fresh, stage_of(config, late)) > 5
    with database.read() as connection:
        told = Counter(one.subject for one in events.after(connection, 0, [EventKind.KEY_EXPIRES]))
        assert isinstance(audit.verify(connection), audit.Intact)
    assert told["targets"] == 1
    assert set(told.values()) == {1}
    keys = Repository.open(config.repository, config.keys).role_keys()
    assert all(one.expires > late for one in keys)
