"""Keeps the book of one run while its training goes on: its epochs, and how long each step takes."""

import time

from fleet_server.db import epochs, runs
from fleet_server.db.database import Database
from fleet_server.ml.epoch import Epoch
from fleet_server.ml.frames import Progress

#: Epochs are written at most this often, several at once.
_WRITE_S = 0.5


class RunBook:
    """Takes what the worker tells; `close` writes what is left, however the training ended."""

    def __init__(self, database: Database, run_id: str) -> None:
        self._database, self._run_id = database, run_id
        self._waiting: list[Epoch] = []
        self._durations: dict[str, float] = {}
        self._step, self._since = "waiting for the worker", time.monotonic()
        self._written_at = self._since

    def take(self, progress: Progress) -> None:
        """Note one piece of news."""
        now = time.monotonic()
        if progress.epoch is not None:
            self._waiting.append(progress.epoch)
        if progress.step != self._step:
            self._end_step(now)
            self._step = progress.step
        if self._waiting and now - self._written_at >= _WRITE_S:
            self._write(now)

    def close(self) -> None:
        """Write the rest."""
        now = time.monotonic()
        self._end_step(now)
        self._write(now)

    def _end_step(self, now: float) -> None:
        self._durations[self._step] = self._durations.get(self._step, 0.0) + now - self._since
        self._since = now

    def _write(self, now: float) -> None:
        with self._database.write() as connection:
            if self._waiting:
                epochs.add(connection, self._run_id, self._waiting)
            runs.note_durations(connection, self._run_id, {step: round(s, 3) for step, s in self._durations.items()})
        self._waiting.clear()
        self._written_at = now
