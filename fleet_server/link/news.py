"""Which alerts and sightings a batch makes events of: each at most once per interval, so that neither floods.

It remembers in memory only: after a restart each may be told once more. It writes nothing.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from edgeops import limits
from fleet_server.link.entries import Alerted, ControlEntry, Heard
from fleet_server.link.keyring import Refusal
from fleet_server.link.reading import Reading


class News:
    """What is worth an event now, and what was said a moment ago."""

    _REMEMBERED = 10_000

    def __init__(self) -> None:
        #: When, in monotonic seconds: a clock that is set back must not make anybody wait.
        self._alerted_s: dict[tuple[str, str], float] = {}
        self._suppressed: dict[tuple[str, str], int] = {}
        self._seen_s: dict[str, float] = {}

    def of(self, reading: Reading, now: datetime, *, now_s: float) -> list[ControlEntry]:
        """Alerts about messages put aside and sightings of devices, each at most once per interval."""
        entries: list[ControlEntry] = []
        for key, (new, detail) in reading.refusals.items():
            device_id, reason = key
            if reason is Refusal.CLONED_SESSION:
                continue  # the device itself is quarantined, with an event of its own
            count = new + self._suppressed.get(key, 0)
            if _is_recent(self._alerted_s.get(key), now_s, limits.ALERT_INTERVAL):
                self._suppressed[key] = count
            else:
                entries.append(Alerted(device_id, reason, count, detail[: limits.MAX_DETAIL_LENGTH], now))
        entries.extend(
            Heard(device_id, now)
            for device_id in reading.heard
            if not _is_recent(self._seen_s.get(device_id), now_s, limits.LAST_SEEN_INTERVAL)
        )
        return entries

    def told(self, entries: Iterable[ControlEntry], *, now_s: float) -> None:
        """Remember what was committed."""
        for entry in entries:
            match entry:
                case Alerted(device_id, reason, _, _, _):
                    self._alerted_s[device_id, reason] = now_s
                    self._suppressed.pop((device_id, reason), None)
                case Heard(device_id, _):
                    self._seen_s[device_id] = now_s
                case _:
                    pass
        if len(self._alerted_s) > self._REMEMBERED:
            self._alerted_s.clear()
            self._suppressed.clear()


def _is_recent(then_s: float | None, now_s: float, interval: timedelta) -> bool:
    return then_s is not None and now_s - then_s < interval.total_seconds()
