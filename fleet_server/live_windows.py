"""The newest LIVE windows of one stream, device by device, unpacked once.

A memory of what lies in the database, bounded in windows per device and in all, and cheap to keep up to date: what
came since is read by the time it came. It judges nothing and decides nothing about devices.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from edgeops import limits
from edgeops.drift.rounds import DeviceWindow
from edgeops.errors import MessageError
from edgeops.sketch.packing import unpack_all
from edgeops.sketch.window import Sketch
from fleet_server.db import telemetry
from fleet_server.db.database import Connection
from fleet_server.db.findings import Stream
from fleet_server.db.telemetry import Window

#: Windows are looked for again this far back, should the clock be corrected a little.
_OVERLAP = timedelta(seconds=1)
#: Rows read at a time.
_BATCH = 1_000
#: However large a fleet, so many windows of each device count.
_LEAST_PER_DEVICE = 4

_log = logging.getLogger(__name__)

#: Spooled record of a window.
_Key = tuple[bytes, int]


class LiveWindows:
    """Call `catch_up`, then look at `windows`."""

    def __init__(self, stream: Stream, *, since: datetime, channels: int) -> None:
        """Nothing yet; no window of the stream closed before `since`, when its model file was made."""
        self._stream = stream
        self._since = since
        self._channels = channels
        self._kept: dict[str, dict[_Key, DeviceWindow | None]] = {}
        self._read_to: datetime | None = None

    @property
    def heard_at(self) -> datetime | None:
        """When the newest window of the model file came; None = none ever did."""
        return self._read_to

    @property
    def windows(self) -> Iterator[DeviceWindow]:
        """All that count, of the devices of the last `catch_up`."""
        for kept in self._kept.values():
            for window in kept.values():
                if window is not None:
                    yield window

    def catch_up(self, connection: Connection, members: frozenset[str], now: datetime) -> bool:
        """Take in what came, of these devices; whether anything changed."""
        gone, new = self._kept.keys() - members, members - self._kept.keys()
        for device_id in gone:
            del self._kept[device_id]
        most = self._most_per_device(len(members))
        horizon = max(now - limits.DRIFT_HORIZON, self._since)
        last = telemetry.last_received(connection, self._stream.digest)
        if last is None:
            return bool(gone)
        came = self._take(self._rows(connection, new, last, horizon=horizon, most=most), horizon)
        self._read_to = last
        if came:
            for kept in self._kept.values():
                _forget(kept, horizon=horizon, most=most)
        return bool(came or gone or new)

    def _rows(
        self, connection: Connection, new: Iterable[str], last: datetime, *, horizon: datetime, most: int
    ) -> Iterator[Window]:
        """What came of known devices, then the newest of those that were not."""
        digest, deployment = self._stream.digest, self._stream.deployment
        if self._read_to is not None and self._read_to != last:
            start = self._read_to - _OVERLAP
            while True:
                rows = telemetry.live_windows(connection, digest, deployment, received_from=start, limit=_BATCH)
                yield from (row for row in rows if row.device_id in self._kept)
                if len(rows) < _BATCH or rows[-1].received_at == start:
                    break
                start = rows[-1].received_at
        for device_id in sorted(new):
            self._kept[device_id] = {}
            yield from telemetry.latest_live_windows(
                connection, device_id, digest, deployment, closed_from=horizon, limit=most
            )

    def _take(self, rows: Iterable[Window], horizon: datetime) -> bool:
        """Keep those that are new and can be judged by; whether there were any."""
        fresh = {
            (row.device_id, row.spool, row.seq): row
            for row in rows
            if row.closed_at >= horizon and (row.spool, row.seq) not in self._kept[row.device_id]
        }
        came = False
        for row, sketch in zip(fresh.values(), unpack_all([row.sketch for row in fresh.values()]), strict=True):
            window = _value(row, sketch, self._channels)
            if isinstance(window, str):
                _log.warning("monitoring.window-refused device=%s seq=%d %s", row.device_id, row.seq, window)
            # A refused one is remembered as None, so that it is told once.
            self._kept[row.device_id][row.spool, row.seq] = None if isinstance(window, str) else window
            came |= not isinstance(window, str)
        return came

    def _most_per_device(self, devices: int) -> int:
        fair = limits.DRIFT_HISTOGRAMS // max(1, devices * self._channels)
        return max(_LEAST_PER_DEVICE, min(limits.DRIFT_WINDOWS_PER_DEVICE, fair))


def _value(row: Window, sketch: Sketch | MessageError, channels: int) -> DeviceWindow | str:
    """The window, or why nothing can be judged by it."""
    if isinstance(sketch, MessageError):
        return str(sketch)
    if sketch.channels != channels:
        return f"a sketch of {sketch.channels} channels, the model has {channels}"
    if sketch.rows > limits.DRIFT_WINDOW_ROWS:
        return f"a window of {sketch.rows} rows, at most {limits.DRIFT_WINDOW_ROWS} are believed"
    duration = timedelta(milliseconds=min(row.duration_ms, limits.DRIFT_HORIZON // timedelta(milliseconds=1)))
    return DeviceWindow(device_id=row.device_id, closed_at=row.closed_at, duration=duration, sketch=sketch)


def _forget(kept: dict[_Key, DeviceWindow | None], *, horizon: datetime, most: int) -> None:
    """Drop what is older than the horizon or beyond the number kept, in place."""
    usable = [(window.closed_at, key) for key, window in kept.items() if window is not None]
    newest = {key for closed_at, key in sorted(usable)[-most:] if closed_at >= horizon}
    refused = [key for key, window in kept.items() if window is None]
    for key in kept.keys() - newest - set(refused[-most:]):
        del kept[key]
