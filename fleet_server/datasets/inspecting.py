"""Looks at an uploaded file: reads it batch by batch, once, and keeps nothing."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from edgeops.artifact.manifest import Task
from edgeops.data.inspection import Inspection, Inspector
from edgeops.data.paths import is_folder
from edgeops.data.proposal import inspected, propose
from edgeops.data.rules import Rules, write_rules
from edgeops.errors import DatasetError
from fleet_server.datasets.source import open_source

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
        raise DatasetError(f"{file_name}: a folder has no columns to look at; import it: its folders are the classes")
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
