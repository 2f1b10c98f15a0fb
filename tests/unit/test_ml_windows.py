"""How a snapshot is cut into the windows that are learnt from and judged."""

from dataclasses import replace

import numpy as np
import pytest

from edgeops.artifact.manifest import InputWindow, Resampling
from edgeops.data.cells import NO_MOMENT
from edgeops.data.splits import Split
from edgeops.errors import ConfigError, DatasetError
from fleet_server.datasets.snapshot import IMPORTED
from fleet_server.ml.recipes import cnn, dense
from fleet_server.ml.recipes.window import asked_window
from fleet_server.ml.windows import cut_windows, paced
from tests.ml.numbers import write_levels
from tests.ml.signals import CLASSES, HERTZ, write_waves

WAVES = write_waves(rows=40)


def window(rows, stride=1, **pace):
    return InputWindow(columns=WAVES.schema.columns, rows=rows, stride=stride, **pace)


def test_no_window_holds_rows_of_two_splits_or_two_groups():
    cut = cut_windows(WAVES, window(16, 4))
    assert (np.ptp(WAVES.splits[cut.places], axis=1) == 0).all()
    assert (np.ptp(WAVES.rows.groups[cut.places], axis=1) == 0).all()
    assert (np.diff(cut.places, axis=1) == 1).all()


def test_a_group_that_was_split_by_time_gives_no_window_across_the_border():
    splits = np.zeros_like(WAVES.splits)
    splits[500:550], splits[550:] = Split.VALIDATION, Split.EVALUATION
    cut = cut_windows(replace(WAVES, splits=splits), window(8))
    assert (np.ptp(splits[cut.places], axis=1) == 0).all()
    assert 550 - 8 in cut.places[cut.of(Split.VALIDATION), 0]
    assert 550 in cut.places[cut.of(Split.EVALUATION), 0]


def test_a_window_is_what_its_last_row_is_and_nothing_is_learnt_from_mixed_ones():
    cut = cut_windows(WAVES, window(16, 4))
    classes = WAVES.rows.classes[cut.places]
    assert cut.is_mixed.sum() == (classes.min(axis=1) != classes.max(axis=1)).sum() > 0
    for split in (Split.TRAIN, Split.VALIDATION):
        assert not cut.is_mixed[cut.of(split)].any()
    judged = cut.of(Split.EVALUATION)
    assert cut.is_mixed[judged].any()
    assert cut.at(judged).classes.tolist() == classes[judged, -1].tolist()
    assert f"{int(cut.is_mixed.sum())} windows hold rows of several classes" in cut.words[1]


def test_the_median_step_is_the_rate_and_a_gap_begins_a_new_window():
    rows = WAVES.rows
    found = paced(window(16, 4), WAVES)
    assert (found.rate_hz, found.max_gap_s) == (HERTZ, pytest.approx(3 / HERTZ))
    late = np.where(np.arange(len(rows)) >= 20, rows.times + 10**9, rows.times)
    cut = cut_windows(replace(WAVES, rows=replace(rows, times=late)), found)
    assert not ((cut.places[:, 0] < 20) & (cut.places[:, -1] >= 20)).any()
    assert 20 in cut.places[:, 0]


def test_rows_without_times_have_no_rate():
    timeless = replace(WAVES, rows=replace(WAVES.rows, times=np.full(len(WAVES.rows), NO_MOMENT)))
    assert paced(window(16), timeless) == window(16)
    assert len(cut_windows(timeless, window(16, max_gap_s=1.0)).places)
    with pytest.raises(DatasetError, match="import them with a time column"):
        cut_windows(timeless, window(16, rate_hz=HERTZ, resampling=Resampling.LINEAR))


def test_rows_of_another_rate_are_refused_by_group_and_row_or_put_on_one_grid():
    rows = WAVES.rows
    slow = replace(WAVES, rows=replace(rows, times=np.where(rows.groups == 2, 2 * rows.times, rows.times)))
    with pytest.raises(
        DatasetError, match=r"from row 240 of group 'pump2' on, rows come every 0.04 s, usually every 0.02"
    ):
        paced(window(16), slow)
    asked = window(16, 4, rate_hz=25.0, resampling=Resampling.HOLD)
    cut = cut_windows(slow, paced(asked, slow))
    steps = np.diff(cut.snapshot.rows.times[cut.places], axis=1)
    assert (steps == 40_000_000).all()
    assert all(len(cut.of(split)) for split in Split)
    own = cut.snapshot.rows.only(cut.snapshot.rows.groups == 2)
    assert own.values.tolist() == rows.values[rows.groups == 2].tolist()
    assert (np.ptp(cut.snapshot.splits[cut.places], axis=1) == 0).all()


def test_a_row_that_is_lost_and_a_clock_that_jitters_are_no_other_rate():
    random = np.random.default_rng(4)
    jitter = (random.uniform(-0.2, 0.2, len(WAVES.rows)) / HERTZ * 1e9).astype(np.int64)
    kept = random.random(len(WAVES.rows)) > 0.05
    rows = replace(WAVES.rows, times=WAVES.rows.times + jitter).only(kept)
    assert paced(window(16), replace(WAVES, rows=rows)).rate_hz == pytest.approx(HERTZ, rel=0.05)


@pytest.mark.parametrize(
    "options",
    [{"rate": 50}, {"window": 8, "resampling": "hold"}, {"window": 8, "rate": 50}],
)
def test_a_rate_needs_windows_and_times(options):
    with pytest.raises(ConfigError, match="give window and rate, and import with a time column"):
        asked_window(WAVES.schema, options)


def test_single_rows_are_all_windows_bought_ones_too():
    origins = np.where(np.arange(len(WAVES.rows)) < 5, 0, IMPORTED)
    bought = replace(WAVES, rows=replace(WAVES.rows, origins=origins))
    assert len(cut_windows(bought, window(1)).places) == len(WAVES.rows)
    assert cut_windows(bought, window(2)).places.min() == 5
    assert cut_windows(bought, window(1)).words == ()


def test_rows_dealt_by_chance_make_no_windows():
    levels = write_levels()
    with pytest.raises(DatasetError, match="fits into the rows that are learnt from: split by group or time"):
        cut_windows(levels, InputWindow(columns=levels.schema.columns, rows=30))


def test_a_class_that_never_lasts_as_long_as_a_window_is_named():
    rows = WAVES.rows
    classes = np.where(np.arange(len(rows)) % 10 == 0, 2, rows.classes % 2)
    with pytest.raises(DatasetError, match=f"no window of 4 rows that is learnt from is all of class '{CLASSES[2]}'"):
        cut_windows(replace(WAVES, rows=replace(rows, targets=classes)), window(4))


def test_windows_that_would_fill_the_memory_are_refused():
    with pytest.raises(DatasetError, match="give a longer stride or fewer rows to a window"):
        cut_windows(write_waves(), window(65_536, 1))


def test_a_plan_names_its_window_and_single_rows_are_planned_as_ever():
    rows = WAVES.only(Split.TRAIN)

    def planned(recipe, **options):
        return recipe.plan(WAVES.schema, rows.values, rows.targets, options)

    plan = planned(dense, window="16", stride="4")
    assert (plan.window, plan.input_shape) == (window(16, 4), (32,))
    assert planned(dense, window="16").window == window(16, 8)
    assert planned(dense, window="1").window is None
    assert planned(dense, window="1").digest() == planned(dense).digest()
    assert len({plan.digest(), planned(dense).digest(), planned(dense, window="16").digest()}) == 3
    with pytest.raises(ConfigError, match="option window is '0'; give a number between 1 and 65536"):
        planned(dense, window="0")
    with pytest.raises(ConfigError, match="recipe cnn has no option 'window'"):
        planned(cnn, window="16")
