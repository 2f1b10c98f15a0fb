"""Reads JSON Lines (one object a line, UTF-8; gzip too). All names that a row has are columns, so they are read first.

A line that is no object costs its row and not the file, so lines are decoded one by one.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edgeops import limits
from edgeops.data.cells import UTC, Batch, Cells
from edgeops.data.layout import Header
from edgeops.data.reasons import Reason, Refusal
from edgeops.data.rules import Kind
from edgeops.errors import DatasetError
from fleet_server.datasets.arrow_cells import cells_of, plain
from fleet_server.datasets.text_file import TextFile

_DECODER = msgspec.json.Decoder(dict[str, Any])
_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])


class JsonlFile:
    """A source of rows."""

    def __init__(self, path: Path, *, file_name: str) -> None:
        self._file_name = file_name
        self._text = TextFile(path, file_name=file_name)
        names = self._names()
        self.header = Header(file_name=file_name, names={name: (name,) for name in names}, shapes={})

    def _names(self) -> dict[str, None]:
        """In the order in which they are met; a row that comes late may have one that none before it has."""
        names: dict[str, None] = {}
        for block in self._text.blocks(quotes=False):
            for text in block.split(b"\n"):
                # What is no object is told when rows are read.
                with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    names |= dict.fromkeys(_NAMES.decode(text))
            if len(names) > limits.MAX_DATASET_COLUMNS:
                raise DatasetError(f"{self._file_name}: {len(names)} columns, the most is {limits.MAX_DATASET_COLUMNS}")
        if not names:
            raise DatasetError(
                f"{self._file_name}: there is no JSON object in it; write one a line, such as {{'x': 1.5}}"
            )
        return names

    def place(self, line: int) -> str:
        """Where a row stands, for people."""
        return f"line {line}"

    @property
    def share(self) -> float:
        """How much of the file's bytes was read, 0 to 1."""
        return self._text.share

    def batches(self, _columns: Collection[str], /) -> Iterator[Batch]:
        """All rows; blank lines are none."""
        rows, line = 0, 0
        for block in self._text.blocks(quotes=False):
            found, ids, lines, malformed = list[dict[str, Any]](), list[int](), list[int](), list[Any]()
            for text in block.split(b"\n"):
                line += 1
                if not text.strip():
                    continue
                try:
                    found.append(_DECODER.decode(text))
                    ids.append(rows)
                    lines.append(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    refusal = Refusal(line=line, reason=Reason.MALFORMED, column="", value=f"no JSON object ({error})")
                    malformed.append((refusal, text.decode("utf-8", "replace")))
                rows += 1
            if block.endswith(b"\n"):
                line -= 1
            yield _Lines(
                ids=np.array(ids, dtype=np.int64),
                lines=np.array(lines, dtype=np.int64),
                malformed=tuple(malformed),
                rows=found,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """A batch of rows."""

    ids: NDArray[np.int64]
    lines: NDArray[np.int64]
    malformed: tuple[tuple[Refusal, object], ...]
    rows: list[dict[str, Any]]

    def cells(self, column: str, kind: Kind, *, tick: int = 10**9, zone: str = UTC) -> Cells:
        """A column as cells of a kind; a value that is absent is missing."""
        values = [row.get(column) for row in self.rows]
        try:
            if not values or all(value is None for value in values):
                return cells_of(pa.nulls(len(values), pa.string()), kind, tick=tick, zone=zone)
            return cells_of(pa.array(values), kind, tick=tick, zone=zone)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
            texts = [None if value is None else str(value) for value in values]
            return cells_of(pa.array(texts, pa.string()), kind, tick=tick, zone=zone)

    def row(self, place: int) -> dict[str, Any]:
        """A row as it was read."""
        return {name: plain(value) for name, value in self.rows[place].items()}
