"""Token buckets: how many bytes may leave in which time.

Pure: time is an argument, in seconds of a clock that never goes back.
"""

from edgeops import limits

#: A bucket holds what flows in this time, but always one block.
_BURST_S = 0.25
#: With more devices than this the full buckets are forgotten; then with twice as many as were left.
_KEPT_DEVICES = 4096


class TokenBucket:
    """So many bytes a second, with a burst."""

    __slots__ = ("_at_s", "_level_bytes", "burst_bytes", "rate_bytes_per_s")

    def __init__(self, rate_bytes_per_s: float, *, now_s: float) -> None:
        self.rate_bytes_per_s = rate_bytes_per_s
        self.burst_bytes = max(rate_bytes_per_s * _BURST_S, float(limits.BLOCK_BYTES))
        self._level_bytes = self.burst_bytes
        self._at_s = now_s

    def wait_s(self, size_bytes: int, now_s: float) -> float:
        """How long until `size_bytes` may leave; 0 = now."""
        self._refill(now_s)
        return max(0.0, (size_bytes - self._level_bytes) / self.rate_bytes_per_s)

    def take(self, size_bytes: int, now_s: float) -> None:
        """Let `size_bytes` leave; what is missing is owed."""
        self._refill(now_s)
        self._level_bytes -= size_bytes

    def owe(self, size_bytes: int, now_s: float) -> float:
        """Reserve `size_bytes` at the end of the line; how long until they may leave."""
        self.take(size_bytes, now_s)
        return max(0.0, -self._level_bytes / self.rate_bytes_per_s)

    def is_full(self, now_s: float) -> bool:
        """Whether it may be forgotten."""
        return self.wait_s(int(self.burst_bytes), now_s) == 0.0

    def _refill(self, now_s: float) -> None:
        grown = self._level_bytes + (now_s - self._at_s) * self.rate_bytes_per_s
        self._level_bytes = min(self.burst_bytes, grown)
        self._at_s = now_s


class DeviceBuckets:
    """One bucket per device, made when it is needed."""

    def __init__(self, rate_bytes_per_s: float) -> None:
        self._rate = rate_bytes_per_s
        self._buckets: dict[str, TokenBucket] = {}
        self._most = _KEPT_DEVICES

    def of(self, device_id: str, now_s: float) -> TokenBucket:
        """The bucket of a device."""
        bucket = self._buckets.get(device_id)
        if bucket is None:
            if len(self._buckets) >= self._most:
                self._buckets = {name: one for name, one in self._buckets.items() if not one.is_full(now_s)}
                self._most = max(_KEPT_DEVICES, 2 * len(self._buckets))
            bucket = self._buckets[device_id] = TokenBucket(self._rate, now_s=now_s)
        return bucket
