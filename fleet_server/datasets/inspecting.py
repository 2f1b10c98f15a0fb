"""Looks at an uploaded file: reads it batch by batch, once, and keeps nothing."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import msgspec

from edgeops.artifact.manifest import Task
from edgeops.data.folder_inspection import FileKind, FolderInspector
from edgeops.data.inspection import Inspection, Inspector
from edgeops.data.paths import CLASS, GROUP, is_folder, read_pattern
from edgeops.data.proposal import inspected, propose
from edgeops.data.rules import Rules, write_rules
from edgeops.errors import DatasetError
from edgeops.folder import Folder, open_folder
from edgeops.model import picture as pictures
from edgeops.model import recording as recordings
from edgeops.model.picture import Shape
from edgeops.model.recording import Facts
from fleet_server.datasets.source import kind_of, open_source

_FILES_A_REPORT = 100
_NO_RULES = Rules(task=Task.ANOMALY)


def inspect_file(
    path: Path, *, file_name: str, report: Callable[[str, float], None] = lambda _step, _share: None
) -> Inspection:
    """What a file holds, with rules to begin with.

    Args:
        path: where the file lies now.
        file_name: how its owner calls it; errors do too.
        report: is told how far it is.

    Raises:
        DatasetError: the file as a whole cannot be read.
    """
    if is_folder(file_name):
        return _inspect_folder(path, file_name=file_name, report=report)
    source = open_source(path, _NO_RULES, file_name=file_name)
    columns, apart = inspected(source.header)
    if not columns:
        raise DatasetError(f"{file_name}: none of its arrays can be read: {', '.join(apart[:20])}")
    inspector = Inspector(columns)
    for batch in source.batches(columns):
        inspector.add(batch)
        report("reading the file", source.share)
    found = inspector.inspection(apart=apart)
    return msgspec.structs.replace(found, rules=write_rules(propose(found, source.header)))


def _inspect_folder(path: Path, *, file_name: str, report: Callable[[str, float], None]) -> Inspection:
    """Read every file whole: one that is damaged is found at its end only."""
    with open_folder(path, file_name=file_name) as folder:
        try:
            kind = kind_of(folder)
        except DatasetError as error:
            raise DatasetError(f"{file_name}: {error}") from error
        inspector = FolderInspector(kind)
        told = read_pattern("").cells(folder.paths)
        for place, one in enumerate(folder.paths):
            try:
                form = _form(kind, one, folder)
            except DatasetError as error:
                inspector.refuse(one, str(error))
            else:
                inspector.add(form, class_=told[CLASS][place], group=told[GROUP][place])
            if place % _FILES_A_REPORT == 0:
                report("reading the files", place / len(folder.paths))
        found = inspector.found(empty=folder.empty)
    rules = write_rules(inspector.rules())
    return Inspection(rows=inspector.read, malformed=inspector.refused, columns=(), folder=found, rules=rules)


def _form(kind: FileKind, path: str, folder: Folder) -> Shape | Facts:
    suffixes = recordings.SUFFIXES if kind is FileKind.RECORDING else pictures.SUFFIXES
    if PurePosixPath(path).suffix.lower() not in suffixes:
        raise DatasetError(f"the name ends in none of {', '.join(suffixes)}")
    content = folder.read(path)
    if kind is FileKind.RECORDING:
        return recordings.facts_of(content)
    shape = pictures.shape_of(content)
    pictures.read_picture(content, shape)
    return shape
