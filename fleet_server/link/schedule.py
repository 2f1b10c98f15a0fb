"""Decides which block leaves when: shared among all who ask, held to a rate, fair to every device.

Pure: time is an argument, in seconds of a clock that never goes back. Many devices that ask for one
block get one message, at most one per BLOCK_RESEND_AFTER.
"""

from collections import Counter
from dataclasses import dataclass

from edgeops import limits

_RESEND_AFTER_S = limits.BLOCK_RESEND_AFTER.total_seconds()
#: A bucket holds what flows in this time, but always one block.
_BURST_S = 0.25


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
        """Let `size_bytes` leave."""
        self._refill(now_s)
        self._level_bytes -= size_bytes

    def is_full(self, now_s: float) -> bool:
        """Whether it may be forgotten."""
        return self.wait_s(int(self.burst_bytes), now_s) == 0.0

    def _refill(self, now_s: float) -> None:
        grown = self._level_bytes + (now_s - self._at_s) * self.rate_bytes_per_s
        self._level_bytes = min(self.burst_bytes, grown)
        self._at_s = now_s


@dataclass(frozen=True, slots=True)
class Asked:
    """One block that somebody waits for."""

    digest: str
    index: int
    size_bytes: int
    #: Who asked first and is charged for it.
    device_id: str


class BlockSchedule:
    """Blocks that wait, in the order they were asked for."""

    def __init__(
        self,
        *,
        now_s: float,
        rate_bytes_per_s: float = limits.BLOCK_RATE_BYTES_PER_S,
        rate_bytes_per_s_per_device: float = limits.BLOCK_RATE_BYTES_PER_S_PER_DEVICE,
    ) -> None:
        self._waiting: dict[tuple[str, int], Asked] = {}
        self._waiting_for: Counter[str] = Counter()
        self._sent_at_s: dict[tuple[str, int], float] = {}
        self._overall = TokenBucket(rate_bytes_per_s, now_s=now_s)
        self._per_device: dict[str, TokenBucket] = {}
        self._rate_per_device = rate_bytes_per_s_per_device

    def ask(self, asked: Asked) -> bool:
        """Queue a block; False when too many wait already (the device will ask again)."""
        key = (asked.digest, asked.index)
        if key in self._waiting:
            return True
        if (
            len(self._waiting) >= limits.WAITING_BLOCKS
            or self._waiting_for[asked.device_id] >= limits.WAITING_BLOCKS_PER_DEVICE
        ):
            return False
        self._waiting[key] = asked
        self._waiting_for[asked.device_id] += 1
        return True

    def due(self, now_s: float) -> list[Asked]:
        """The blocks that leave now; they count as sent."""
        self._forget(now_s)
        leaving: list[Asked] = []
        for key, asked in self._waiting.items():
            if self._overall.wait_s(asked.size_bytes, now_s) > 0.0:
                break
            if self._hold_s(key, asked, now_s) > 0.0:
                continue
            self._overall.take(asked.size_bytes, now_s)
            self._bucket(asked.device_id, now_s).take(asked.size_bytes, now_s)
            self._sent_at_s[key] = now_s
            leaving.append(asked)
        for asked in leaving:
            del self._waiting[asked.digest, asked.index]
            self._waiting_for[asked.device_id] -= 1
        return leaving

    def wait_s(self, now_s: float) -> float | None:
        """How long until the next block may leave; None = nothing waits."""
        if not self._waiting:
            return None
        return min(
            max(self._hold_s(key, asked, now_s), self._overall.wait_s(asked.size_bytes, now_s))
            for key, asked in self._waiting.items()
        )

    def _hold_s(self, key: tuple[str, int], asked: Asked, now_s: float) -> float:
        """How long this block must wait, whatever the others do."""
        sent_at_s = self._sent_at_s.get(key)
        again_s = 0.0 if sent_at_s is None else sent_at_s + _RESEND_AFTER_S - now_s
        return max(0.0, again_s, self._bucket(asked.device_id, now_s).wait_s(asked.size_bytes, now_s))

    def _bucket(self, device_id: str, now_s: float) -> TokenBucket:
        bucket = self._per_device.get(device_id)
        if bucket is None:
            bucket = self._per_device[device_id] = TokenBucket(self._rate_per_device, now_s=now_s)
        return bucket

    def _forget(self, now_s: float) -> None:
        """Drop what no longer matters, so that memory stays with those who ask now."""
        while self._sent_at_s:
            key, sent_at_s = next(iter(self._sent_at_s.items()))
            if now_s - sent_at_s < _RESEND_AFTER_S:
                break
            del self._sent_at_s[key]
        if not self._waiting:
            self._waiting_for.clear()
            self._per_device = {
                device_id: bucket for device_id, bucket in self._per_device.items() if not bucket.is_full(now_s)
            }
