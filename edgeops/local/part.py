"""One process of a site: how it is started, and started again when it ended.

When, and when no more, is decided in `edgeops.local.restart`. What the process does, and whether it is of
any use yet, is not known here.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edgeops import limits
from edgeops.errors import PlatformError
from edgeops.local import processes
from edgeops.local.processes import Child
from edgeops.local.restart import pause_before_restart


@dataclass(slots=True, kw_only=True)
class Part:
    """A process that shall run as long as its site does."""

    #: Starts the process; called in the main thread, as `processes.start` demands.
    start: Callable[[], Child]
    #: The present process, or the one that ended.
    child: Child
    #: When it ended, each time of late.
    ends_s: deque[float] = field(default_factory=lambda: deque(maxlen=limits.RESTART_ENDS))
    #: When it starts again; None = it is not known to have ended.
    starts_s: float | None = None

    def mend(self, now_s: float, *, say: Callable[[str], None]) -> None:
        """One look: note that the process ended, or start it again when its pause is over.

        Args:
            now_s: seconds of a monotonic clock.
            say: gets one line when the process ended.

        Raises:
            PlatformError: it ended again and again, or cannot be started.
        """
        if self.starts_s is not None:
            if now_s >= self.starts_s:
                self.child, self.starts_s = self.start(), None
        elif not self.child.running:
            self.ends_s.append(now_s)
            pause = pause_before_restart(self.ends_s)
            if pause is None:
                raise PlatformError(
                    f"{self.child.name} ended {len(self.ends_s)} times within {now_s - self.ends_s[0]:.0f} s, the last "
                    f"time so: {processes.describe_end(self.child)}"
                )
            self.starts_s = now_s + pause.total_seconds()
            say(f"{processes.how_it_ended(self.child)}; it starts again in {pause.total_seconds():g} s")

    def stop(self) -> None:
        """End the present process."""
        processes.stop([self.child])
