"""How much classes count, as an option says it."""

import numpy as np
import pytest

from edgeops.errors import ConfigError
from fleet_server.ml.recipes.class_weights import plan_class_weights

CLASSES = ("idle", "on", "worn=out")
TARGETS = np.repeat([0, 1, 2], [60, 30, 10])


def weights(wanted: str) -> tuple[float, ...] | None:
    return plan_class_weights(CLASSES, TARGETS, {"class-weights": wanted})


def test_unless_asked_all_classes_count_the_same() -> None:
    assert plan_class_weights(CLASSES, TARGETS, {}) is weights("none") is None


def test_balanced_classes_count_the_same_together_and_a_row_counts_one_on_average() -> None:
    balanced = weights("balanced")
    assert balanced is not None
    assert np.multiply(balanced, [60, 30, 10]) == pytest.approx([100 / 3] * 3)


def test_a_class_that_is_not_named_counts_one() -> None:
    assert weights("on=2.5") == (1.0, 2.5, 1.0)
    assert weights("worn=out=9,idle=0.5") == (0.5, 1.0, 9.0)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("sometimes", "it takes none, balanced, or CLASS=WEIGHT with one of idle, on, worn=out"),
        ("off=2", "has 'off=2'"),
        ("on=", "on is to count ''"),
        ("on=0", "on is to count '0'; give a number above 0"),
        ("on=nan", "on is to count 'nan'"),
        ("on=2,,idle=1", "has ''"),
    ],
)
def test_what_names_no_class_or_no_weight_is_refused(wanted: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        weights(wanted)
