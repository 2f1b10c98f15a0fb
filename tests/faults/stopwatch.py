"""How long an agent was silent between two predictions, and how long it would have spoken had the machine let it.

The times of predictions are the agent's own (its answers in a file). What the machine kept from it is what the kernel
says its threads waited for a processor while they could have run (/proc/PID/task/TID/schedstat, second field): of the
two threads that waited longest, since one waits for the other where it holds the interpreter.
"""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

_LOOK_S = 0.02


@dataclass(frozen=True)
class Answer:
    """One line of the agent's file."""

    at_s: float
    row: int
    digest: str


def answers(file: Path) -> list[Answer]:
    """As they were written; a line that a kill cut short is left out."""
    found = []
    for line in file.read_bytes().split(b"\n") if file.exists() else []:
        with suppress(ValueError):
            said = json.loads(line)
            found.append(Answer(datetime.fromisoformat(said["at"]).timestamp(), int(said["id"]), said["digest"]))
    return found


class Stopwatch:
    """Looks at one process until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.began_s = time.time()
        #: (when, waited so far by thread).
        self._looks: list[tuple[float, dict[str, int]]] = []
        #: While somebody held the whole process still: (from, to).
        self.held: list[tuple[float, float]] = []
        self._done = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def excess_s(self, said: Sequence[Answer], *, allowed_s: float) -> float:
        """By how much the longest silence was too long; 0 or less = none was."""
        times = sorted(answer.at_s for answer in said)
        return max((end - start - allowed_s - self.kept_s(start, end) for start, end in pairwise(times)), default=0.0)

    def kept_s(self, start_s: float, end_s: float) -> float:
        """What was kept from the process in this time."""
        held = sum(max(0.0, min(end, end_s) - max(start, start_s)) for start, end in self.held)
        before = [waits for at, waits in self._looks if at <= start_s]
        after = [waits for at, waits in self._looks if at >= end_s]
        first = before[-1] if before else {}
        last = after[0] if after else (self._looks[-1][1] if self._looks else {})
        waited = sorted((waits - first.get(thread, 0) for thread, waits in last.items()), reverse=True)
        return held + sum(waited[:2]) / 1e9

    def _run(self) -> None:
        while not self._done.wait(_LOOK_S):
            waits = {}
            with suppress(OSError):
                for thread in Path(f"/proc/{self._pid}/task").iterdir():
                    with suppress(OSError, IndexError):
                        waits[thread.name] = int((thread / "schedstat").read_text().split()[1])
            if waits:
                self._looks.append((time.time(), waits))
