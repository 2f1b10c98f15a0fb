"""How much a reference in time order wanders by itself: what no window can be blamed for.

A process with a cycle (day and night, shifts) looks different in every part of it. Blocks of consecutive rows, of
doubling lengths up to a quarter of the reference, are held against all other rows; the largest distance per length is
what windows of that length show without drift. This module does not decide what that means for a verdict.
"""

import numpy as np
from numpy.typing import NDArray

#: The shortest block in rows; the longest reference is cut into `_CELLS` cells instead.
SHORTEST_BLOCK = 50
_CELLS = 400
#: Blocks of one length that do not overlap, at least.
_LEAST_BLOCKS = 4


def cell_rows(rows: int) -> int:
    """Rows of one cell, the smallest part that blocks are made of."""
    return max(SHORTEST_BLOCK, -(-rows // _CELLS))


def block_lengths(cells: int) -> tuple[int, ...]:
    """Lengths in cells: 1, 2, 4 ... and the longest of which four fit; none for a reference shorter than that."""
    longest = cells // _LEAST_BLOCKS
    lengths = [1 << power for power in range(longest.bit_length())]
    return tuple(sorted({*lengths, longest})) if longest else ()


def wander(cells: NDArray[np.int64], lengths: tuple[int, ...]) -> NDArray[np.float64]:
    """The largest distance D of any block of each length against all other rows.

    Args:
        cells: counts (cells, channels, 32) of consecutive cells.
        lengths: of blocks, in cells.

    Returns:
        (lengths, channels), 0..1; 0 where a block or the rest is empty.
    """
    running = np.concatenate((np.zeros((1, *cells.shape[1:]), np.int64), np.cumsum(cells, axis=0)))
    whole = running[-1]
    largest = np.zeros((len(lengths), cells.shape[1]))
    for place, length in enumerate(lengths):
        blocks = running[length:] - running[:-length]
        largest[place] = _distances(blocks, whole - blocks).max(axis=0)
    return largest


def _distances(blocks: NDArray[np.int64], rest: NDArray[np.int64]) -> NDArray[np.float64]:
    shares = [np.cumsum(part, axis=-1) / np.maximum(part.sum(axis=-1, keepdims=True), 1) for part in (blocks, rest)]
    both = (blocks.sum(axis=-1) > 0) & (rest.sum(axis=-1) > 0)
    return np.asarray(np.where(both, np.abs(shares[0] - shares[1]).max(axis=-1), 0.0))
