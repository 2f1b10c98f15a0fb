"""One thread for slow work, in order: fetching, verifying, asking TUF.

What a task raises is logged and counted; the next task runs.
"""

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from device_agent.watchdog import Pulse

_log = logging.getLogger(__name__)


class Worker:
    """Runs submitted tasks one after the other."""

    def __init__(self, name: str, *, pulse: Pulse | None = None) -> None:
        """`pulse` turns with every task."""
        self.failures = 0
        self._pulse = pulse or Pulse()
        self._tasks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        # A daemon thread: a task that waits for the network must not hold up a stop, its state is on disk.
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, task: Callable[[], object]) -> None:
        """Queue a task; never blocks."""
        self._tasks.put(task)

    def close(self, timeout_s: float) -> None:
        """Finish what is queued, as far as the time allows."""
        self._tasks.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._pulse.rest()
        while (task := self._tasks.get()) is not None:
            self._pulse.beat()
            try:
                task()
            except Exception:  # noqa: BLE001 - the border of a task
                self.failures += 1
                _log.exception("worker.task-failed")
            self._pulse.rest()
