"""32 bins per channel: where their edges lie, how values fall into them, and how counts become bytes.

Bins follow the reference's quantiles, so that a stable channel fills them evenly whatever its distribution. A value
belongs to the bin whose index is the number of edges less than or equal to it. This module does not compare
histograms.
"""

import numpy as np
from numpy.typing import NDArray

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


def pack_counts(counts: NDArray[np.int64], total: int) -> NDArray[np.uint8]:
    """Histograms (n, 32) that each sum to `total` as bytes (n, `packed_length(total)`).

    Elias-Fano code (Elias 1974, Fano 1971) of the 31 running totals: the `low_bits` low bits of each, then the high
    bits in unary, lowest bit of the first byte first.
    """
    low = _low_bits(total)
    running = np.cumsum(counts[:, :-1], axis=1)
    bits = np.zeros((len(counts), 8 * packed_length(total)), np.uint8)
    bits[:, : EDGES * low] = (running[:, :, np.newaxis] >> np.arange(low) & 1).reshape(len(counts), -1)
    marks = EDGES * low + (running >> low) + np.arange(EDGES)
    bits[np.arange(len(counts))[:, np.newaxis], marks] = 1
    return np.packbits(bits, axis=1, bitorder="little")


def unpack_counts(data: NDArray[np.uint8], total: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The histograms (n, 32) of `pack_counts` from bytes (n, `packed_length(total)`), and which of them are ones.

    Bytes that no counts of this sum pack to give a histogram that means nothing.
    """
    low = _low_bits(total)
    byte, bit = divmod(EDGES * low, 8)
    high = np.unpackbits(data[:, byte:], axis=1, bitorder="little")[:, bit:].view(np.bool_)
    good = np.count_nonzero(high, axis=1) == EDGES
    marks = np.flatnonzero(high[good]).reshape(-1, EDGES)
    marks -= np.arange(0, len(marks) * high.shape[1], high.shape[1])[:, np.newaxis] + np.arange(EDGES)
    running = _low_parts(data, low)
    running[good] += marks << low
    counts = np.empty((len(data), HISTOGRAM_BINS), np.int64)
    counts[:, 0] = running[:, 0]
    np.subtract(running[:, 1:], running[:, :-1], out=counts[:, 1:-1])
    np.subtract(total, running[:, -1], out=counts[:, -1])
    return counts, good & (counts.min(axis=1) >= 0)


def _low_parts(data: NDArray[np.uint8], low: int) -> NDArray[np.int64]:
    """The low bits (n, 31) of the running totals, from the bytes in which each begins and those behind."""
    parts = np.zeros((len(data), EDGES), np.int64)
    if low:
        first, shift = np.divmod(np.arange(0, EDGES * low, low), 8)
        for byte in range((low + 14) // 8):
            parts |= data.take(first + byte, axis=1).astype(np.int64) << 8 * byte
        parts >>= shift
        parts &= (1 << low) - 1
    return parts


def packed_length(total: int) -> int:
    """Bytes of packed counts with this sum: 24 for 500 rows, 4 for none."""
    low = _low_bits(total)
    return -(-(EDGES * low + EDGES + (total >> low)) // 8)


def _low_bits(total: int) -> int:
    return max(0, (total // EDGES).bit_length() - 1)
