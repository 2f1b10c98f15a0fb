"""Which way a blob comes first, and where a range of it begins and ends.

Whatever the way, blocks prove themselves against the block list; so a download may change it at any block.
"""

from collections.abc import Sequence
from enum import StrEnum

from edgeops import limits


class Transport(StrEnum):
    """A way for the blocks of a blob."""

    #: Blocks over MQTT: one message serves all who wait for it.
    BLOCKS = "blocks"
    #: Ranges over HTTP: each device reads for itself.
    RANGES = "ranges"


def transports(size_bytes: int, *, ranges: bool) -> tuple[Transport, ...]:
    """The ways to try, in order; `ranges` = an HTTP server is known."""
    if not ranges:
        return (Transport.BLOCKS,)
    if size_bytes > limits.RANGES_ABOVE_BYTES:
        return (Transport.RANGES, Transport.BLOCKS)
    return (Transport.BLOCKS, Transport.RANGES)


def first_run(missing: Sequence[int]) -> range:
    """The blocks of the next request: the lowest missing ones that follow each other, RANGE_BLOCKS at most."""
    first = missing[0]
    end = first
    for index in missing:
        if index != end or end - first >= limits.RANGE_BLOCKS:
            break
        end += 1
    return range(first, end)
