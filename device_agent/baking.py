"""How long one deployment has baked, measured and written down, so that a restart goes on with it.

Whether it still bakes is decided in `edgeops.update.bake`. A disk that takes nothing costs the device at most a longer
bake after its next start.
"""

import logging
from pathlib import Path

import msgspec

from device_agent.store.aside import read_or_set_aside
from edgeops import limits
from edgeops.digest import write_atomically
from edgeops.protocol.messages import Shadowing
from edgeops.update.bake import Bake, bake_of, passed, shadowing_of, started
from edgeops.update.update import Update

_log = logging.getLogger(__name__)

FILE = "bake.json"
_NOTED_S = limits.BAKE_NOTED_AFTER.total_seconds()


class Baking:
    """Used under the lock of whoever owns it."""

    def __init__(self, folder: Path, *, now: float) -> None:
        """`now` in seconds on a monotonic clock, as everywhere here."""
        self._file = folder / FILE
        #: Files set aside since this process started.
        self.damaged = 0
        #: As it was when time was counted last, at `_since`.
        self._bake = self._read()
        self._since = now

    def start(self, update: Update, *, now: float) -> None:
        """A new process goes on; this is on disk before a shadow answers."""
        self._since = now
        bake = bake_of(update, self._bake)
        if bake is not None and shadowing_of(update, bake) is not None:
            bake = started(bake)
        if bake != self._bake:
            self._keep(bake)

    def follow(self, update: Update, *, now: float) -> None:
        """The update moved on: a bake may begin, or end."""
        bake = bake_of(update, self._bake)
        if bake != self._bake:
            self._since = now
            self._keep(bake)

    def tick(self, update: Update, *, now: float) -> None:
        """Time passed: write it down now and then, and at the end."""
        bake = self._bake
        if bake is None or shadowing_of(update, bake) is None:
            return
        elapsed_s = now - self._since
        counted = passed(bake, int(1000 * elapsed_s))
        if elapsed_s >= _NOTED_S or shadowing_of(update, counted) is None:
            self._since = now
            self._keep(counted)

    def shadowing(self, update: Update) -> Shadowing | None:
        """How the model in charge is watched now; None = it is not."""
        return shadowing_of(update, self._bake)

    def _keep(self, bake: Bake | None) -> None:
        self._bake = bake
        try:
            if bake is None:
                self._file.unlink(missing_ok=True)
            else:
                write_atomically(self._file, msgspec.json.encode(bake))
        except OSError as error:
            _log.warning("bake.not-written", extra={"error": error})

    def _read(self) -> Bake | None:
        return read_or_set_aside(self._file, Bake, on_damage=self._count_damage)

    def _count_damage(self, _: Exception) -> None:
        self.damaged += 1
