"""Decides which block leaves when: shared among all who ask, held to a rate, fair to every device.

Pure: time is an argument, in seconds of a clock that never goes back. Many devices that ask for one
block get one message, at most one per BLOCK_RESEND_AFTER. While devices fetch the same blob and have not come to it, it
is held back until none has come for BLOCK_GATHER, for BLOCK_LONGEST_WAIT at most; then it leaves as soon as one of
those who wait may have it, and is charged to all of them: nobody receives for nothing. When the line is full, what most
wait for leaves first, so that devices which began at different times come together; what waited too long goes before
that, in the order of asking.
"""

from collections import Counter
from dataclasses import dataclass, field

from edgeops import limits
from fleet_server.link.followers import Followers
from fleet_server.rates import DeviceBuckets, TokenBucket

_RESEND_AFTER_S = limits.BLOCK_RESEND_AFTER.total_seconds()
_GATHER_S = limits.BLOCK_GATHER.total_seconds()
_LONGEST_WAIT_S = limits.BLOCK_LONGEST_WAIT.total_seconds()


@dataclass(frozen=True, slots=True)
class Asked:
    """One block that somebody waits for."""

    digest: str
    index: int
    size_bytes: int
    #: Who asks.
    device_id: str


@dataclass(slots=True)
class _Waiting:
    """A block and all who wait for it, in the order they asked."""

    first: Asked
    #: When the first and the last of them asked.
    since_s: float
    last_s: float
    device_ids: dict[str, None] = field(default_factory=dict)


class BlockSchedule:
    """Blocks that wait."""

    def __init__(
        self,
        *,
        now_s: float,
        rate_bytes_per_s: float = limits.BLOCK_RATE_BYTES_PER_S,
        rate_bytes_per_s_per_device: float = limits.BLOCK_RATE_BYTES_PER_S_PER_DEVICE,
    ) -> None:
        self._waiting: dict[tuple[str, int], _Waiting] = {}
        self._waiting_for: Counter[str] = Counter()
        self._sent_at_s: dict[tuple[str, int], float] = {}
        self._followers = Followers()
        self._overall = TokenBucket(rate_bytes_per_s, now_s=now_s)
        self._per_device = DeviceBuckets(rate_bytes_per_s_per_device)

    def ask(self, asked: Asked, now_s: float) -> bool:
        """Queue a block; False when too many wait already (the device will ask again)."""
        key = (asked.digest, asked.index)
        self._followers.asked(asked.digest, asked.index, asked.device_id, now_s)
        waiting = self._waiting.get(key)
        if waiting is not None and asked.device_id in waiting.device_ids:
            return True
        if (waiting is None and len(self._waiting) >= limits.WAITING_BLOCKS) or self._waiting_for[
            asked.device_id
        ] >= limits.WAITING_BLOCKS_PER_DEVICE:
            return False
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(asked, now_s, now_s)
        waiting.device_ids[asked.device_id] = None
        waiting.last_s = now_s
        self._waiting_for[asked.device_id] += 1
        return True

    def due(self, now_s: float) -> list[Asked]:
        """The blocks that leave now, each as it was asked for first; they count as sent."""
        self._forget(now_s)
        leaving: list[_Waiting] = []
        for waiting in self._by_urgency(now_s):
            key, size_bytes = (waiting.first.digest, waiting.first.index), waiting.first.size_bytes
            if self._line_s(now_s) > 0.0:
                break
            if self._hold_s(key, waiting, now_s) > 0.0:
                continue
            self._overall.take(size_bytes, now_s)
            for device_id in waiting.device_ids:
                self._per_device.of(device_id, now_s).take(size_bytes, now_s)
            self._sent_at_s[key] = now_s
            leaving.append(waiting)
        for waiting in leaving:
            del self._waiting[waiting.first.digest, waiting.first.index]
            for device_id in waiting.device_ids:
                self._waiting_for[device_id] -= 1
                if not self._waiting_for[device_id]:
                    del self._waiting_for[device_id]
        return [waiting.first for waiting in leaving]

    def wait_s(self, now_s: float) -> float | None:
        """How long until the next block may leave; None = nothing waits."""
        if not self._waiting:
            return None
        line_s, soonest_s = self._line_s(now_s), float("inf")
        for key, waiting in self._waiting.items():
            soonest_s = min(soonest_s, self._hold_s(key, waiting, now_s))
            if soonest_s <= line_s:
                break
        return max(soonest_s, line_s)

    def _by_urgency(self, now_s: float) -> list[_Waiting]:
        """What leaves first comes first; nothing while the line is full."""
        if not self._waiting or self._line_s(now_s) > 0.0:
            return []
        late_s = now_s - _LONGEST_WAIT_S

        def rank(waiting: _Waiting) -> float:
            return -len(waiting.device_ids) if waiting.since_s > late_s else -float("inf")

        # Sorting keeps the order of asking among equals.
        return sorted(self._waiting.values(), key=rank)

    def _line_s(self, now_s: float) -> float:
        """How long until the next whole block may leave, whichever it is."""
        return self._overall.wait_s(limits.BLOCK_BYTES, now_s)

    def _hold_s(self, key: tuple[str, int], waiting: _Waiting, now_s: float) -> float:
        """How long this block must wait, whatever the others do."""
        sent_at_s = self._sent_at_s.get(key)
        again_s = 0.0 if sent_at_s is None else sent_at_s + _RESEND_AFTER_S - now_s
        soonest_s = float("inf")
        for device_id in waiting.device_ids:
            device_s = self._per_device.of(device_id, now_s).wait_s(waiting.first.size_bytes, now_s)
            soonest_s = min(soonest_s, device_s)
            if not device_s:
                break
        held_s = max(0.0, again_s, soonest_s)
        gather_s = min(waiting.last_s + _GATHER_S, waiting.since_s + _LONGEST_WAIT_S) - now_s
        if gather_s > held_s and self._followers.are_behind(*key):
            return gather_s
        return held_s

    def _forget(self, now_s: float) -> None:
        """Drop what no longer matters, so that memory stays with those who ask now."""
        self._followers.forget(now_s)
        while self._sent_at_s:
            key, sent_at_s = next(iter(self._sent_at_s.items()))
            if now_s - sent_at_s < _RESEND_AFTER_S:
                break
            del self._sent_at_s[key]
