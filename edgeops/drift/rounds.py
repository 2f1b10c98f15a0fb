"""Puts the windows of several devices side by side, so that what was seen together is judged together.

Devices close windows at different times and with different numbers of rows. A round of a group opens
with the first window behind the last one and closes

* when every device of the group has contributed; what closes right after that, within `APART`, is still of it; or
* before the second window of a device, `SETTLE` after the first: the others are slower or late and contribute when they
  come, or
* before a window that was opened after all of its own had closed: that is another round, or
* by age: a device is waited for `SETTLE` at least, and for twice its own rhythm after its last window, `PATIENCE` at
  most; so a device that fell silent holds a round up once, never for ever.

Before it is full, a round closes only if half of the devices are in it that were heard within `QUORUM_SPAN`, or not
yet: one device that talks while the others sleep does not become the fleet. Windows are sorted by when they closed, not
by when they came, so a backlog falls where it belongs, and the same windows give the same rounds. This module judges
nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

from edgeops import limits
from edgeops.sketch.window import Sketch, empty_sketch, merge_all

#: What any device gets to join a round: a source that went idle closes its window after `limits.WINDOW_IDLE`.
SETTLE = limits.WINDOW_IDLE + timedelta(seconds=3)
#: The longest that a round waits for a device.
PATIENCE = 2 * limits.WINDOW_AGE
#: Windows of one burst of rows close by themselves on each device; so far apart they are of two.
APART = timedelta(seconds=1)
#: A device that said nothing for this long does not count in the quorum.
QUORUM_SPAN = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceWindow:
    """One window of one device."""

    device_id: str
    closed_at: datetime
    #: How long it was open.
    duration: timedelta
    sketch: Sketch


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a group."""

    #: When its first window closed.
    opened_at: datetime
    #: Windows by device, oldest first.
    windows: Mapping[str, Sequence[DeviceWindow]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """All rounds of a group, oldest first."""

    closed: tuple[Round, ...]
    #: The round that goes on.
    open: Round | None
    #: When `open` closes if nothing more comes; None = it waits for more devices, or there is none.
    closes_at: datetime | None
    #: Devices that are not in `open` yet.
    missing: tuple[str, ...]


def align(windows: Iterable[DeviceWindow], members: Collection[str], *, now: datetime) -> Alignment:
    """Rounds of the windows of `members`, the devices of the group; windows of other devices are left out."""
    group = _Group(frozenset(members))
    own = (window for window in windows if window.device_id in group.members)
    closed: list[Round] = []
    current: _OpenRound | None = None
    for window in sorted(own, key=attrgetter("closed_at", "device_id")):
        if current is not None and current.is_before(window):
            closed.append(current.round())
            current = None
        current = current or _OpenRound(group, window.closed_at)
        current.take(window)
    if current is not None and (not current.missing or current.has_ended(now)):
        closed.append(current.round())
        current = None
    return Alignment(
        closed=tuple(closed),
        open=None if current is None else current.round(),
        closes_at=None if current is None else current.ends_at(),
        missing=() if current is None else tuple(sorted(current.missing)),
    )


def per_device(rounds: Sequence[Round], members: Iterable[str], *, channels: int) -> dict[str, list[Sketch]]:
    """Of every member one sketch per round, oldest first; an empty one where it did not contribute.

    Raises:
        MessageError: sketches of other than `channels` channels, or too many rows in one round.
    """
    nothing = empty_sketch(channels)
    return {one: [_merged(round_.windows.get(one, ()), nothing) for round_ in rounds] for one in sorted(members)}


def _merged(windows: Sequence[DeviceWindow], nothing: Sketch) -> Sketch:
    match windows:
        case [one] if one.sketch.channels == nothing.channels:
            return one.sketch
        case []:
            return nothing
        case _:
            return merge_all((one.sketch for one in windows), channels=nothing.channels)


class _Group:
    """Who belongs together, and how each was heard so far."""

    def __init__(self, members: frozenset[str]) -> None:
        self.members = members
        self.last: dict[str, datetime] = {}
        self._first: datetime | None = None
        self._rhythm: dict[str, timedelta] = {}

    def hear(self, window: DeviceWindow) -> None:
        """Take in the next window."""
        at = window.closed_at
        self._first = self._first or at
        pause = at - self.last.get(window.device_id, at)
        # Who comes back after a long silence is not known to be that slow.
        self._rhythm[window.device_id] = max(window.duration, pause if pause <= PATIENCE else timedelta(0))
        self.last[window.device_id] = at

    def counted(self, at: datetime) -> set[str]:
        """Devices that count in the quorum: heard lately, or not yet."""
        first = self._first or at
        return {one for one in self.members if at - self.last.get(one, first) <= QUORUM_SPAN}

    def awaited_until(self, device_id: str, opened_at: datetime) -> datetime:
        """How long a round that opened then waits for a device that is not in it."""
        settled = opened_at + SETTLE
        last = self.last.get(device_id)
        if last is None:
            return settled
        return max(settled, last + min(2 * self._rhythm[device_id], PATIENCE))


class _OpenRound:
    """A round in the making."""

    def __init__(self, group: _Group, opened_at: datetime) -> None:
        self._group = group
        self._opened_at = opened_at
        self._last_closed_at = opened_at
        self._windows: dict[str, list[DeviceWindow]] = {}
        self.missing = set(group.members)
        self._counted = group.counted(opened_at)
        #: One that is still waited for, so that the others need not be looked at.
        self._awaited: str | None = None

    def take(self, window: DeviceWindow) -> None:
        """Add a window."""
        device_id = window.device_id
        self._group.hear(window)
        self._last_closed_at = window.closed_at
        self._windows.setdefault(device_id, []).append(window)
        self.missing.discard(device_id)
        self._counted.add(device_id)

    def is_before(self, window: DeviceWindow) -> bool:
        """Whether the next window is of another round."""
        at, is_settled = window.closed_at, window.closed_at >= self._opened_at + SETTLE
        if not self.missing:
            # A burst may fill several windows of a device; those that follow at once are of this round.
            return is_settled or at > self._last_closed_at + APART
        is_apart = at - window.duration >= self._last_closed_at + APART
        is_second = is_settled and window.device_id in self._windows
        return (self._has_quorum() and (is_apart or is_second)) or self.has_ended(at)

    def has_ended(self, now: datetime) -> bool:
        """Whether it closed by age at `now` or before."""
        if not self._has_quorum():
            return False
        if self._awaited not in self.missing or self._until(self._awaited) <= now:
            self._awaited = next((one for one in self.missing if self._until(one) > now), None)
        return self._awaited is None

    def ends_at(self) -> datetime | None:
        """When it closes by age; None while too few devices are in it."""
        if not self._has_quorum():
            return None
        return max((self._until(one) for one in self.missing), default=self._opened_at)

    def round(self) -> Round:
        """What it is so far."""
        return Round(self._opened_at, self._windows)

    def _has_quorum(self) -> bool:
        return 2 * len(self._windows) >= len(self._counted)

    def _until(self, device_id: str) -> datetime:
        return self._group.awaited_until(device_id, self._opened_at)
