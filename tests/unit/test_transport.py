"""Which way comes first, and what one request asks for."""

from edgeops import limits
from edgeops.artifact.transport import Transport, first_run, transports


def test_small_blobs_come_in_blocks_first_and_large_ones_in_ranges():
    small, large = limits.RANGES_ABOVE_BYTES, limits.RANGES_ABOVE_BYTES + 1
    assert transports(small, ranges=True) == (Transport.BLOCKS, Transport.RANGES)
    assert transports(large, ranges=True) == (Transport.RANGES, Transport.BLOCKS)
    assert transports(large, ranges=False) == (Transport.BLOCKS,)


def test_a_request_asks_for_the_lowest_missing_blocks_that_follow_each_other():
    assert first_run((3,)) == range(3, 4)
    assert first_run((3, 4, 5, 9, 10)) == range(3, 6)
    assert first_run(range(5, 500)) == range(5, 5 + limits.RANGE_BLOCKS)
