"""What is decided around a training, without training: plans and channels."""

from pathlib import Path

import numpy as np
import pytest

from edgeops.artifact.manifest import ChannelKind, MissingPolicy, Transform
from edgeops.data.splits import Split
from edgeops.errors import ConfigError
from fleet_server.datasets.snapshot import SnapshotFile
from fleet_server.ml.recipes import cnn, dense
from fleet_server.ml.watching import anova_f, image_channels, table_channels
from tests.imported import import_file

RANDOM = np.random.default_rng(2)


def snapshot(folder: Path, values: np.ndarray) -> SnapshotFile:
    path = folder / "data.npz"
    np.savez(path, X=values.astype(np.float32), y=np.arange(len(values)) % 2)
    return import_file(path, file_name="data.npz", label="y")


# -- plans


def test_a_table_is_standardized_by_its_training_rows(tmp_path: Path) -> None:
    data = snapshot(tmp_path, RANDOM.normal(5, 3, size=(200, 2)))
    rows = data.only(Split.TRAIN).values
    plan = dense.plan(data.schema, rows, {})
    ready = rows * np.array(plan.preprocess.multiply) + np.array(plan.preprocess.add)
    assert plan.preprocess.transform is Transform.NONE
    assert np.abs(ready.mean(axis=0)).max() < 1e-5
    assert np.abs(ready.std(axis=0) - 1).max() < 1e-5
    assert plan.missing is MissingPolicy.REFUSE


def test_a_constant_column_becomes_zero(tmp_path: Path) -> None:
    values = RANDOM.normal(size=(100, 2))
    values[:, 1] = 7
    data = snapshot(tmp_path, values)
    plan = dense.plan(data.schema, data.only(Split.TRAIN).values, {})
    assert (plan.preprocess.multiply[1], abs(plan.preprocess.add[1])) == (0.0, 0.0)


def test_the_transform_can_be_chosen(tmp_path: Path) -> None:
    data = snapshot(tmp_path, np.exp(RANDOM.normal(0, 3, size=(400, 2))))
    rows = data.only(Split.TRAIN).values
    assert dense.plan(data.schema, rows, {}).preprocess.transform is Transform.SIGNED_LOG1P
    assert dense.plan(data.schema, rows, {"transform": "none"}).preprocess.transform is Transform.NONE


@pytest.mark.parametrize("options", [{"depth": 2}, {"transform": "sqrt"}, {"batch": "many"}, {"learning-rate": -1.0}])
def test_an_option_that_is_unknown_or_out_of_bounds_is_refused(tmp_path: Path, options: dict[str, float | str]) -> None:
    data = snapshot(tmp_path, RANDOM.normal(size=(100, 2)))
    with pytest.raises(ConfigError, match=next(iter(options))):
        dense.plan(data.schema, data.only(Split.TRAIN).values, options)


@pytest.mark.parametrize(("highest", "scale"), [(1.0, 1.0), (16.0, 16.0), (200.0, 255.0), (1e5, 1e5)])
def test_pixels_become_fractions_of_their_full_scale(tmp_path: Path, highest: float, scale: float) -> None:
    values = RANDOM.uniform(0, highest, size=(60, 8, 8))
    values[:, 0, 0] = highest
    data = snapshot(tmp_path, values)
    plan = cnn.plan(data.schema, data.only(Split.TRAIN).values, {})
    assert plan.preprocess.multiply == pytest.approx((1 / scale,))
    assert plan.input_shape == (8, 8, 1)


def test_a_flat_row_of_a_square_number_of_values_is_an_image(tmp_path: Path) -> None:
    data = snapshot(tmp_path, RANDOM.uniform(size=(60, 64)))
    assert cnn.plan(data.schema, data.only(Split.TRAIN).values, {}).input_shape == (8, 8, 1)


@pytest.mark.parametrize("shape", [(60, 65), (60, 3, 8)])
def test_rows_that_are_no_images_are_refused_with_what_to_do(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = snapshot(tmp_path, RANDOM.uniform(size=shape))
    with pytest.raises(ConfigError, match="use recipe dense"):
        cnn.plan(data.schema, data.only(Split.TRAIN).values, {})


def test_a_plan_is_named_by_every_decision(tmp_path: Path) -> None:
    data = snapshot(tmp_path, RANDOM.normal(size=(100, 2)))
    rows = data.only(Split.TRAIN).values
    digests = {dense.plan(data.schema, rows, options).digest() for options in ({}, {"batch": 32.0}, {"batch": 64.0})}
    assert len(digests) == 2, "64 is the default"


# -- channels


def table(columns: int) -> list[str]:
    rows = RANDOM.normal(size=(90, columns)).astype(np.float32)
    names = tuple(f"c{index}" for index in range(columns))
    return [channel.name for channel in table_channels(names, rows, np.arange(90) % 3)]


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
        for channel in table_channels(tuple(f"c{index}" for index in range(100)), rows, classes)
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
    names = [channel.name for channel in table_channels(("answer", "projection-0"), rows, np.arange(30) % 2)]
    assert names[:3] == ["column answer", "column projection-0", "answer"]


def test_an_image_has_sixteen_channels() -> None:
    assert len(image_channels()) == 16
