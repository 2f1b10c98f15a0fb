"""Rows of a scenario: what is shown to the fleet, and what judges it."""

import numpy as np
import pytest

from edgeops.local.scenarios.scenario import Rows


def rows(count):
    ids = tuple(map(str, range(count)))
    return Rows(values=np.arange(count, dtype=np.float32)[:, np.newaxis], ids=ids, labels=ids)


@pytest.mark.parametrize(("count", "shown"), [(1_586, 793), (220, 110), (197, 110), (161, 107), (3, 2), (1, 0)])
def test_half_is_shown_but_of_few_rows_more_and_each_row_is_shown_or_held_out(count, shown):
    first, rest = rows(count).shown_and_held_out()
    assert len(first) == shown
    assert first.ids + rest.ids == rows(count).ids
    assert np.array_equal(np.concatenate([first.values, rest.values]), rows(count).values)
