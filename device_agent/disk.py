"""What a start of the agent needs of its disk: a number for its session, and the spool.

A disk that takes nothing (full, read-only) is met by an agent that answers inputs and says nothing to its server until
the disk is back: a session without a number of its own would look like a clone of the next one. What is decided on
that is in `device_agent.agent`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from device_agent.config import StateFolder, next_boot
from device_agent.store.spool import Spool
from edgeops.errors import DiskError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Disk:
    """What one that works gave."""

    #: The number of this start.
    boot: int
    spool: Spool


def take_disk(
    state: StateFolder,
    *,
    at_least_s: int,
    on_damage: Callable[[Exception], object] = lambda _: None,
    level: int = logging.WARNING,
) -> Disk | None:
    """Count this start and open the spool; None = the disk takes nothing, which is logged on `level`.

    Other arguments as for `next_boot`.

    Raises:
        PlatformError: another version of the agent made the spool.
    """
    try:
        boot = next_boot(state, at_least_s=at_least_s, on_damage=on_damage)
        return Disk(boot, Spool.open(state.spool))
    except (OSError, DiskError) as error:
        _log.log(level, "disk.unavailable", extra={"error": error})
        return None
