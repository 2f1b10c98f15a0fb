"""What is decided around a training, without training: plans and channels."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgeops.artifact.manifest import ChannelKind, MissingPolicy, Task, Transform
from edgeops.data.splits import Split
from edgeops.errors import ConfigError, DatasetError
from fleet_server.datasets.snapshot import SnapshotFile
from fleet_server.ml.recipes import cnn, dense
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.recipes.target import plan_target
from fleet_server.ml.watching import anova_f, correlation, image_channels, table_channels
from tests.imported import import_file
from tests.ml.numbers import number_snapshot

RANDOM = np.random.default_rng(2)


def snapshot(folder: Path, values: np.ndarray) -> SnapshotFile:
    path = folder / "data.npz"
    np.savez(path, X=values.astype(np.float32), y=np.arange(len(values)) % 2)
    return import_file(path, file_name="data.npz", label="y")


def planned(recipe: ModuleType, data: SnapshotFile, options: dict[str, float | str]) -> Plan:
    """What a recipe decides of the training rows."""
    rows = data.only(Split.TRAIN)
    plan: Plan = recipe.plan(data.schema, rows.values, rows.targets, options)
    return plan


# -- plans


def test_a_table_is_standardized_by_its_training_rows(tmp_path: Path) -> None:
    data = snapshot(tmp_path, RANDOM.normal(5, 3, size=(200, 2)))
    rows = data.only(Split.TRAIN).values
    plan = planned(dense, data, {})
    ready = rows * np.array(plan.preprocess.multiply) + np.array(plan.preprocess.add)
    assert plan.preprocess.transform is Transform.NONE
    assert np.abs(ready.mean(axis=0)).max() < 1e-5
    assert np.abs(ready.std(axis=0) - 1).max() < 1e-5
    assert plan.missing is MissingPolicy.REFUSE


def test_a_constant_column_becomes_zero(tmp_path: Path) -> None:
    values = RANDOM.normal(size=(100, 2))
    values[:, 1] = 7
    data = snapshot(tmp_path, values)
    plan = planned(dense, data, {})
    assert (plan.preprocess.multiply[1], abs(plan.preprocess.add[1])) == (0.0, 0.0)


def test_the_transform_can_be_chosen(tmp_path: Path) -> None:
    data = snapshot(tmp_path, np.exp(RANDOM.normal(0, 3, size=(400, 2))))
    assert planned(dense, data, {}).preprocess.transform is Transform.SIGNED_LOG1P
    assert planned(dense, data, {"transform": "none"}).preprocess.transform is Transform.NONE


@pytest.mark.parametrize("options", [{"depth": 2}, {"transform": "sqrt"}, {"batch": "many"}, {"learning-rate": -1.0}])
def test_an_option_that_is_unknown_or_out_of_bounds_is_refused(tmp_path: Path, options: dict[str, float | str]) -> None:
    data = snapshot(tmp_path, RANDOM.normal(size=(100, 2)))
    with pytest.raises(ConfigError, match=next(iter(options))):
        planned(dense, data, options)


@pytest.mark.parametrize(("highest", "scale"), [(1.0, 1.0), (16.0, 16.0), (200.0, 255.0), (1e5, 1e5)])
def test_pixels_become_fractions_of_their_full_scale(tmp_path: Path, highest: float, scale: float) -> None:
    values = RANDOM.uniform(0, highest, size=(60, 8, 8))
    values[:, 0, 0] = highest
    data = snapshot(tmp_path, values)
    plan = planned(cnn, data, {})
    assert plan.preprocess.multiply == pytest.approx((1 / scale,))
    assert plan.input_shape == (8, 8, 1)


def test_a_flat_row_of_a_square_number_of_values_is_an_image(tmp_path: Path) -> None:
    data = snapshot(tmp_path, RANDOM.uniform(size=(60, 64)))
    assert planned(cnn, data, {}).input_shape == (8, 8, 1)


@pytest.mark.parametrize("shape", [(60, 65), (60, 3, 8)])
def test_rows_that_are_no_images_are_refused_with_what_to_do(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = snapshot(tmp_path, RANDOM.uniform(size=shape))
    with pytest.raises(ConfigError, match="use recipe dense"):
        planned(cnn, data, {})


def test_a_plan_is_named_by_every_decision(tmp_path: Path) -> None:
    data = snapshot(tmp_path, RANDOM.normal(size=(100, 2)))
    digests = {planned(dense, data, options).digest() for options in ({}, {"batch": 32.0}, {"batch": 64.0})}
    assert len(digests) == 2, "64 is the default"


# -- numbers to learn


@pytest.mark.parametrize(
    ("numbers", "transform"),
    [
        (RANDOM.uniform(0, 100, 500), Transform.NONE),
        (RANDOM.normal(1000, 50, 500), Transform.NONE),
        (RANDOM.normal(0, 5, 500), Transform.NONE),
        (10 ** RANDOM.uniform(0, 3, 500), Transform.SIGNED_LOG1P),
        (RANDOM.choice([-1, 1], 500) * 10 ** RANDOM.uniform(0, 3, 500), Transform.SIGNED_LOG1P),
    ],
)
def test_numbers_that_span_decades_are_learnt_by_their_logarithm(numbers: np.ndarray, transform: Transform) -> None:
    assert plan_target(numbers.astype(np.float32), {}).transform is transform
    assert plan_target(numbers.astype(np.float32), {"target-transform": "none"}).transform is Transform.NONE


def test_what_is_learnt_of_numbers_has_mean_0_and_deviation_1() -> None:
    numbers = (10 ** RANDOM.uniform(0, 3, 500)).astype(np.float32)
    learnt = plan_target(numbers, {}).learnt(numbers)
    assert (abs(learnt.mean()), learnt.std()) == pytest.approx((0, 1), abs=1e-5)


@pytest.mark.parametrize(
    ("numbers", "words"), [([5.0] * 9, "has the number 5"), ([1.0, np.nan, 2.0], "1 of 3 training rows have no number")]
)
def test_numbers_with_nothing_to_learn_are_refused(numbers: list[float], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        plan_target(np.array(numbers, np.float32), {})


def test_only_numbers_have_a_target_transform(tmp_path: Path) -> None:
    classes = snapshot(tmp_path, RANDOM.normal(size=(100, 2)))
    with pytest.raises(ConfigError, match="no option 'target-transform'"):
        planned(dense, classes, {"target-transform": "none"})
    numbers = number_snapshot(RANDOM.normal(size=(100, 2)), RANDOM.normal(size=100))
    assert planned(dense, classes, {}).target is None
    assert planned(dense, numbers, {"target-transform": "none"}).target is not None
    with pytest.raises(ConfigError, match="target-transform is 'sqrt'"):
        planned(dense, numbers, {"target-transform": "sqrt"})


# -- channels


def table(columns: int) -> list[str]:
    rows = RANDOM.normal(size=(90, columns)).astype(np.float32)
    names = tuple(f"c{index}" for index in range(columns))
    return [channel.name for channel in table_channels(Task.CLASSIFICATION, names, rows, np.arange(90) % 3)]


@pytest.mark.parametrize(("columns", "projections"), [(3, 10), (13, 0), (40, 0), (61, 0), (62, 14), (128, 14)])
def test_channels_stay_within_their_number(columns: int, projections: int) -> None:
    names = table(columns)
    assert len(names) <= 64
    assert len(set(names)) == len(names)
    assert sum(name.startswith("projection-") for name in names) == projections
    assert {"answer", "confidence"} <= set(names)


def test_of_many_columns_those_that_tell_classes_apart_are_watched() -> None:
    classes = np.arange(300) % 3
    rows = RANDOM.normal(size=(300, 100)).astype(np.float32)
    telling = RANDOM.permutation(100)[:10]
    rows[:, telling] += classes[:, None]
    watched = {
        channel.index
        for channel in table_channels(Task.CLASSIFICATION, tuple(f"c{index}" for index in range(100)), rows, classes)
        if channel.kind is ChannelKind.COLUMN
    }
    assert len(watched) == 48
    assert set(telling.tolist()) <= watched


def test_the_f_of_one_column_is_the_one_of_the_textbook() -> None:
    """Three groups whose F is 9.3 (Wikipedia, One-way analysis of variance, worked example)."""
    rows = np.array([6, 8, 4, 5, 3, 4, 8, 12, 9, 11, 6, 8, 13, 9, 11, 8, 7, 12], dtype=np.float32)[:, None]
    assert anova_f(rows, np.repeat([0, 1, 2], 6))[0] == pytest.approx(9.3, abs=0.05)


def test_a_column_called_as_an_output_gets_a_name_of_its_own() -> None:
    rows = RANDOM.normal(size=(30, 2)).astype(np.float32)
    channels = table_channels(Task.CLASSIFICATION, ("answer", "projection-0"), rows, np.arange(30) % 2)
    names = [channel.name for channel in channels]
    assert names[:3] == ["column answer", "column projection-0", "answer"]


def test_of_many_columns_those_that_go_with_a_number_are_watched_and_no_certainty() -> None:
    numbers = RANDOM.normal(size=300).astype(np.float32)
    rows = RANDOM.normal(size=(300, 100)).astype(np.float32)
    telling = RANDOM.permutation(100)[:10]
    rows[:, telling] -= numbers[:, None]
    channels = table_channels(Task.REGRESSION, tuple(f"c{index}" for index in range(100)), rows, numbers)
    watched = {channel.index for channel in channels if channel.kind is ChannelKind.COLUMN}
    assert set(telling.tolist()) <= watched
    kinds = [channel.kind for channel in channels]
    assert (len(watched), kinds.count(ChannelKind.ANSWER), kinds.count(ChannelKind.PROJECTION)) == (48, 1, 14)
    assert not {ChannelKind.CONFIDENCE, ChannelKind.MARGIN} & set(kinds)


def test_a_constant_column_goes_with_nothing() -> None:
    numbers = np.arange(10, dtype=np.float32)
    rows = np.column_stack([np.full(10, 3.0), -2 * numbers, RANDOM.normal(size=10)]).astype(np.float32)
    found = correlation(rows, numbers)
    assert found[:2].tolist() == pytest.approx([0, 1])
    assert found[2] == pytest.approx(abs(np.corrcoef(rows[:, 2], numbers)[0, 1]))


def test_an_image_has_sixteen_channels() -> None:
    assert len(image_channels(Task.REGRESSION)) == 16
    assert len(image_channels(Task.CLASSIFICATION)) == 16
