"""Where an update's state is kept: one JSON file per deployment, whole or not at all.

A file that cannot be read is set aside and counted; the deployment then starts from what its slots hold
and the next desired state. It decides nothing; see `edgeops.update.machine`.
"""

from pathlib import Path

import msgspec

from device_agent.store.aside import read_or_set_aside
from edgeops.digest import write_atomically
from edgeops.update.update import Update


class DeploymentStore:
    """`update.json` below one deployment's folder, which is made if missing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "update.json"
        #: Files set aside since this process started.
        self.damaged = 0

    def load(self) -> Update:
        """What was saved last; a fresh `Update` when there is none that can be read."""
        return read_or_set_aside(self._file, Update, on_damage=self._count_damage) or Update()

    def save(self, update: Update) -> None:
        """Make `update` durable.

        Raises:
            OSError: no space, or a write error; what was saved before is still there.
        """
        write_atomically(self._file, msgspec.json.encode(update))

    def _count_damage(self, _: Exception) -> None:
        self.damaged += 1
