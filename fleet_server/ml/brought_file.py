"""What a file is that a person brings as a model: a `.tflite`, a `.keras`, or a SavedModel folder in a zip.

It goes by content, not by name. Of an archive nothing is unpacked before its directory was judged: how much, how many,
and where to. What the model computes is not looked at here.
"""

import stat
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from edgeops import limits
from edgeops.artifact.package import open_artifact
from edgeops.errors import ArtifactError
from edgeops.npz import DAMAGED

_TFLITE_AT_4, _ZIP, _HDF5 = b"TFL3", b"PK\x03\x04", b"\x89HDF"
_SAVED_MODEL = "saved_model.pb"
_KERAS = frozenset({"config.json", "model.weights.h5"})
_WANTED = "a .tflite, a .keras or a SavedModel folder"
_HEAD_BYTES = 8
#: Of the upper half of a member's attributes, where the archive was made on Unix (APPNOTE 4.4.15).
_MODE_SHIFT = 16


class Kind(StrEnum):
    """What a brought file is."""

    #: Finished: it stays as it is.
    TFLITE = "tflite"
    #: A network that is converted.
    KERAS = "keras"
    SAVED_MODEL = "saved-model"


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtFile:
    """A file that may be opened as what it is."""

    kind: Kind
    #: Of a SavedModel its folder.
    path: Path
    #: What a person should know, in words.
    notes: tuple[str, ...] = ()


def open_brought(source: Path, file_name: str, *, folder: Path) -> BroughtFile:
    """Find out what a file is, and make it ready in `folder`.

    Raises:
        ArtifactError: it is no model, is too large, or an archive that reaches further than it may.
    """
    with source.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[4:8] == _TFLITE_AT_4:
        return _tflite(source, file_name, folder)
    if head.startswith(_HDF5):
        raise ArtifactError(f"{file_name} is HDF5, the old format of Keras; save it again: model.save('model.keras')")
    if not zipfile.is_zipfile(source):
        truncated = (
            "; it begins as an archive and does not end as one: it is truncated" if head.startswith(_ZIP) else ""
        )
        raise ArtifactError(f"{file_name} is no model: expected {_WANTED}{truncated}")
    try:
        with zipfile.ZipFile(source) as archive:
            return _archived(archive, source, file_name, folder)
    except DAMAGED as error:
        raise ArtifactError(f"the archive {file_name} is damaged: {error}") from error


def _tflite(source: Path, file_name: str, folder: Path) -> BroughtFile:
    """Without what is appended to it: an archive of TFLite Metadata, whose labels and text nobody here reads."""
    if not zipfile.is_zipfile(source):
        _refuse_large(source.stat().st_size, file_name)
        return BroughtFile(kind=Kind.TFLITE, path=source)
    _refuse_artifact(source, file_name)
    with zipfile.ZipFile(source) as archive:
        start = min((member.header_offset for member in archive.infolist()), default=0)
        names = ", ".join(sorted(archive.namelist())[:5])
    _refuse_large(start, file_name)
    bare = folder / "bare.tflite"
    bare.write_bytes(source.read_bytes()[:start])
    note = f"an archive was appended to {file_name} ({names}); the model is taken without it"
    return BroughtFile(kind=Kind.TFLITE, path=bare, notes=(note,))


def _refuse_artifact(source: Path, file_name: str) -> None:
    try:
        manifest = open_artifact(source).manifest
    except ArtifactError:  # some other archive
        return
    raise ArtifactError(
        f"{file_name} is an artifact of EdgeOps already, {manifest.name}@{manifest.version} {manifest.variant}: bring "
        "the .tflite that it was made of, with the preprocessing that its manifest.json has (any zip tool shows it)"
    )


def _refuse_large(size_bytes: int, file_name: str) -> None:
    if size_bytes > limits.MAX_ARTIFACT_BYTES:
        raise ArtifactError(
            f"{file_name} has {size_bytes} bytes; no device takes more than {limits.MAX_ARTIFACT_BYTES}"
        )


def _archived(archive: zipfile.ZipFile, source: Path, file_name: str, folder: Path) -> BroughtFile:
    members = archive.infolist()
    _check(members, file_name)
    names = {member.filename for member in members}
    if names >= _KERAS:
        # Keras goes by the name.
        path = folder / "model.keras"
        path.symlink_to(source.resolve())
        return BroughtFile(kind=Kind.KERAS, path=path)
    roots = [PurePosixPath(name).parent for name in names if PurePosixPath(name).name == _SAVED_MODEL]
    if len(roots) != 1:
        held = ", ".join(sorted(names)[:5])
        found = f"{len(roots)} SavedModels" if roots else f"no model ({held})"
        raise ArtifactError(f"the archive {file_name} holds {found}; expected {_WANTED}")
    archive.extractall(folder / "saved-model", members)
    return BroughtFile(kind=Kind.SAVED_MODEL, path=folder / "saved-model" / roots[0])


def _check(members: list[zipfile.ZipInfo], file_name: str) -> None:
    """What a member claims to hold is all that is ever read of it (`zipfile`), so the claims bound what is unpacked."""
    if len(members) > limits.MAX_BROUGHT_MEMBERS:
        raise ArtifactError(
            f"the archive {file_name} has {len(members)} members, more than {limits.MAX_BROUGHT_MEMBERS}"
        )
    total = sum(member.file_size for member in members)
    if total > limits.MAX_BROUGHT_BYTES:
        raise ArtifactError(f"the archive {file_name} unpacks to {total} bytes, more than {limits.MAX_BROUGHT_BYTES}")
    seen = set[PurePosixPath]()
    for member in members:
        path = PurePosixPath(member.filename)
        mode = member.external_attr >> _MODE_SHIFT
        leads_out = path.is_absolute() or ".." in path.parts or "\\" in member.filename
        if leads_out or path in seen or stat.S_ISLNK(mode):
            what = "leads out of it" if leads_out else "comes twice" if path in seen else "is a link"
            raise ArtifactError(f"the archive {file_name} has the member {member.filename[:200]!r}, which {what}")
        seen.add(path)
