"""Seconds per named phase of a demo."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stopwatch:
    """Counts, and tells who watches."""

    #: Hears of each phase when it begins, and what came of it when it has ended well.
    begins: Callable[[str], None] = lambda _: None
    ended: Callable[[str], None] = lambda _: None
    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[Callable[[str], None]]:
        """Count the time inside under `name`; what is given takes a note on what came of it."""
        notes: list[str] = []
        self.begins(name)
        started = time.monotonic()
        yield notes.append
        seconds = time.monotonic() - started
        self.phases[name] = self.phases.get(name, 0.0) + seconds
        self.ended(f"{name}: {', '.join((f'{seconds:.1f} s', *notes))}")
