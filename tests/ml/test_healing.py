"""Real retrainings: a model that learnt a young world is healed on labels of an aged one, judged, and signed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from edgeops.artifact.manifest import ChannelKind, Variant
from edgeops.artifact.package import open_artifact
from edgeops.data.splits import Split
from edgeops.learning.labels import LabelSource
from edgeops.trust.repository import Repository
from fleet_server.datasets.snapshot import read_snapshot
from fleet_server.db import aliases, datasets, models, tables
from fleet_server.db.aliases import Alias
from fleet_server.db.jobs import Job, JobState
from fleet_server.ml.recipes.names import RecipeName
from tests.delegating import delegate
from tests.ml.desk import Desk
from tests.ml.loop import Loop, Seen, world, write_world

pytestmark = pytest.mark.slow

LABELS_EACH = 12
WINDOW_ROWS = 200


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("data"))
    yield desk
    desk.close()


@pytest.fixture
def loop(desk: Desk, tmp_path: Path) -> Loop:
    """A model of the young world, of its own, on three devices."""
    with desk.database.read() as connection:
        name = f"table-{len(models.page(connection, None, 100)) + 1}"
    desk.load(write_world(tmp_path / "table.npz", rows=600), name, label="y")
    desk.train(name, RecipeName.DENSE, epochs=20)
    return Loop(desk, name)


def age(loop: Loop, *, liar: str | None = None, source: LabelSource = LabelSource.PERSON, seed: int = 1) -> str:
    """Every device sees the aged world and nominates; the liar's labels are always wrong. The retraining's id."""
    names = ["idle", "on", "worn"]
    seen = []
    for number, device in enumerate(loop.devices):
        values, labels = world(WINDOW_ROWS, aged=True, seed=10 * seed + number)
        loop.see(device, values)
        if device == liar:
            labels = [names[(names.index(one) + 1) % 3] for one in labels]
        seen.append(Seen(device, values[:LABELS_EACH], labels[:LABELS_EACH]))
    return loop.retraining(*seen, source=source)


def accuracy(loop: Loop, version: int, *, aged: bool) -> float:
    model = loop.loaded(version)
    rows, labels = world(300, aged=aged, seed=99)
    answers = [model.manifest.output.labels[int(model.predict(row[np.newaxis]).answer)] for row in rows]
    return float(np.mean([one == other for one, other in zip(answers, labels, strict=True)]))


def holders(loop: Loop) -> dict[Alias, int]:
    with loop.desk.database.read() as connection:
        return aliases.holders(connection, [loop.model]).get(loop.model, {})


def versions(loop: Loop) -> list[int]:
    with loop.desk.database.read() as connection:
        return [one.version for one in models.list_versions(connection, loop.model)]


def result(job: Job) -> dict:
    assert job.result is not None
    return job.result


def test_an_aged_world_is_learnt_and_the_young_one_is_not_forgotten(loop: Loop) -> None:
    job = loop.heal(age(loop))
    assert result(job)["promotion"]["passed"], result(job)["promotion"]["rules"]
    assert accuracy(loop, 1, aged=True) < 0.6
    assert accuracy(loop, 2, aged=True) > 0.85
    assert accuracy(loop, 2, aged=False) > accuracy(loop, 1, aged=False) - 0.03
    assert holders(loop) == {Alias.CHALLENGER: 2}
    told = result(job)
    assert (told["version"], told["bought"], told["fresh"], told["signed"]) == (2, 36, 36, False)
    assert told["promotion"]["unseen_rows"] == 120 + 36
    assert set(told["artifacts"]) == {"float32", "int8"}
    assert "training without each fold" in loop.desk.steps(job)

    # The snapshot: the champion's, and what was bought; the frozen rows are the same.
    with loop.desk.database.read() as connection:
        head = datasets.head(connection, loop.model)
        child = datasets.get_snapshot(connection, told["snapshot"])
    assert head is not None
    assert child is not None
    assert (child.parent, child.dataset) == (head.digest, loop.model)
    before, after = (read_snapshot(loop.desk.blobs.path(one)) for one in (head.digest, child.digest))
    for split in (Split.VALIDATION, Split.EVALUATION):
        assert np.array_equal(before.only(split).values, after.only(split).values)

    # The reference: the same edges for inputs, and what devices saw as counts.
    old, new = (loop.loaded(version).reference for version in (1, 2))
    assert old is not None
    assert new is not None
    manifest = loop.artifact(2).describe().manifest
    assert manifest.channels == loop.artifact(1).describe().manifest.channels
    for index, channel in enumerate(manifest.channels):
        if channel.kind is ChannelKind.COLUMN:
            assert old.channels[index].edges == new.channels[index].edges
            assert new.summary().present[index] == WINDOW_ROWS * 3
    assert new.calibration
    assert old.calibration
    card = open_artifact(loop.desk.blobs.path(loop.artifact(2).digest)).card
    assert "36 of the rows to learn from were nominated by devices and labelled" in card

    # Once more: what was bought before is kept, and nothing is fresh.
    loop.run(2)
    again = loop.desk.do(loop.request(loop.retraining()))
    assert again.state is JobState.FAILED
    assert f"no sample of {loop.model} was labelled since version 2 was trained" in (again.error or "")
    later = loop.heal(age(loop, seed=2))
    assert (result(later)["bought"], result(later)["fresh"]) == (72, 36)


def test_a_training_on_the_old_rows_is_judged_on_what_devices_were_labelled_since(loop: Loop) -> None:
    """Half of the young world's answers are wrong in the aged one, the champion's as well as those of the new version."""
    age(loop)
    with loop.desk.database.write() as connection:
        aliases.assign(connection, loop.model, Alias.CHAMPION, 1, datetime.now(UTC), actor="me", reason="rolled out")
    loop.desk.train(loop.model, RecipeName.DENSE, seed=1, epochs=20)
    rules = loop.artifact(2).describe().promotion.rules
    rule = next(one for one in rules if one.name == "answers-recent-labels")
    assert "on 36 samples of 3 devices that people labelled, which it never saw; the champion 0." in rule.reason
    assert "on the 36 of them that it never saw either" in rule.reason
    assert rule.measured["low"] < rule.measured["accuracy"] < rule.measured["high"]
    assert max(rule.measured["accuracy"], rule.measured["champion"]) < 0.8


def test_a_delegated_key_signs_a_model_that_passed_and_only_the_variant_that_runs(loop: Loop) -> None:
    repository = Repository.open(loop.desk.config.repository, loop.desk.config.keys)
    delegate(repository, loop.model, datetime.now(UTC))
    job = loop.heal(age(loop), sign=True)
    assert result(job)["signed"]
    listed = {path for path in repository.listed() if path.startswith(f"models/{loop.model}/auto/")}
    assert listed == {f"models/{loop.model}/auto/2-int8.json"}
    assert loop.artifact(2).is_published
    assert not loop.artifact(2, Variant.FLOAT32).is_published


def test_without_a_delegation_a_model_that_passed_awaits_its_signature(loop: Loop) -> None:
    for sign in (True, False):
        job = loop.heal(age(loop, seed=3 + sign), sign=sign)
        assert result(job)["promotion"]["passed"]
        assert not result(job)["signed"]
        assert loop.artifact(result(job)["version"]).standing is models.Standing.AWAITING_SIGNATURE


@pytest.mark.long
def test_a_liar_is_named_nothing_is_signed_and_without_it_the_fleet_heals(loop: Loop) -> None:
    delegate(Repository.open(loop.desk.config.repository, loop.desk.config.keys), loop.model, datetime.now(UTC))
    refused = loop.heal(age(loop, liar="edge-2"), sign=True)
    gate = result(refused)["promotion"]
    assert not gate["passed"]
    [liar] = [rule for rule in gate["rules"] if rule["name"] == "owes-nothing-to-a-liar"]
    assert not liar["passed"]
    assert "edge-2" in liar["reason"]
    assert not result(refused)["signed"]
    assert loop.artifact(2).standing is models.Standing.NOT_PUBLISHED
    assert holders(loop) == {}

    healed = loop.heal(loop.retraining(), sign=True, without_devices=("edge-2",))
    assert result(healed)["signed"], result(healed)["promotion"]["rules"]
    assert result(healed)["bought"] == 24
    with loop.desk.database.read() as connection:
        snapshot = datasets.get_snapshot(connection, result(healed)["snapshot"])
    assert snapshot is not None
    assert snapshot.schema.without == ("edge-2",)
    assert snapshot.schema.devices == ("edge-1", "edge-3")
    assert accuracy(loop, result(healed)["version"], aged=True) > 0.8


@pytest.mark.long
def test_labels_that_say_nothing_do_not_pass(loop: Loop) -> None:
    random = np.random.default_rng(0)
    seen = []
    for number, device in enumerate(loop.devices):
        values, labels = world(60, aged=True, seed=number)
        seen.append(Seen(device, values[:20], random.permutation(labels[:20]).tolist()))
        loop.see(device, values)
    gate = result(loop.heal(loop.retraining(*seen)))["promotion"]
    assert not gate["passed"], gate["rules"]


def test_feedback_alone_is_not_learnt_from(loop: Loop) -> None:
    job = loop.desk.do(loop.request(age(loop, source=LabelSource.FEEDBACK)))
    assert job.state is JobState.FAILED
    assert "there is nothing to learn" in (job.error or "")


@pytest.mark.long
def test_without_windows_a_model_is_healed_and_says_what_that_means(loop: Loop) -> None:
    seen = []
    for number, device in enumerate(loop.devices):
        values, labels = world(LABELS_EACH, aged=True, seed=number)
        seen.append(Seen(device, values, labels))
    job = loop.heal(loop.retraining(*seen))
    assert any("no telemetry windows" in warning for warning in result(job)["warnings"])
    assert accuracy(loop, 2, aged=True) > 0.8


def test_what_is_not_there_cannot_be_healed(loop: Loop) -> None:
    request = loop.request(loop.retraining())
    for unknown in ("sha256:" + "0" * 64,):
        job = loop.desk.do(type(request)(**{**_fields(request), "digest": unknown}))
        assert job.state is JobState.FAILED
        assert f"model {loop.model} has no artifact {unknown}" in (job.error or "")


def test_a_job_that_was_killed_after_its_version_was_made_signs_it_and_makes_no_other(loop: Loop) -> None:
    job = loop.heal(age(loop))
    repository = Repository.open(loop.desk.config.repository, loop.desk.config.keys)
    delegate(repository, loop.model, datetime.now(UTC))
    request = {**loop.desk_parameters(job), "sign": True}
    with loop.desk.database.write() as connection:
        connection.execute(
            update(tables.jobs)
            .where(tables.jobs.c.id == job.id)
            .values(state=JobState.RUNNING, result=None, parameters=request)
        )
    loop.desk.desk.close()
    loop.desk.desk.recover()
    assert loop.desk.desk.do_next()
    again = loop.desk.read(job)
    assert again.state is JobState.SUCCEEDED
    assert result(again)["signed"]
    assert {**result(again), "signed": False} == result(job)
    assert versions(loop) == [2, 1]


def _fields(request: object) -> dict:
    return {name: getattr(request, name) for name in request.__struct_fields__}  # type: ignore[attr-defined]
