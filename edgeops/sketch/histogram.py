"""32 bins per channel: where their edges lie, how values fall into them, and how counts become bytes.

Bins follow the reference's quantiles, so that a stable channel fills them evenly whatever its distribution. A value
belongs to the bin whose index is the number of edges less than or equal to it. This module does not compare
histograms.
"""

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import MessageError
from edgeops.limits import HISTOGRAM_BINS

EDGES = HISTOGRAM_BINS - 1


def quantile_edges(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """31 edges that cut finite `values` into 32 bins of equal counts, as far as ties allow.

    Where a value repeats over several edges the last of them moves up by one float step, so that what is equal to
    the value and what lies above it fall into different bins.
    """
    if not len(values):
        return np.zeros(EDGES, np.float32)
    shares = np.arange(1, HISTOGRAM_BINS) / HISTOGRAM_BINS
    edges = np.quantile(values.astype(np.float64), shares).astype(np.float32)
    last_of_run = np.append(edges[1:] != edges[:-1], [True])
    repeats = np.append([False], edges[1:] == edges[:-1])
    moved = last_of_run & repeats
    edges[moved] = np.nextafter(edges[moved], np.float32(np.inf))
    return edges


def class_edges(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """31 edges between whole numbers 0, 1, 2 ...; classes beyond 32 share bins evenly."""
    classes = max(HISTOGRAM_BINS, int(values.max(initial=0)) + 1)
    first_of_bin = np.ceil(np.arange(1, HISTOGRAM_BINS) * classes / HISTOGRAM_BINS)
    return (first_of_bin - 0.5).astype(np.float32)


def bin_counts(
    columns: NDArray[np.float32], edges: NDArray[np.float32], finite: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Counts (channels, 32) of values (channels, n) under edges (channels, 31); `finite` None = all are."""
    channels, rows = columns.shape
    slots = HISTOGRAM_BINS + 1  # the last takes what is missing
    bins = np.empty((channels, rows), np.int64)
    for channel in range(channels):
        bins[channel] = edges[channel].searchsorted(columns[channel], side="right")
    if finite is not None:
        bins[~finite] = HISTOGRAM_BINS
    bins += np.arange(0, channels * slots, slots)[:, np.newaxis]
    counts = np.bincount(bins.ravel(), minlength=channels * slots)
    return counts.reshape(channels, slots)[:, :HISTOGRAM_BINS].astype(np.int64)


def pack_counts(counts: list[int]) -> bytes:
    """32 counts as bytes whose length depends on their sum alone (`packed_length`).

    Elias-Fano code (Elias 1974, Fano 1971) of the 31 running totals: the `low_bits` low bits of each, then the high
    bits in unary, lowest bit of the first byte first.
    """
    total = sum(counts)
    low = _low_bits(total)
    mask = (1 << low) - 1
    bits, running = 0, 0
    for position, count in enumerate(counts[:-1]):
        running += count
        bits |= (running & mask) << (low * position)
        bits |= 1 << (EDGES * low + (running >> low) + position)
    return bits.to_bytes(packed_length(total), "little")


def unpack_counts(data: bytes, total: int) -> list[int]:
    """The 32 counts of `pack_counts`, given their sum.

    Raises:
        MessageError: the bytes are no code of counts with this sum.
    """
    if len(data) != packed_length(total):
        raise MessageError(f"{len(data)} bytes of bin counts for {total} rows, expected {packed_length(total)}")
    low = _low_bits(total)
    bits = int.from_bytes(data, "little")
    mask = (1 << low) - 1
    high = bits >> (EDGES * low)
    if high.bit_count() != EDGES:
        raise MessageError(f"bin counts with {high.bit_count()} of {EDGES} marks")
    counts, before = [], 0
    for position in range(EDGES):
        mark = (high & -high).bit_length() - 1
        high &= high - 1
        running = (mark - position) << low | (bits >> (low * position)) & mask
        counts.append(running - before)
        before = running
    counts.append(total - before)
    if min(counts) < 0:
        raise MessageError(f"bin counts below zero: {min(counts)}")
    return counts


def packed_length(total: int) -> int:
    """Bytes of packed counts with this sum: 24 for 500 rows, 4 for none."""
    low = _low_bits(total)
    return -(-(EDGES * low + EDGES + (total >> low)) // 8)


def _low_bits(total: int) -> int:
    return max(0, (total // EDGES).bit_length() - 1)
