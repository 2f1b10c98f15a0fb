"""What a version can be trained again from, and why it cannot."""

from dataclasses import dataclass

from edgeops.errors import ConflictError, NotFoundError
from fleet_server.blobs import Blobs
from fleet_server.db import audit, datasets, models, runs
from fleet_server.db.database import Connection
from fleet_server.ml import frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """All that is needed."""

    run: runs.Run
    snapshot: datasets.Snapshot
    artifacts: tuple[models.Artifact, ...]
    #: Of a healing: the artifacts of the model that drifted.
    champion: tuple[models.Artifact, ...]


def find_basis(connection: Connection, blobs: Blobs, model: str, version: int) -> Basis:
    """Look for everything that a version was made of.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: something of it is not kept; the message says what, since when and by whom.
    """
    known = models.get_version(connection, model, version)
    if known is None:
        raise NotFoundError(f"no version {version} of a model {model[:80]!r}; list them with: edgeops model list")
    run = runs.get(connection, known.run_id)
    assert run is not None, "a version has a run"
    if run.recipe == frames.Bring.recipe:
        raise ConflictError(
            f"{model}@{version} was brought as a file, and nothing here knows how to train it; bring it once more and "
            f"compare the digests: edgeops publish FILE --name {model} --draft"
        )
    snapshot = datasets.get_snapshot(connection, run.snapshot)
    assert snapshot is not None, "a run has a snapshot"
    if snapshot.erased_at is not None:
        raise ConflictError(_erased(connection, model, version, snapshot))
    artifacts = tuple(models.list_artifacts(connection, model, version))
    digests = () if run.healing is None else tuple(run.healing.champion.values())
    champion = tuple(one for digest in digests if (one := models.artifact_by_digest(connection, digest)) is not None)
    for what, digest in (
        ("the snapshot", snapshot.digest),
        *((f"the file of {one.target}", one.digest) for one in (*artifacts, *champion)),
    ):
        if not blobs.exists(digest):
            raise ConflictError(f"{what} {digest}, of which {model}@{version} was made, is gone from this server")
    return Basis(run=run, snapshot=snapshot, artifacts=artifacts, champion=champion)


def _erased(connection: Connection, model: str, version: int, snapshot: datasets.Snapshot) -> str:
    assert snapshot.erased_at is not None
    entries = audit.about(connection, "dataset.group-erased", snapshot.dataset)
    told = next((one for one in entries if snapshot.digest in one.data["snapshots"]), None)
    why = "a group of it was erased" if told is None else f"{told.actor} had group {told.data['group']!r} erased"
    return (
        f"{model}@{version} cannot be reproduced: its snapshot {snapshot.digest} of dataset {snapshot.dataset} is gone "
        f"since {snapshot.erased_at.isoformat(timespec='seconds')}, because {why}; train a new version: "
        f"edgeops train {snapshot.dataset} --model {model}"
    )
