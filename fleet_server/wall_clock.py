"""What this machine's clock shows, for the processes of a server; the one place of it that they read.

Whoever decides is given the moment. It says nothing about how long something took: that is `time.monotonic`.
"""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present moment."""
    return datetime.fromtimestamp(time.time(), UTC)
