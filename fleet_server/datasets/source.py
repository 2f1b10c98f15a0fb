"""Opens a file of any known kind as a source of batches; what rows mean is not known here."""

import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from edgeops.data.cells import Batch
from edgeops.data.folder_inspection import FileKind
from edgeops.data.layout import Header
from edgeops.data.paths import is_folder
from edgeops.data.rules import Rules
from edgeops.errors import DatasetError
from edgeops.folder import Folder
from edgeops.model import picture as pictures
from edgeops.model import recording as recordings
from fleet_server.datasets.csv_file import CsvFile
from fleet_server.datasets.folder_source import FolderSource, Reader
from fleet_server.datasets.jsonl_file import JsonlFile
from fleet_server.datasets.npz_file import NpzFile
from fleet_server.datasets.parquet_file import ParquetFile
from fleet_server.datasets.picture_reader import PictureReader
from fleet_server.datasets.recording_reader import RecordingReader

_PARQUET_MAGIC = b"PAR1"


class Source(Protocol):
    """A file of rows."""

    @property
    def header(self) -> Header:
        """What there is."""
        ...

    def place(self, line: int) -> str:
        """Where a row stands, for people."""
        ...

    @property
    def share(self) -> float:
        """How much of the file's bytes was read, 0 to 1."""
        ...

    def batches(self, columns: Collection[str], /) -> Iterator[Batch]:
        """All rows, in the order of the file; once. No column but these will be asked for.

        Raises:
            DatasetError: the file as a whole cannot be read.
        """
        ...


def open_source(path: Path, rules: Rules, *, file_name: str) -> Source:
    """Open a file by what it begins with, or else by its name.

    Raises:
        DatasetError: it is not what it seems to be, or the rules are for files of another kind.
    """
    if is_folder(file_name):
        return FolderSource(path, rules, file_name=file_name, reader=_reader)
    _refuse_rules_of_folders(rules, file_name)
    with path.open("rb") as file:
        begins = file.read(len(_PARQUET_MAGIC))
    if begins == _PARQUET_MAGIC or file_name.endswith(".parquet"):
        return ParquetFile(path, file_name=file_name)
    if zipfile.is_zipfile(path) or file_name.endswith(".npz"):
        return NpzFile(path, file_name=file_name)
    if file_name.removesuffix(".gz").endswith((".jsonl", ".ndjson")):
        return JsonlFile(path, file_name=file_name)
    return CsvFile(path, file_name=file_name)


def kind_of(folder: Folder) -> FileKind:
    """Recordings, if the first file that is either is one.

    Raises:
        DatasetError: there is neither.
    """
    suffixes = (PurePosixPath(path).suffix.lower() for path in folder.paths)
    kind = next((suffix for suffix in suffixes if suffix in (*pictures.SUFFIXES, *recordings.SUFFIXES)), None)
    if kind is None:
        told = ", ".join((*pictures.SUFFIXES, *recordings.SUFFIXES))
        raise DatasetError(f"no file's name ends in one of {told}")
    return FileKind.RECORDING if kind in recordings.SUFFIXES else FileKind.PICTURE


def _reader(folder: Folder, rules: Rules) -> Reader:
    is_recordings = kind_of(folder) is FileKind.RECORDING
    return RecordingReader(folder, rules) if is_recordings else PictureReader(folder, rules)


def _refuse_rules_of_folders(rules: Rules, file_name: str) -> None:
    for rule in ("pattern", "size", "grey", "seconds"):
        if getattr(rules, rule):
            raise DatasetError(f"{file_name}: the rule {rule!r} is for a folder of files, or its .zip; leave it out")
