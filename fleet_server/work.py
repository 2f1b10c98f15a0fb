"""When two pieces of work are the same: the same request, the same inputs by their digests, the same code.

A step of a pipeline whose work was done is not done again. What is not in the digest must not change what comes of the
work: the machine, the moment, who asked. Nothing is looked up here.
"""

import functools
from importlib import metadata, util
from pathlib import Path

import msgspec

from edgeops.digest import digest_bytes, digest_chunks
from edgeops.protocol.messages import Digest
from fleet_server.db.jobs import ImportDataset, Request, Train

#: What reads files into snapshots: packages of ours, and libraries.
READING = ("edgeops.data", "edgeops.model", "fleet_server.datasets")
_READING_LIBRARIES = ("numpy", "pyarrow", "pillow")
#: What makes artifacts of snapshots.
_TRAINING = (*READING, "edgeops.artifact", "edgeops.learning", "edgeops.sketch", "fleet_server.ml")
_TRAINING_LIBRARIES = (*_READING_LIBRARIES, "tensorflow", "tensorflow-cpu", "keras", "ai-edge-litert")


def work_digest(request: Request) -> Digest | None:
    """Of what a job is asked for; None = a job of this kind is done each time that somebody asks."""
    match request:
        case ImportDataset():
            code = _code_digest(READING, _READING_LIBRARIES)
        case Train(snapshot=None):  # it learns from whatever is the newest snapshot when its turn comes
            return None
        case Train():
            code = _code_digest(_TRAINING, _TRAINING_LIBRARIES)
        case _:
            return None
    return digest_bytes(msgspec.json.encode((request, code), order="deterministic"))


@functools.cache
def _code_digest(packages: tuple[str, ...], libraries: tuple[str, ...]) -> Digest:
    """Of all source files below some packages, and the versions of libraries."""
    files = [(package, path) for package in packages for path in sorted(_folder(package).rglob("*.py"))]
    told = [f"{package} {path.relative_to(_folder(package))}\n".encode() + path.read_bytes() for package, path in files]
    return digest_chunks([*told, *(f"{name} {_version(name)}\n".encode() for name in libraries)])


def _folder(package: str) -> Path:
    found = util.find_spec(package)
    assert found is not None and found.origin is not None, package  # noqa: PT018 - for the type checker
    return Path(found.origin).parent


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""
