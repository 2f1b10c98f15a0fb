"""A file of rows as a snapshot in memory, by the server's own import."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from edgeops.data.rules import Rules
from fleet_server.datasets.importing import import_file as import_to
from fleet_server.datasets.snapshot import SnapshotFile, read_snapshot


def import_file(path: Path, *, file_name: str, **rules: Any) -> SnapshotFile:
    """Import by these rules (fields of `Rules`)."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "snapshot"
        given = msgspec.convert(rules, Rules)
        import_to(path, given, file_name=file_name, destination=file, quarantine=Path(folder) / "quarantine")
        return read_snapshot(file)
