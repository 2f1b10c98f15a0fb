"""Which rows one inference sees."""

import numpy as np
import pytest

from edgeops.artifact.manifest import InputWindow
from edgeops.errors import InputError
from edgeops.model.windowing import WindowBuffer


def rows(count, columns=2):
    return np.arange(count * columns, dtype=np.float32).reshape(count, columns)


def pushed(window, table, times=None):
    buffer = WindowBuffer(window)
    found = [buffer.push(row, None if times is None else round(times[i] * 1e9)) for i, row in enumerate(table)]
    return [window for window in found if window is not None]


def test_one_row_windows_pass_through():
    table = rows(3)
    windows = pushed(InputWindow(columns=("a", "b")), table)
    assert [window.tolist() for window in windows] == [[[0, 1]], [[2, 3]], [[4, 5]]]


def test_a_window_slides_by_its_stride():
    windows = pushed(InputWindow(columns=("a", "b"), rows=4, stride=2), rows(9))
    assert [window[:, 0].tolist() for window in windows] == [[0, 2, 4, 6], [4, 6, 8, 10], [8, 10, 12, 14]]


def test_a_stride_longer_than_the_window_skips_rows():
    windows = pushed(InputWindow(columns=("a", "b"), rows=1, stride=3), rows(7))
    assert [window[0, 0] for window in windows] == [0, 6, 12]


def test_a_gap_starts_a_new_window():
    window = InputWindow(columns=("a", "b"), rows=2, max_gap_s=1.0)
    windows = pushed(window, rows(4), times=[0.0, 5.0, 6.0, 7.0])
    assert [found[:, 0].tolist() for found in windows] == [[2, 4], [4, 6]]


def test_a_clock_that_goes_back_starts_a_new_window():
    window = InputWindow(columns=("a", "b"), rows=2, max_gap_s=1.0)
    assert len(pushed(window, rows(4), times=[9.0, 1.0, 2.0, 3.0])) == 2


def test_without_times_there_are_no_gaps():
    window = InputWindow(columns=("a", "b"), rows=2, max_gap_s=1.0)
    assert len(pushed(window, rows(4))) == 3


def test_a_window_stays_as_it_was_when_more_rows_come():
    buffer = WindowBuffer(InputWindow(columns=("a", "b"), rows=2))
    table = rows(20)
    buffer.push(table[0], None)
    first = buffer.push(table[1], None)
    for row in table[2:]:
        buffer.push(row, None)
    assert first.tolist() == table[:2].tolist()


def test_clear_forgets_all_rows():
    buffer = WindowBuffer(InputWindow(columns=("a", "b"), rows=2))
    buffer.push(rows(1)[0], None)
    buffer.clear()
    assert buffer.push(rows(1)[0], None) is None


def test_a_row_of_another_width_names_the_columns():
    buffer = WindowBuffer(InputWindow(columns=("temperature", "humidity")))
    with pytest.raises(InputError, match="2 columns: temperature, humidity"):
        buffer.push(np.zeros(3, np.float32), None)
