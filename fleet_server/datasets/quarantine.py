"""Keeps refused rows, each with its reason: gzip JSON Lines, the same rows always the same bytes."""

import gzip
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from edgeops.data.reasons import Reason, Refusal


class Quarantine:
    """A file of refused rows; a context manager."""

    def __init__(self, path: Path) -> None:
        self.counts = Counter[Reason]()
        #: The first of each reason, in the order in which they were met.
        self.first: dict[Reason, Refusal] = {}
        self._raw = path.open("wb")
        self._file = gzip.GzipFile("", "wb", compresslevel=1, fileobj=self._raw, mtime=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more comes; harmless to repeat."""
        self._file.close()
        self._raw.close()

    def keep(self, refusal: Refusal, row: object) -> None:
        """Write down one row as it was read."""
        self.counts[refusal.reason] += 1
        self.first.setdefault(refusal.reason, refusal)
        told = {
            "line": refusal.line,
            "reason": refusal.reason,
            "column": refusal.column or None,
            "value": refusal.value,
            "row": row,
        }
        self._file.write(msgspec.json.encode(told) + b"\n")
