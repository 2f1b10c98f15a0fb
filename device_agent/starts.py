"""This start of the agent, written down before a model answers in it, until it has proven itself.

What a row of them means is decided in `edgeops.update.streak`. It costs the disk one write at a start, and one more
only in the midst of a row, when the server is heard. A disk that takes nothing holds up no start and counts none.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from device_agent.store.aside import read_or_set_aside
from edgeops import limits
from edgeops.digest import write_atomically
from edgeops.update.streak import Standing, Streak, falls_first, heard, is_counted, is_too_long, started

_log = logging.getLogger(__name__)

_LASTS_S = limits.BAKE_NOTED_AFTER.total_seconds()


class Starts:
    """For the main thread."""

    def __init__(self, file: Path, *, power_on: str, now_s: float) -> None:
        """`power_on` names the machine's; `now_s` on a monotonic clock, as everywhere here."""
        self._file, self._power_on, self._began_s = file, power_on, now_s
        #: Files set aside since this process started.
        self.damaged = 0
        #: What is on disk; None = this start has proven itself, or says nothing.
        self._streak = self._read()
        #: How often each loop had turned when this start had lasted long enough.
        self._turns: Mapping[str, int] | None = None

    def falls(self, standings: Mapping[str, Standing]) -> str | None:
        """The deployment whose active model shall answer no more from this start on; None = there is none."""
        if not is_counted(standings):
            return None
        streak = started(self._streak, standings, power_on=self._power_on)
        return falls_first(standings) if is_too_long(streak) else None

    def count(self, standings: Mapping[str, Standing]) -> None:
        """Write this start down, with the models that are about to answer."""
        if is_counted(standings):
            self._keep(started(self._streak, standings, power_on=self._power_on))

    def heard(self) -> None:
        """The server was heard. That a first start was is not worth a write."""
        if self._streak is not None and self._streak.deaf > 1:
            self._keep(heard(self._streak))

    def tick(self, now_s: float, turns: Mapping[str, int]) -> None:
        """Time passed; `turns` of the loops that infer: what hangs in one of them does not last."""
        if self._streak is None or now_s - self._began_s < _LASTS_S:
            return
        if self._turns is None:
            self._turns = dict(turns)
        elif all(turns.get(loop) != turn for loop, turn in self._turns.items()):
            self.prove()

    def prove(self) -> None:
        """This start lasted, or ends in order."""
        if self._streak is None:
            return
        self._streak = None
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("starts.not-written", extra={"error": error})

    def _keep(self, streak: Streak) -> None:
        try:
            write_atomically(self._file, msgspec.json.encode(streak))
        except OSError as error:
            _log.warning("starts.not-written", extra={"error": error})
            return
        self._streak = streak

    def _read(self) -> Streak | None:
        return read_or_set_aside(self._file, Streak, on_damage=self._count_damage)

    def _count_damage(self, _: Exception) -> None:
        self.damaged += 1
