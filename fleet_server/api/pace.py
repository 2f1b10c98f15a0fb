"""How fast ranges leave, and how many at a time: for one API process, on its event loop.

Whoever sends a piece reserves its time first; times are given out in the order of asking, and nobody has two pieces on
the way, so all readers advance together.
"""

import asyncio
import time
from collections import Counter

from edgeops import limits
from fleet_server.rates import DeviceBuckets, TokenBucket


class Pace:
    """Token buckets over all ranges and per device."""

    def __init__(self, rate_bytes_per_s: int, rate_bytes_per_s_per_device: int) -> None:
        self._overall = TokenBucket(rate_bytes_per_s, now_s=time.monotonic())
        self._per_device = DeviceBuckets(rate_bytes_per_s_per_device)
        self._readers: Counter[str] = Counter()

    def enter(self, device_id: str) -> bool:
        """Begin a range; False = too many are under way."""
        if self._readers.total() >= limits.RANGES_AT_ONCE or self._readers[device_id] >= limits.RANGES_PER_DEVICE:
            return False
        self._readers[device_id] += 1
        return True

    def leave(self, device_id: str) -> None:
        """End a range that `enter` let in."""
        self._readers[device_id] -= 1
        if not self._readers[device_id]:
            del self._readers[device_id]

    async def wait(self, device_id: str, size_bytes: int) -> None:
        """Return when the next `size_bytes` may leave."""
        now_s = time.monotonic()
        device = self._per_device.of(device_id, now_s)
        wait_s = max(bucket.owe(size_bytes, now_s) for bucket in (self._overall, device))
        if wait_s > 0.0:
            await asyncio.sleep(wait_s)
