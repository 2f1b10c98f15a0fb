"""The bill of materials of a version: CycloneDX 1.6 (ECMA-424), in JSON, with a model card for programs.

It names files, data and libraries by their digests and versions; no person, device, host or group of rows is in it.
The same version gives the same bytes: its moment is that of the version, its serial number follows from what it says.
"""

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

import msgspec

from edgeops.artifact.manifest import Descriptor, Manifest, Task
from edgeops.card.cautions import cautions
from edgeops.card.facts import Facts
from edgeops.card.figures import figures_of
from edgeops.digest import digest_bytes, digest_hex

MEDIA_TYPE = "application/vnd.cyclonedx+json; version=1.6"
#: Serial numbers are UUIDs of version 5 (RFC 9562, 5.5) below this one.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/schema/bom-1.6.schema.json")
_APPROACHES = {
    Task.CLASSIFICATION: "supervised",
    Task.REGRESSION: "supervised",
    Task.ANOMALY: "unsupervised",
}
_NAMED = 64

Object = dict[str, Any]


def write_bill(facts: Facts) -> bytes:
    """The document, indented, with a newline at its end."""
    libraries = facts.manifest.lineage.libraries
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": facts.created_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "tools": {"components": [{"type": "application", "name": "edgeops"}]},
            "component": _model(facts),
        },
        "components": [_data(facts), *(_library(name, version) for name, version in sorted(libraries.items()))],
        "dependencies": [
            {
                "ref": _reference(facts),
                "dependsOn": [facts.manifest.lineage.snapshot, *(_purl(*one) for one in sorted(libraries.items()))],
            }
        ],
    }
    content = msgspec.json.encode(document, order="deterministic")
    serial = uuid.uuid5(_NAMESPACE, digest_bytes(content)).urn
    return msgspec.json.format(msgspec.json.encode({"serialNumber": serial} | document), indent=2) + b"\n"


def _reference(facts: Facts) -> str:
    return f"{facts.model}@{facts.version}"


def _model(facts: Facts) -> Object:
    """The version; its files are parts of it."""
    manifest, lineage = facts.manifest, facts.manifest.lineage
    told: Object = {
        "type": "machine-learning-model",
        "bom-ref": _reference(facts),
        "name": facts.model,
        "version": str(facts.version),
        "modelCard": {
            "modelParameters": _parameters(facts),
            "considerations": {"technicalLimitations": list(cautions(manifest, facts.schema))},
        },
        "components": [_file(facts, one) for one in facts.files],
        "properties": _properties(
            {
                "recipe": lineage.recipe,
                "recipe-digest": lineage.recipe_digest,
                "seed": str(lineage.seed),
                "commit": lineage.commit,
            }
        ),
    }
    if lineage.brought is not None:
        ancestor = {
            "type": "machine-learning-model",
            "name": "the file that was brought",
            "hashes": _hashes(lineage.brought),
        }
        told["pedigree"] = {"ancestors": [ancestor]}
    return told


def _parameters(facts: Facts) -> Object:
    manifest, schema = facts.manifest, facts.schema
    told: Object = {
        "task": schema.task,
        "modelArchitecture": manifest.lineage.recipe,
        "datasets": [{"ref": manifest.lineage.snapshot}],
        "inputs": [{"format": _input(manifest)}],
        "outputs": [{"format": _output(manifest)}],
    }
    if manifest.lineage.brought is None:
        told["approach"] = {"type": _APPROACHES[schema.task]}
    return told


def _input(manifest: Manifest) -> str:
    window = manifest.window
    names = f"{', '.join(window.columns[:_NAMED])}{' ...' if len(window.columns) > _NAMED else ''}"
    return f"float32, {window.rows} x {len(window.columns)} readings: {names}"


def _output(manifest: Manifest) -> str:
    output = manifest.output
    match manifest.task:
        case Task.CLASSIFICATION:
            more = " ..." if len(output.labels) > _NAMED else ""
            return f"one of {len(output.labels)} labels with its confidence: {', '.join(output.labels[:_NAMED])}{more}"
        case Task.REGRESSION:
            return f"a number, {output.units}" if output.units else "a number"
        case Task.ANOMALY:
            return f"a score; above {output.threshold:g} it is an alarm"


def _file(facts: Facts, descriptor: Descriptor) -> Object:
    """One variant: the very file that devices run."""
    manifest = descriptor.manifest
    operations = ", ".join(f"{name} {version}" for name, version in sorted(manifest.requirements.ops.items()))
    return {
        "type": "machine-learning-model",
        "bom-ref": descriptor.digest,
        "mime-type": "application/octet-stream",
        "name": f"{facts.model}-{manifest.variant}",
        "version": str(facts.version),
        "hashes": _hashes(descriptor.digest),
        "modelCard": {"quantitativeAnalysis": {"performanceMetrics": list(_metrics(manifest.metrics))}},
        "properties": _properties(
            {
                "variant": manifest.variant,
                "size-bytes": str(descriptor.size_bytes),
                "operations": operations,
                "calibration": manifest.lineage.calibration or "",
                "promotion-gate": "passed" if descriptor.promotion.passed else "failed",
            }
        ),
    }


def _metrics(metrics: Mapping[str, float]) -> Iterator[Object]:
    for one in figures_of(metrics):
        told: Object = {"type": one.name, "value": f"{one.value:.6g}", "slice": "rows held back"}
        if one.bounds is not None:
            told["confidenceInterval"] = {"lowerBound": f"{one.bounds[0]:.6g}", "upperBound": f"{one.bounds[1]:.6g}"}
        yield told


def _data(facts: Facts) -> Object:
    """The snapshot, which came of an imported file or extends another one."""
    schema, snapshot = facts.schema, facts.manifest.lineage.snapshot
    train, validation, evaluation = schema.split_rows
    counts = {
        "rows": schema.rows,
        "rows-learnt-from": train,
        "rows-stopped-on": validation,
        "rows-that-judge": evaluation,
        "rows-refused": sum(schema.refused.values()),
        "columns": len(schema.columns),
    }
    ancestors: list[Object] = [{"type": "file", "name": "the imported file", "hashes": _hashes(schema.source)}]
    if schema.parent is not None:
        ancestors.append({"type": "data", "name": "the snapshot that it extends", "hashes": _hashes(schema.parent)})
    return {
        "type": "data",
        "bom-ref": snapshot,
        "name": facts.dataset,
        "hashes": _hashes(snapshot),
        "pedigree": {"ancestors": ancestors},
        "data": [
            {
                "type": "dataset",
                "name": facts.dataset,
                "contents": {"properties": _properties({name: str(count) for name, count in counts.items()})},
            }
        ],
    }


def _library(name: str, version: str) -> Object:
    """What the bytes of the files depend on; devices need none of it."""
    return {
        "type": "library",
        "bom-ref": _purl(name, version),
        "name": name,
        "version": version,
        "scope": "excluded",
        "purl": _purl(name, version),
    }


def _purl(name: str, version: str) -> str:
    """Package URL of PyPI; a `+` of a local version is encoded."""
    return f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"


def _hashes(digest: str) -> list[Object]:
    return [{"alg": "SHA-256", "content": digest_hex(digest)}]


def _properties(values: Mapping[str, str]) -> list[Object]:
    """Those that say something, under a name of our own."""
    return [{"name": f"edgeops:{name}", "value": value} for name, value in values.items() if value]
