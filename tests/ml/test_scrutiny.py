"""A file is looked at group by group and column by column, and folds are trained where somebody asks for them."""

from pathlib import Path

import numpy as np
import pytest

from edgeops.artifact.manifest import Variant
from edgeops.artifact.package import open_artifact
from edgeops.data.rules import Rules, SplitBy
from edgeops.errors import DatasetError
from tests.ml.numbers import Built, write_levels
from tests.ml.signals import write_waves

pytestmark = pytest.mark.slow

ASKED = {"window": "32", "stride": "16"}


def test_columns_that_tell_nothing_can_be_lost_and_folds_agree_with_the_evaluation_set(tmp_path: Path) -> None:
    snapshot = write_levels()
    built = Built(tmp_path, snapshot, folds=3)
    metrics = built.descriptors[Variant.INT8].manifest.metrics
    lost = {one.column: one for one in built.scrutiny[Variant.INT8].columns}
    assert sorted(lost) == ["X0", "X1", "X2", "X3"]
    assert min(lost["X0"].loss, lost["X1"].loss) > 3 * metrics["mae"]
    assert max(lost["X2"].loss, lost["X3"].loss) < 0.5 * metrics["mae"]
    permuted = {one.column: one for one in built.scrutiny[Variant.INT8].permuted}
    assert min(permuted["X0"].loss, permuted["X1"].loss) > 3 * metrics["mae"]
    assert max(permuted["X2"].loss, permuted["X3"].loss) < 0.5 * metrics["mae"]
    assert {one.column for one in built.shares[:2]} == {"X0", "X1"}
    assert sum(one.share for one in built.shares[:2]) > 0.8
    assert metrics["lost-column"] == max(one.loss for one in lost.values())
    assert metrics["mae-low"] < metrics["mae"] < metrics["mae-high"]
    assert built.folds is not None
    assert (built.folds.by, sum(built.folds.rows)) == (SplitBy.ROW, snapshot.schema.split_rows[0])
    assert built.folds.mean == pytest.approx(metrics["mae"], rel=0.5)
    card = open_artifact(built.files[Variant.INT8]).card
    assert "What answers cost more where one column is lost, the most fragile of 4 first" in card
    assert "The rows that judge are not of several groups" in card
    alone = Built(tmp_path / "alone", snapshot)
    assert alone.folds is None
    assert alone.files[Variant.INT8].read_bytes() == built.files[Variant.INT8].read_bytes(), "folds change no file"


def test_folds_of_too_few_machines_are_refused(tmp_path: Path) -> None:
    waves = write_waves(rows=80)
    by_group = waves.with_schema(rules=Rules(label="level", group="pump", split=SplitBy.GROUP))
    with pytest.raises(DatasetError, match="the rows to learn from have 3 groups"):
        Built(tmp_path, by_group, options=ASKED, epochs=1, folds=5)


def test_a_classifier_says_how_sure_it_may_be(tmp_path: Path) -> None:
    built = Built(tmp_path, write_waves(rows=80), options=ASKED, epochs=3)
    metrics = built.descriptors[Variant.INT8].manifest.metrics
    assert 0 <= metrics["accuracy-low"] <= metrics["accuracy"] <= metrics["accuracy-high"] <= 1
    assert {rule.name for rule in built.descriptors[Variant.INT8].promotion.rules} >= {"is-calibrated"}
    assert np.isfinite(list(metrics.values())).all()
