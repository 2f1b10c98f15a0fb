"""Sends what waits in the spool, as much as the server's credit allows.

It chooses nothing: the spool does. Without a connection nothing counts as sent.
"""

import time

from device_agent.link import Link
from device_agent.store.spool import Spool
from device_agent.uplink import Uplink
from edgeops import limits
from edgeops.errors import DiskError
from edgeops.protocol.fitting import fitted

#: Records whose leaving the disk did not take note of wait so long.
_REST_S = limits.UPDATE_RETRY_AFTER.total_seconds()


class Pump:
    """From the spool to the link."""

    def __init__(self, spool: Spool, link: Link, uplink: Uplink) -> None:
        self._spool = spool
        self._link = link
        self._uplink = uplink
        self._rests_until_s = 0.0
        #: Records that may be on their way, as the server said last.
        self.credit = limits.INITIAL_CREDIT

    def send(self) -> None:
        """Send what may leave now.

        Raises:
            DiskError: that they leave must be on disk first, and it is not; it rests for a while.
        """
        if not self._link.connected or time.monotonic() < self._rests_until_s:
            return
        try:
            batches = self._spool.take(self.credit)
        except DiskError:
            self._rests_until_s = time.monotonic() + _REST_S
            raise
        for batch in batches:
            for body in fitted(batch.body, self._link.largest_payload_bytes):
                self._uplink.say(batch.kind, body)
