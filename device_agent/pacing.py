"""When the next rows are due, and when what failed is tried again; on the monotonic clock."""

import time

from edgeops import limits


class Pacer:
    """How many rows are due at a rate."""

    def __init__(self, rate_hz: float | None) -> None:
        """`rate_hz` in rows per second; None = as fast as they are asked for."""
        self._rate_hz = rate_hz
        self._since = time.monotonic()
        self._played = 0

    @property
    def unpaced(self) -> bool:
        """Whether rows are always due."""
        return self._rate_hz is None

    def restart(self) -> None:
        """Rows that could not be played in time are not made up for."""
        self._since, self._played = time.monotonic(), 0

    def played(self, rows: int) -> None:
        """Count what was played."""
        self._played += rows

    def due(self, limit: int) -> int:
        """Rows that are due now, at most `limit`."""
        if self._rate_hz is None:
            return limit
        due = int((time.monotonic() - self._since) * self._rate_hz) + 1 - self._played
        if due > limit + self._rate_hz:
            self.restart()
            due = 1
        return max(0, min(due, limit))

    def wait_s(self) -> float:
        """Until the next row is due."""
        if self._rate_hz is None:
            return 0.0
        return max(0.0, self._since + self._played / self._rate_hz - time.monotonic())


class Backoff:
    """A pause that doubles with every failure."""

    def __init__(self) -> None:
        self._pause_s = limits.RETRY_MIN.total_seconds()
        self._until = 0.0

    def failed(self) -> float:
        """Begin a pause; how long it is."""
        pause_s = self._pause_s
        self._until = time.monotonic() + pause_s
        self._pause_s = min(2 * pause_s, limits.RETRY_MAX.total_seconds())
        return pause_s

    def wait_s(self) -> float:
        """Until the pause ends."""
        return max(0.0, self._until - time.monotonic())
