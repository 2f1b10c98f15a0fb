"""What becomes of rows whose source has another rate than the model, or none."""

import numpy as np
import pytest

from edgeops.artifact.manifest import InputWindow, Resampling, decode_manifest, encode_value
from edgeops.errors import ArtifactError, InputError
from edgeops.model.resampling import Resampler, buffer_of
from edgeops.model.windowing import WindowBuffer
from tests.golden.tiny import COLUMNS, tiny_manifest

MS = 10**6


def window(method=Resampling.LINEAR, *, columns=("a",), rows=2, **pace):
    pace = {"rate_hz": 100.0, "max_gap_s": 0.05} | pace
    return InputWindow(columns=columns, rows=rows, resampling=method, **pace)


def put(method, *rows):
    """Pairs of reading and milliseconds; what comes of each."""
    resampler = Resampler(window(method))
    return [
        [float(one[0]) for one in resampler.push(np.array([value], np.float32), round(at * MS))] for value, at in rows
    ]


def test_a_point_of_the_grid_holds_the_last_row_before_it():
    assert put(Resampling.HOLD, (1, 0), (2, 8), (3, 25), (4, 30)) == [[1], [], [2, 2], [4]]


def test_a_point_of_the_grid_lies_on_the_line_between_its_neighbours():
    assert put(Resampling.LINEAR, (0, 0), (8, 8), (25, 25), (30, 30)) == [[0], [], [10, 20], [30]]


def test_a_step_is_the_mean_of_its_rows_and_an_empty_one_is_as_the_one_before():
    assert put(Resampling.MEAN, (1, 0), (3, 5), (7, 12), (5, 41)) == [[], [], [2], [7, 7, 7]]


@pytest.mark.parametrize("method", [Resampling.HOLD, Resampling.LINEAR])
def test_behind_a_gap_and_where_time_goes_back_the_grid_begins_anew(method):
    assert put(method, (1, 0), (2, 51), (3, 56), (4, 61), (5, 4), (6, 14)) == [[1], [2], [], [4], [5], [6]]


def test_a_row_of_the_same_moment_is_passed_over_and_counted_as_is_one_that_is_earlier():
    resampler = Resampler(window())
    rows = [resampler.push(np.array([value], np.float32), at) for value, at in ((1, 7), (2, 7), (3, 6))]
    assert ([len(one) for one in rows], resampler.disordered) == ([1, 0, 1], 2)


def test_a_missing_value_is_missing_on_both_sides_of_it():
    found = put(Resampling.LINEAR, (1, 0), (np.nan, 15), (3, 30))
    assert np.isnan([*found[1], found[2][0]]).all()
    assert found[2][1] == 3


def test_a_slow_source_completes_several_windows_at_once_and_the_latest_is_answered():
    buffer = buffer_of(window())
    pushed = [
        buffer.push(np.array([value], np.float32), at * MS) for value, at in ((0, 0), (40, 40), (0, 100), (9, 110))
    ]
    assert [None if one is None else one.tolist() for one in pushed] == [None, [[30], [40]], None, [[0], [9]]]


def test_a_row_without_a_time_is_refused_and_without_resampling_taken():
    with pytest.raises(InputError, match="give the source a time column"):
        buffer_of(window()).push(np.zeros(1, np.float32), None)
    assert isinstance(buffer_of(InputWindow(columns=("a",))), WindowBuffer)


@pytest.mark.parametrize("pace", [{"rate_hz": None}, {"max_gap_s": None}, {"rate_hz": 1e5, "max_gap_s": 1.0}])
def test_a_manifest_whose_grid_has_no_end_is_refused(pace):
    with pytest.raises(ArtifactError, match="gaps of at most 65536 rows"):
        decode_manifest(encode_value(tiny_manifest(window=window(columns=COLUMNS, rows=1, **pace))))
