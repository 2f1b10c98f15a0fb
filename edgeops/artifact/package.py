"""One artifact file: the `.tflite` with a zip appended, the same bytes from the same input for ever.

The layout follows TFLite Metadata's convention (https://ai.google.dev/edge/litert/models/metadata): zip offsets
count from the start of the file, so runtimes see a flatbuffer and zip tools see an archive. Members are stored, not
deflated (zlib builds differ), dated 1980-01-01, in the order of `_MEMBERS`. The archive's comment is
`edgeops-artifact/1 ` and the digest of the `.tflite` part, so a swapped model or member is noticed.

`open_artifact` accepts only what `package` writes: it rebuilds the archive from what it read and compares the bytes.
It does NOT know whether anybody vouches for the file; digest and trust are checked before.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgeops import limits
from edgeops.artifact.blockplan import block_list
from edgeops.artifact.manifest import Descriptor, Manifest, Promotion, decode_manifest, encode_value
from edgeops.digest import digest_bytes, digest_chunks
from edgeops.errors import ArtifactError

_MANIFEST, _REFERENCE, _GOLDEN, _LABELS, _CARD = "manifest.json", "reference", "golden", "labels.txt", "MODEL_CARD.md"
_MEMBERS = (_MANIFEST, _REFERENCE, _GOLDEN, _LABELS, _CARD)
_COMMENT = b"edgeops-artifact/1 "
_COMMENT_BYTES = len(_COMMENT) + len("sha256:") + 64

#: Signature, then version needed, flags, method, time, date, CRC-32, two sizes, lengths of name and extra field.
_LOCAL = struct.Struct("<4s5H3L2H")
#: The same after who made it; then lengths of comment, disk, two attributes, offset of the local header.
_ENTRY = struct.Struct("<4s6H3L5H2L")
_ENTRY_SIZE_AT = 20
#: Signature, disks, counts of entries, bytes and offset of the directory, length of the comment.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_VERSION, _STORED, _DATE_1980 = 20, 0, 0x21
_MADE_BY_UNIX = 3 << 8 | 20
_MODE = 0o100644

#: Everything behind the last member has a fixed length.
_DIRECTORY_BYTES = sum(_ENTRY.size + len(name) for name in _MEMBERS)
_TAIL_BYTES = _DIRECTORY_BYTES + _END.size + _COMMENT_BYTES

_FILE_IDENTIFIER = b"TFL3"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Artifact:
    """What one model file contains beside the model."""

    manifest: Manifest
    reference: bytes
    golden: bytes
    labels: tuple[str, ...]
    card: str
    path: Path


def package(tflite: bytes, manifest: Manifest, *, reference: bytes, golden: bytes, card: str) -> bytes:
    """The artifact's bytes.

    Raises:
        ArtifactError: `tflite` is no bare TFLite flatbuffer, or a part exceeds its limit.
    """
    _check_flatbuffer(tflite[:8], "the model")
    if zipfile.is_zipfile(io.BytesIO(tflite)):
        raise ArtifactError("the model already ends in a zip archive; give the bare .tflite of the converter")
    members = {
        _MANIFEST: encode_value(manifest),
        _REFERENCE: reference,
        _GOLDEN: golden,
        _LABELS: _label_lines(manifest),
        _CARD: card.encode(),
    }
    for name, data in members.items():
        if len(data) > _limit(name):
            raise ArtifactError(f"{name} has {len(data)} bytes, more than {_limit(name)}")
    whole = tflite + _archive(members, start=len(tflite), model_digest=digest_bytes(tflite))
    if len(whole) > limits.MAX_ARTIFACT_BYTES:
        raise ArtifactError(f"an artifact of {len(whole)} bytes exceeds {limits.MAX_ARTIFACT_BYTES}")
    return whole


def open_artifact(path: Path) -> Artifact:
    """Read and check an artifact; the model part is hashed but not kept.

    Raises:
        ArtifactError: the file cannot be read, is truncated, damaged, or nothing that `package` wrote.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as error:
        raise ArtifactError(f"cannot read the artifact {path}: {error.strerror or error}") from error


def tflite_part(data: bytes) -> bytes:
    """The bare `.tflite` inside an artifact's bytes.

    Raises:
        ArtifactError: as `open_artifact`.
    """
    start, _ = _find_members(io.BytesIO(data), "the artifact")
    return data[:start]


def describe(
    data: bytes,
    manifest: Manifest,
    *,
    run: str,
    built_at: str,
    host: str,
    latency_p50_ms: float,
    latency_p95_ms: float,
    memory_bytes: int,
    promotion: Promotion,
) -> Descriptor:
    """The descriptor of an artifact's bytes; `built_at` is RFC 3339, latencies are of one thread on `host`."""
    return Descriptor(
        manifest=manifest,
        digest=digest_bytes(data),
        size_bytes=len(data),
        block_bytes=limits.BLOCK_BYTES,
        blocks_digest=digest_bytes(block_list(data, limits.BLOCK_BYTES)),
        run=run,
        built_at=built_at,
        host=host,
        latency_p50_ms=latency_p50_ms,
        latency_p95_ms=latency_p95_ms,
        memory_bytes=memory_bytes,
        promotion=promotion,
    )


def _read(file: BinaryIO, path: Path) -> Artifact:
    where = str(path)
    start, members = _find_members(file, where)
    file.seek(0)
    _check_flatbuffer(file.read(8), where)
    file.seek(0)
    archive = _archive(members, start=start, model_digest=digest_chunks(_chunks(file, start)))
    file.seek(start)
    if file.read() != archive:
        raise ArtifactError(f"{where}: the model and the archive behind it do not belong together, or one is damaged")
    manifest = decode_manifest(members[_MANIFEST])
    if members[_LABELS] != _label_lines(manifest):
        raise ArtifactError(f"{where}: {_LABELS} differs from the labels of {_MANIFEST}")
    try:
        card = members[_CARD].decode()
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{where}: {_CARD} is not UTF-8: {error}") from error
    return Artifact(
        manifest=manifest,
        reference=members[_REFERENCE],
        golden=members[_GOLDEN],
        labels=manifest.output.labels,
        card=card,
        path=path,
    )


def _find_members(file: BinaryIO, where: str) -> tuple[int, dict[str, bytes]]:
    """Where the archive starts, and its members as its directory claims them; nothing is inflated."""
    size = file.seek(0, io.SEEK_END)
    if size > limits.MAX_ARTIFACT_BYTES:
        raise ArtifactError(f"{where} has {size} bytes, more than {limits.MAX_ARTIFACT_BYTES}")
    if size < _TAIL_BYTES:
        raise ArtifactError(f"{where} has {size} bytes, too few for an artifact; it is truncated or something else")
    file.seek(size - _TAIL_BYTES)
    tail = file.read(_TAIL_BYTES)
    if tail[_DIRECTORY_BYTES:][: len(_END_SIGNATURE)] != _END_SIGNATURE or _COMMENT not in tail:
        raise ArtifactError(f"{where} does not end as an artifact does; it is truncated or something else")
    sizes, at = [], 0
    for name in _MEMBERS:
        found = tail[at + _ENTRY.size : at + _ENTRY.size + len(name)]
        sizes.append(int.from_bytes(tail[at + _ENTRY_SIZE_AT : at + _ENTRY_SIZE_AT + 4], "little"))
        if found != name.encode() or sizes[-1] > _limit(name):
            raise ArtifactError(
                f"{where}: the archive has {found!r} of {sizes[-1]} bytes, expected {name} of at most {_limit(name)}"
            )
        at += _ENTRY.size + len(name)
    start = size - _TAIL_BYTES - sum(_LOCAL.size + len(name) for name in _MEMBERS) - sum(sizes)
    if start <= 0:
        raise ArtifactError(f"{where}: the archive claims more bytes than the file's {size}; it is truncated")
    members, at = {}, start
    for name, length in zip(_MEMBERS, sizes, strict=True):
        at += _LOCAL.size + len(name)
        file.seek(at)
        members[name] = file.read(length)
        at += length
    return start, members


def _archive(members: dict[str, bytes], *, start: int, model_digest: str) -> bytes:
    """The appended part as it stands at byte `start` of the file (APPNOTE 4.3.6, 4.3.7, 4.3.12, 4.3.16)."""
    local, directory = bytearray(), bytearray()
    for name, data in members.items():
        at = start + len(local)
        shared = (_VERSION, 0, _STORED, 0, _DATE_1980, zlib.crc32(data), len(data), len(data), len(name), 0)
        local += _LOCAL.pack(b"PK\x03\x04", *shared) + name.encode() + data
        directory += _ENTRY.pack(b"PK\x01\x02", _MADE_BY_UNIX, *shared, 0, 0, 0, _MODE << 16, at) + name.encode()
    comment = _COMMENT + model_digest.encode()
    count = len(members)
    end = _END.pack(_END_SIGNATURE, 0, 0, count, count, len(directory), start + len(local), len(comment))
    return bytes(local + directory) + end + comment


def _chunks(file: BinaryIO, length: int) -> Iterator[bytes]:
    """The next `length` bytes of a file, in pieces."""
    while length > 0 and (piece := file.read(min(length, _READ_BYTES))):
        length -= len(piece)
        yield piece


def _check_flatbuffer(head: bytes, where: str) -> None:
    """A TFLite flatbuffer carries its file identifier at byte 4 (schema.fbs, file_identifier)."""
    if head[4:8] != _FILE_IDENTIFIER:
        raise ArtifactError(f"{where} does not start as a TFLite model; expected 'TFL3' at byte 4, got {head[4:8]!r}")


def _label_lines(manifest: Manifest) -> bytes:
    return "".join(f"{label}\n" for label in manifest.output.labels).encode()


def _limit(name: str) -> int:
    return limits.MAX_MANIFEST_BYTES if name == _MANIFEST else limits.MAX_ARTIFACT_PART_BYTES
