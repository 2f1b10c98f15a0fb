"""The job that heals a model: gathers what was bought, trains, lets the promotion gate judge, signs if it may.

Killed before the version is written down, it trains anew; killed after that, it goes on with signing. So a job makes
one version at most. Which labels count, whether the result is good enough and who may sign is decided elsewhere.
"""

from dataclasses import dataclass

import msgspec

from edgeops.data.schema import Schema
from edgeops.errors import ConflictError, DatasetError, NotFoundError
from fleet_server import gathering
from fleet_server.artifacts import Artifacts
from fleet_server.datasets.buying import Bought
from fleet_server.db import aliases, datasets, models, runs
from fleet_server.db.aliases import Alias
from fleet_server.db.database import Connection
from fleet_server.db.findings import Stream
from fleet_server.db.jobs import Job, Retrain
from fleet_server.ml import frames
from fleet_server.publish import publish_auto
from fleet_server.train_job import Course, result_of, train_on, write_down
from fleet_server.wall_clock import utc_now
from fleet_server.workshop import Workshop, promotion


@dataclass(frozen=True, slots=True, kw_only=True)
class _Champion:
    """The model that is to be healed, and how it was trained."""

    #: The file that drifted, and its siblings.
    artifact: models.Artifact
    variants: tuple[models.Artifact, ...]
    snapshot: datasets.Snapshot
    run: runs.Run


def retrain(shop: Workshop, job: Job, request: Retrain) -> None:
    """See a healing through.

    Raises:
        NotFoundError: the artifact, its run or its snapshot is not on this server.
        ConflictError: the rows of the snapshot were erased.
        DatasetError: there is nothing new to learn from, or a sample does not fit the dataset.
    """
    with shop.database.read() as connection:
        champion = _champion(connection, request)
        done = runs.succeeded_of(connection, job.id)
    # Who was left out of the champion is left out of what descends from it.
    left_out = tuple(sorted({*request.without_devices, *champion.snapshot.schema.without}))
    request = msgspec.structs.replace(request, without_devices=left_out)
    if done is None:
        _heal(shop, job, request, champion)
    _sign(shop, job, request, champion)


def _heal(shop: Workshop, job: Job, request: Retrain, champion: _Champion) -> None:
    """Train on the champion's snapshot and what was bought; the version is written down at the end."""
    shop.note(job, "gathering labels", 0.0)
    bought = gathering.bought(shop.database, request)
    snapshot = _extend(shop, job, request, champion, bought)
    known = Artifacts(shop.blobs).get(champion.artifact.digest)
    if known is None:
        raise NotFoundError(f"the file of {champion.artifact.target} is gone; train a new version by hand")
    inputs = gathering.inputs(
        shop.database,
        request,
        Stream(request.model, champion.artifact.version, request.digest, request.deployment),
        since=champion.artifact.created_at,
        channels=len(known.manifest.channels),
        now=utc_now(),
    )
    with shop.workplace() as folder:
        nominated = folder / "nominated"
        nominated.write_bytes(msgspec.msgpack.encode(gathering.nominated(shop.database, request)))
        healing = frames.Healing(
            label_weight=request.label_weight,
            inputs=inputs,
            nominated=str(nominated),
        )
        course = _course(request, champion, snapshot)
        trained = train_on(shop, job, course, champion=champion.variants, healing=healing)
    with shop.database.write() as connection:
        write_down(connection, trained)
        judged = next(one for one in trained.artifacts if one.variant is champion.artifact.variant)
        if judged.describe().promotion.passed:
            aliases.assign(
                connection,
                request.model,
                Alias.CHALLENGER,
                trained.version,
                utc_now(),
                actor=job.id,
                reason="passed its promotion gate",
            )


def _extend(shop: Workshop, job: Job, request: Retrain, champion: _Champion, bought: list[Bought]) -> datasets.Snapshot:
    """The snapshot that is learnt from, among the blobs and in the books."""
    parent = champion.snapshot
    with shop.workplace() as folder:
        listed, file = folder / "bought", folder / "snapshot.npz"
        listed.write_bytes(msgspec.msgpack.encode(bought))
        task = frames.Extend(
            parent=str(shop.blobs.path(parent.digest)),
            parent_digest=parent.digest,
            bought=str(listed),
            without=request.without_devices,
            destination=str(file),
        )
        ending = shop.work(job, task)
        assert isinstance(ending, frames.Imported), ending
        if not _is_new(ending.schema, parent.schema):
            raise DatasetError(
                f"no sample of {request.model} was labelled since version {champion.artifact.version} was trained, no "
                "label was corrected and nobody new is left out: there is nothing to learn; see the queue with: "
                f"edgeops label queue {request.model}"
            )
        digest, size_bytes = shop.keep_snapshot(file)
    with shop.database.write() as connection:
        return datasets.add_branch(
            connection,
            parent.dataset,
            digest,
            parent=parent.digest,
            size_bytes=size_bytes,
            schema=ending.schema,
            now=utc_now(),
        )


def _is_new(child: Schema, parent: Schema) -> bool:
    """Whether anything but the name of the parent differs."""
    return child.fresh_rows > 0 or any(
        getattr(child, part) != getattr(parent, part) for part in ("without", "bought_rows", "class_rows")
    )


def _sign(shop: Workshop, job: Job, request: Retrain, champion: _Champion) -> None:
    """End the job: signed by the model's delegated key if it may be; else the version waits, or was refused."""
    with shop.database.read() as connection:
        run = runs.succeeded_of(connection, job.id)
        assert run is not None, "the version is written down"
        snapshot = datasets.get_snapshot(connection, run.snapshot)
        assert snapshot is not None, "before its run"
        result = result_of(connection, run.id)
        judged = models.get_artifact(connection, request.model, result["version"], champion.artifact.variant)
        assert judged is not None, "with its variants"
    gate = promotion(judged)
    signed = False
    if gate["passed"] and request.sign:
        shop.note(job, "signing", 0.98)
        listed = publish_auto(
            shop.config,
            shop.database,
            request.model,
            judged.version,
            variant=judged.variant,
            published_by=job.created_by,
            now=utc_now(),
        )
        signed = all(one.is_published for one in listed)
    elif gate["passed"] and judged.standing is models.Standing.NOT_PUBLISHED:
        with shop.database.write() as connection:
            models.mark_awaiting_signature(connection, judged, utc_now())
    bought = {"snapshot": snapshot.digest, "bought": snapshot.schema.bought_rows, "fresh": snapshot.schema.fresh_rows}
    shop.succeed(job, {**result, **bought, "promotion": gate, "signed": signed})


def _champion(connection: Connection, request: Retrain) -> _Champion:
    artifact = models.artifact_by_digest(connection, request.digest)
    if artifact is None or artifact.model != request.model:
        raise NotFoundError(f"model {request.model} has no artifact {request.digest}")
    version = models.get_version(connection, artifact.model, artifact.version)
    assert version is not None, "an artifact belongs to a version"
    run = runs.get(connection, version.run_id)
    snapshot = datasets.get_snapshot(connection, artifact.describe().manifest.lineage.snapshot)
    if run is None or snapshot is None:
        raise NotFoundError(f"what {request.model}@{artifact.version} was trained on is not on this server")
    if run.recipe == frames.Bring.recipe:
        raise ConflictError(
            f"{request.model}@{artifact.version} was brought as a file, and nothing here knows how to train it; bring "
            f"a new one: edgeops publish FILE --name {request.model}"
        )
    if snapshot.erased_at is not None:
        raise ConflictError(
            f"snapshot {snapshot.digest}, which {request.model}@{artifact.version} learnt from, was erased at "
            f"{snapshot.erased_at.isoformat(timespec='seconds')} because a group of it was; train a new version: "
            f"edgeops train {snapshot.dataset} --model {request.model}"
        )
    return _Champion(
        artifact=artifact,
        variants=tuple(models.list_artifacts(connection, artifact.model, artifact.version)),
        snapshot=snapshot,
        run=run,
    )


def _course(request: Retrain, champion: _Champion, snapshot: datasets.Snapshot) -> Course:
    """As the champion was trained, where the request says nothing else."""
    options = dict(champion.run.parameters)
    epochs = options.pop("epochs", None)
    return Course(
        model=request.model,
        snapshot=snapshot.digest,
        recipe=champion.run.recipe,
        seed=request.seed,
        epochs=request.epochs or epochs,
        options=options,
        variants=tuple(one.variant for one in champion.variants),
    )
