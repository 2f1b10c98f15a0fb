"""Appends answers to a file, one JSON object a line.

At least once: rows that are played again after a crash are written again, with the same id.
"""

import os
from pathlib import Path

import msgspec

from device_agent.sinks.answer import described
from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Phase

_FLUSH_LINES = 200
_FLUSH_AFTER_NS = 1_000_000_000


class JsonlSink:
    """`{"at", "id", "answer", "confidence", "digest", "phase"}` per line, of a score also `alarm`."""

    actuating = False
    dropped = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoder = msgspec.json.Encoder()
        self._digest = ""
        self._phase = Phase.LIVE
        self._lines: list[bytes] = []
        self._oldest_ns = 0
        self._synced = True

    def begin(self, digest: str, phase: Phase) -> None:
        """Name the artifact of the answers that follow."""
        self._digest, self._phase = digest, phase

    def take(self, input_id: str, prediction: Prediction, now_ns: int) -> None:
        """Keep one line; full batches are written."""
        if not self._lines:
            self._oldest_ns = now_ns
        line = described(input_id, prediction, digest=self._digest, phase=self._phase)
        self._lines.append(self._encoder.encode(line))
        if len(self._lines) >= _FLUSH_LINES:
            self._write()

    def rest(self, now_ns: int) -> None:
        """A file holds answers; that there are none is in the reported state."""

    def tick(self, now_ns: int) -> None:
        """Write lines that waited for a second."""
        if self._lines and now_ns - self._oldest_ns >= _FLUSH_AFTER_NS:
            self._write()

    def flush(self, now_ns: int) -> None:  # noqa: ARG002 - the seam has a clock, this sink needs none here
        """Write what is left, durably: a window that counts these rows follows."""
        if self._lines:
            self._write()
        if not self._synced:
            with self._path.open("rb") as file:
                os.fsync(file.fileno())
            self._synced = True

    def close(self) -> None:
        """Every write opens the file anew."""

    def _write(self) -> None:
        with self._path.open("ab") as file:
            file.write(b"\n".join(self._lines) + b"\n")
        self._lines.clear()
        self._synced = False
