"""Decides which messages are taken in when one device says more than it should.

Every device has a share that it gets whatever the others do: messages and bytes a second, with a burst (token buckets).
What is beyond its share is taken in as long as little waits, so that a backlog on a quiet site flows as fast as
it can; when much waits it is dropped, before anybody verifies a signature. Nothing is lost by that: a spool keeps what
was not acknowledged, and states are told again every minute. A third bucket bounds the bytes of a day in any case.
Time is an argument, in seconds of a clock that never goes back. `admits` is called on the network thread, `floods` from
another.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Event, Lock
from typing import Self

from edgeops import limits
from edgeops.errors import ConfigError
from fleet_server.bucket import Bucket

_DAY_S = 86_400.0
_SPAN_S = limits.FLOOD_SPAN.total_seconds()


@dataclass(frozen=True, slots=True)
class Share:
    """What every device may say; `bytes_per_day` in any case, the rest when much waits."""

    messages_per_s: float = limits.DEVICE_MESSAGES_PER_S
    messages_at_once: float = limits.DEVICE_MESSAGES_AT_ONCE
    bytes_per_s: float = limits.DEVICE_BYTES_PER_S
    bytes_at_once: float = limits.DEVICE_BYTES_AT_ONCE
    bytes_per_day: float = limits.DEVICE_BYTES_PER_DAY

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The share that a site has set, with bursts in proportion.

        Raises:
            ConfigError: a value that is no positive number.
        """
        standard = cls()
        messages, size, day = (
            _set(environment, name, by_default)
            for name, by_default in (
                ("EDGEOPS_DEVICE_MESSAGES_PER_S", standard.messages_per_s),
                ("EDGEOPS_DEVICE_BYTES_PER_S", standard.bytes_per_s),
                ("EDGEOPS_DEVICE_BYTES_PER_DAY", standard.bytes_per_day),
            )
        )
        return cls(
            messages_per_s=messages,
            messages_at_once=standard.messages_at_once * messages / standard.messages_per_s,
            bytes_per_s=size,
            bytes_at_once=standard.bytes_at_once * size / standard.bytes_per_s,
            bytes_per_day=day,
        )


@dataclass(frozen=True, slots=True)
class Flood:
    """What was dropped of one device since the last look."""

    device_id: str
    messages: int
    size_bytes: int
    #: So much of it within FLOOD_SPAN that dropping it disturbs the others.
    is_harmful: bool


def _set(environment: Mapping[str, str], name: str, by_default: float) -> float:
    text = environment.get(name)
    if not text:
        return by_default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ConfigError(f"{name}={text[:40]} is no number above 0; set one, or unset it for {by_default:g}")
    return value


class _Account:
    """One device."""

    __slots__ = ("day", "dropped", "dropped_bytes", "messages", "size", "span", "span_began_s", "span_bytes")

    def __init__(self, share: Share, now_s: float) -> None:
        self.messages = Bucket(share.messages_per_s, share.messages_at_once, now_s)
        self.size = Bucket(share.bytes_per_s, share.bytes_at_once, now_s)
        self.day = Bucket(share.bytes_per_day / _DAY_S, share.bytes_per_day, now_s)
        #: Dropped since the last look, and within the present span.
        self.dropped = self.dropped_bytes = self.span = self.span_bytes = 0
        self.span_began_s = now_s

    @property
    def is_harmful(self) -> bool:
        """Whether so much was dropped within the span that it disturbs the others."""
        return self.span >= limits.FLOOD_MESSAGES or self.span_bytes >= limits.FLOOD_BYTES


class Allowance:
    """The shares of all devices; there are no more than the broker lets in."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._accounts: dict[str, _Account] = {}
        self._flooding: set[str] = set()
        #: Set when somebody's flood became harmful: `floods` shall be asked now.
        self.alarm = Event()
        self._lock = Lock()

    def admits(self, device_id: str, size_bytes: int, *, much_waits: bool, now_s: float) -> bool:
        """Whether a message is taken in; one that is not counts as dropped."""
        with self._lock:
            account = self._account(device_id, now_s)
            own = account.messages.level(now_s) >= 1 and account.size.level(now_s) >= size_bytes
            if account.day.level(now_s) >= size_bytes and (own or not much_waits):
                account.messages.take(1)
                account.size.take(size_bytes)
                account.day.take(size_bytes)
                return True
            self._drop(account, size_bytes, now_s)
            self._flooding.add(device_id)
            if account.is_harmful:
                self.alarm.set()
            return False

    def floods(self) -> list[Flood]:
        """Of which devices something was dropped since the last look."""
        with self._lock:
            found = list(self._look())
            self._flooding.clear()
            self.alarm.clear()
        return found

    def _look(self) -> Iterator[Flood]:
        for device_id in sorted(self._flooding):
            account = self._accounts[device_id]
            yield Flood(device_id, account.dropped, account.dropped_bytes, account.is_harmful)
            account.dropped = account.dropped_bytes = 0
            if account.is_harmful:  # it is told once; what still comes was on its way
                account.span = account.span_bytes = 0

    def _drop(self, account: _Account, size_bytes: int, now_s: float) -> None:
        if now_s - account.span_began_s >= _SPAN_S:
            account.span_began_s, account.span, account.span_bytes = now_s, 0, 0
        account.dropped += 1
        account.dropped_bytes += size_bytes
        account.span += 1
        account.span_bytes += size_bytes

    def _account(self, device_id: str, now_s: float) -> _Account:
        account = self._accounts.get(device_id)
        if account is None:
            account = self._accounts[device_id] = _Account(self._share, now_s)
        return account
