"""The job that trains a version once more, compares, and keeps nothing of it but the verdict.

Snapshot, recipe, seed, options, epochs and variants are those of its run; libraries, machine and code are what they are
now. Of a healed version the windows that devices showed and the samples that they nominated are not kept, so what was
made of them, the reference profile, is not compared.
"""

from pathlib import Path

import msgspec

from edgeops.artifact.package import open_artifact, tflite_part
from edgeops.digest import digest_bytes
from edgeops.learning.reproduction import Part, Parts, judge_reproduction
from fleet_server.db.jobs import Job, Reproduce
from fleet_server.ml import frames
from fleet_server.ml.surroundings import look_around
from fleet_server.reproduction import Basis, find_basis
from fleet_server.train_job import Course, build_task
from fleet_server.workshop import Workshop


def reproduce(shop: Workshop, job: Job, request: Reproduce) -> None:
    """See it through.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: something that it was made of is not kept.
        DatasetError: the recipe of today refuses the rows or an option.
    """
    with shop.database.read() as connection:
        basis = find_basis(connection, shop.blobs, request.model, request.version)
    here = look_around()
    with shop.workplace() as folder:
        healing = _healing(basis, folder)
        task = build_task(
            shop,
            _course(basis),
            here,
            version=request.version,
            run=basis.run.id,
            folder=folder,
            champion=basis.champion,
            healing=healing,
        )
        ending = shop.work(job, task)
        assert isinstance(ending, frames.Built), ending
        found = judge_reproduction(
            {one.variant: _parts(shop.blobs.path(one.digest)) for one in basis.artifacts},
            {one.variant: _parts(Path(one.file)) for one in ending.variants},
            then=basis.run.environment,
            now=here,
            not_compared=() if healing is None else (Part.REFERENCE,),
        )
    told = {"model": request.model, "version": request.version, "run": basis.run.id}
    shop.succeed(job, {**told, **msgspec.to_builtins(found)})


def _course(basis: Basis) -> Course:
    options = dict(basis.run.parameters)
    epochs = options.pop("epochs", None)
    return Course(
        model=basis.run.model,
        snapshot=basis.run.snapshot,
        recipe=basis.run.recipe,
        seed=basis.run.seed,
        epochs=epochs,
        options=options,
        variants=tuple(one.variant for one in basis.artifacts),
    )


def _healing(basis: Basis, folder: Path) -> frames.Healing | None:
    """What is left of what the run was shown."""
    if basis.run.healing is None:
        return None
    nobody = folder / "nominated"
    nobody.write_bytes(msgspec.msgpack.encode([]))
    return frames.Healing(label_weight=basis.run.healing.label_weight, inputs=b"", nominated=str(nobody))


def _parts(path: Path) -> Parts:
    artifact, data = open_artifact(path), path.read_bytes()
    return Parts(
        digest=digest_bytes(data),
        weights=digest_bytes(tflite_part(data)),
        manifest=artifact.manifest,
        reference=artifact.reference,
        golden=artifact.golden,
        card=artifact.card,
    )
