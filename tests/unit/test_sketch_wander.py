"""How much consecutive cells of a reference wander: the largest distance of any block from all the rest."""

import numpy as np
import pytest

from edgeops.sketch.wander import SHORTEST_BLOCK, block_lengths, cell_rows, wander


def cells_of(*bins_per_cell):
    """Counts of one channel whose values lie in these bins, cell by cell."""
    return np.array([[np.bincount(np.array(bins, np.int64), minlength=32)] for bins in bins_per_cell])


def test_a_long_reference_is_cut_into_400_cells_and_a_short_one_into_cells_of_50_rows():
    assert [cell_rows(rows) for rows in (1, 50, 20_000)] == [SHORTEST_BLOCK] * 3
    assert [cell_rows(rows) for rows in (20_001, 20_400, 20_401)] == [51, 51, 52]


def test_blocks_double_up_to_the_longest_of_which_four_fit():
    assert [block_lengths(cells) for cells in (0, 3, 4, 7, 8, 15, 16, 20)] == [
        (), (), (1,), (1,), (1, 2), (1, 2, 3), (1, 2, 4), (1, 2, 4, 5),
    ]  # fmt: skip


@pytest.mark.parametrize("odd", range(8))
def test_a_block_is_of_its_length_wherever_the_odd_cell_is(odd):
    cells = cells_of(*([0] if place == odd else [31] for place in range(8)))
    assert wander(cells, (1, 2))[:, 0].tolist() == [1.0, 0.5]


@pytest.mark.parametrize("empty", range(4))
def test_a_block_in_which_all_values_are_missing_has_no_distance(empty):
    cells = cells_of(*([] if place == empty else [3, 9] for place in range(4)))
    assert wander(cells, (1,)).tolist() == [[0.0]]


def test_where_all_values_are_in_one_block_there_is_nothing_to_hold_it_against():
    assert wander(cells_of([], [3, 9], [], []), (1,)).tolist() == [[0.0]]


def test_single_values_in_a_block_and_outside_are_held_against_each_other():
    assert wander(cells_of([3], [9], [], []), (1,)).tolist() == [[1.0]]
