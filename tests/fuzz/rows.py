"""Rows and labels that people and sensors bring: CSV, JSON lines, npz; on the device and on the server."""

import gzip
import io
import socket
import wave
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from device_agent.feeding import Lines
from device_agent.judging import read_labels
from device_agent.sources.replay import read_table
from device_agent.sources.stream import StreamSource
from edgeops.artifact.manifest import InputWindow, TimeColumn
from edgeops.data.rules import BadRows, Duplicates, Rules
from edgeops.errors import DatasetError
from edgeops.learning.labels import read_csv as read_label_queue
from fleet_server.datasets.importing import import_file as import_to
from fleet_server.datasets.snapshot import encode_snapshot, read_snapshot
from tests.fuzz.parser import Parser, scratch, through_file
from tests.imported import import_file

_WINDOW = InputWindow(columns=("a", "b"), time=TimeColumn(name="t"))
_RULES = Rules(label="y", bad_rows=BadRows.QUARANTINE, duplicates=Duplicates.REFUSE)
_CSV = b'\xef\xbb\xbfid,a,b,y\n1,0.5,,red\n\n2,1e3,"nan","bl""ue"\n'
_JSONL = b'{"id": "1", "a": 0.5, "b": null}\n\n{"a": 1e3, "b": "2", "y": "red"}\n'
_LABELS = b"sample_id,label,remark\nsample-1,red,\nsample-2,,why\n"


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _small_npz() -> bytes:
    return _npz(
        X=np.arange(6, dtype=np.float32).reshape(3, 2), y=np.array(["a", "b", "a"]), id=np.array(["1", "2", "3"])
    )


def _packed_npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, X=np.zeros((3, 2)), y=np.array([0, 1, 1]), columns=np.array(["a", "b"]))
    return buffer.getvalue()


def _odd_npz() -> list[bytes]:
    """Members that a zip may have and numpy does not write."""
    found = []
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        member = io.BytesIO()
        np.save(member, np.zeros((3, 2)))
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            archive.writestr("X.npy", member.getvalue())
            archive.writestr("y.npy", member.getvalue())
        found.append(buffer.getvalue())
    return found


def _many(header: bytes, line: bytes) -> bytes:
    """Enough rows for an import."""
    return header + b"".join(line % (row, row % 2) for row in range(40))


def _parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(
        pa.table({"a": [0.5 * row if row else None for row in range(40)], "y": ["red", "blue"] * 20}), buffer
    )
    return buffer.getvalue()


def _imported(path: Path) -> object:
    refused = path.with_name("refused")
    return import_to(path, _RULES, file_name=path.name, destination=path.with_name("snapshot"), quarantine=refused)


def _pictures() -> bytes:
    """Two classes of small pictures, zipped, with each kind of file."""
    random = np.random.default_rng(2)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(24):
            encoded = io.BytesIO()
            kind = ("PNG", "JPEG")[number % 2]
            Image.fromarray(random.integers(0, 256, (4, 5), dtype=np.uint8)).save(encoded, kind)
            archive.writestr(f"{'ab'[number // 12]}/{number}.{kind.lower()}", encoded.getvalue())
    return buffer.getvalue()


def _recordings() -> bytes:
    """Two classes of short recordings, zipped, of each width and two rates."""
    random = np.random.default_rng(2)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(24):
            encoded = io.BytesIO()
            with wave.open(encoded, "wb") as file:
                file.setparams((1 + number % 2, 1 + number % 4, 100 + 50 * (number % 2), 0, "NONE", ""))
                file.writeframes(random.bytes(240))
            archive.writestr(f"{'ab'[number // 12]}/{number}.wav", encoded.getvalue())
    return buffer.getvalue()


def _imported_pictures(path: Path) -> object:
    return _imported_folder(path, Rules(label="class", bad_rows=BadRows.QUARANTINE, size=(3, 4)))


def _imported_recordings(path: Path) -> object:
    return _imported_folder(path, Rules(label="class", bad_rows=BadRows.QUARANTINE, seconds=0.2, clip_hz=100))


def _imported_folder(path: Path, rules: Rules) -> object:
    refused = path.with_name("refused")
    return import_to(path, rules, file_name=path.name, destination=path.with_name("snapshot"), quarantine=refused)


def _snapshot() -> bytes:
    path = scratch() / "source.npz"
    path.write_bytes(_npz(X=np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32), y=np.arange(40) % 2))
    return encode_snapshot(import_file(path, file_name="source.npz", label="y"))


def _stream(header: list[str] | None, data: bytes) -> object:
    """All that a live source makes of what is written into it."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(5.0)
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        source = StreamSource(theirs, run="run", header=header)
        source.select(("a", "b"))
        rows = []
        while (some := source.read(100)) is not None:
            assert some.values.shape == (len(some.ids), 2)
            rows += list(some.ids)
        source.close("")
    return rows


def _header(data: bytes) -> list[str]:
    path = scratch() / "first"
    path.write_bytes(data)
    with path.open("rb") as file:
        return Lines(file.fileno()).header()


def _queue(data: bytes) -> object:
    return read_label_queue(data.decode("utf-8", "replace"))


def _table(path: Path) -> object:
    values, ids, _ = read_table(path, _WINDOW.columns, _WINDOW)
    assert values.dtype == np.float32
    assert values.shape[1:] == (2,)
    assert ids is None or len(ids) == len(values)
    return values


PARSERS = (
    *(
        Parser(
            name=f"replay-{suffix}", read=through_file(f"rows.{suffix}", _table), errors=(DatasetError,), seeds=seeds
        )
        for suffix, seeds in {
            "csv": lambda: [_CSV, b"a,b\n1," + b"9" * 5000 + b"\n"],
            "jsonl": lambda: [_JSONL, b"[" * 70_000, b'{"a":' + b"9" * 5000 + b',"b":1}'],
            "npz": lambda: [_small_npz(), _packed_npz(), *_odd_npz()],
        }.items()
    ),
    Parser(
        name="feed-csv", read=lambda data: _stream(["a", "b", "id"], data), errors=(), seeds=lambda: [b"1,2,x\n,,y\n"]
    ),
    Parser(name="feed-jsonl", read=lambda data: _stream(None, data), errors=(), seeds=lambda: [_JSONL, b"[" * 60_000]),
    Parser(name="feed-header", read=_header, errors=(DatasetError,), seeds=lambda: [_CSV], most_bytes=1000),
    Parser(
        name="label-file",
        read=through_file("labels.csv", read_labels),
        errors=(DatasetError,),
        seeds=lambda: [b"id,label\n1,red\n2\n"],
        most_bytes=1000,
    ),
    Parser(name="label-queue", read=_queue, errors=(), seeds=lambda: [_LABELS], most_bytes=1000),
    *(
        Parser(
            name=f"dataset-{suffix}",
            read=through_file(f"data.{suffix}", _imported),
            errors=(DatasetError,),
            seeds=seeds,
        )
        for suffix, seeds in {
            "csv": lambda: [_many(b"a,y\n", b"%d,%d\n"), _CSV, b"\x1f\x8b\x08\x00", gzip.compress(_CSV, mtime=0)],
            "jsonl": lambda: [_many(b"", b'{"a": %d, "y": "%d"}\n'), _JSONL, b"[" * 70_000],
            "parquet": lambda: [_parquet()],
            "npz": lambda: [
                _npz(X=np.arange(80.0).reshape(40, 2), y=np.arange(40) % 2),
                *(_small_npz(), _packed_npz(), *_odd_npz()),
            ],
        }.items()
    ),
    Parser(
        name="dataset-pictures",
        read=through_file("data.zip", _imported_pictures),
        errors=(DatasetError,),
        seeds=lambda: [_pictures(), _small_npz(), _odd_npz()[0]],
    ),
    Parser(
        name="dataset-recordings",
        read=through_file("data.zip", _imported_recordings),
        errors=(DatasetError,),
        seeds=lambda: [_recordings()],
    ),
    Parser(
        name="snapshot",
        read=through_file("snapshot.npz", read_snapshot),
        errors=(DatasetError,),
        write=encode_snapshot,
        seeds=lambda: [_snapshot()],
    ),
)
