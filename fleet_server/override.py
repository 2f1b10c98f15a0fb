"""Lets a version be listed although its promotion gate refused it: a person says so, with a remark, and it is signed.

The descriptor, which is what TUF signs, tells from then on who did, when and why. Nothing is listed here.
"""

from datetime import datetime

import msgspec

from edgeops.artifact.manifest import Override, Variant, encode_value
from edgeops.errors import ConflictError, InputError
from fleet_server.db import audit, jobs, models, runs
from fleet_server.db.database import Connection, Database
from fleet_server.four_eyes import require_four_eyes


def override_gate(
    database: Database,
    artifacts: list[models.Artifact],
    *,
    variant: Variant | None,
    by: str,
    remark: str,
    now: datetime,
) -> None:
    """Go past the promotion gate of one variant of a version, or of all; harmless to repeat.

    Raises:
        InputError: no remark.
        ConflictError: the gate let all of them pass, or four eyes are demanded and `by` trained it.
    """
    if not remark.strip():
        detail = "an override needs a remark: say why devices may run what its promotion gate refused"
        raise InputError(detail, fields=[("#/remark", detail)])
    chosen = [one for one in artifacts if variant in (None, one.variant)]
    refused = [one for one in chosen if not one.describe().promotion.passed]
    subject = f"{artifacts[0].model}@{artifacts[0].version}"
    if not refused:
        raise ConflictError(f"{subject} passed its promotion gate; publish it: edgeops publish {subject}")
    anew = [one for one in refused if one.describe().promotion.override is None]
    with database.write() as connection:
        require_four_eyes(connection, _who_trained(connection, artifacts[0]), by)
        for one in anew:
            models.describe_anew(connection, one, _overridden(one, Override(by=by, at=now.isoformat(), remark=remark)))
        if anew:
            told = {one.variant.value: one.describe().promotion.failures for one in anew}
            audit.append(connection, by, "model.gate-overridden", subject, told, now, remark=remark)


def _overridden(artifact: models.Artifact, override: Override) -> bytes:
    descriptor = artifact.describe()
    promotion = msgspec.structs.replace(descriptor.promotion, override=override)
    return encode_value(msgspec.structs.replace(descriptor, promotion=promotion))


def _who_trained(connection: Connection, artifact: models.Artifact) -> str:
    """Whose job it was; nobody's where it was not trained here."""
    version = models.get_version(connection, artifact.model, artifact.version)
    run = None if version is None else runs.get(connection, version.run_id)
    job = None if run is None else jobs.get(connection, run.job_id)
    return "" if job is None else job.created_by
