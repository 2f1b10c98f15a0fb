"""Which variant of a version is taken."""

import msgspec
import pytest

from edgeops.artifact.manifest import Promotion, Task, Variant, decode_descriptor
from edgeops.learning.variants import VariantBudgets, choose
from tests.unit.engine_rig import DESCRIPTOR as BYTES

DESCRIPTOR = decode_descriptor(BYTES)
replace = msgspec.structs.replace


def described(variant, size, accuracy, *, p95=1.0, passed=True, metrics=None, task=Task.CLASSIFICATION):
    manifest = replace(
        DESCRIPTOR.manifest, variant=Variant(variant), task=task, metrics=metrics or {"accuracy": accuracy}
    )
    promotion = Promotion(passed=passed)
    return replace(DESCRIPTOR, manifest=manifest, size_bytes=size, latency_p95_ms=p95, promotion=promotion)


FOUR = (
    described("float32", 400, 0.95),
    described("float16", 250, 0.95),
    described("dynamic", 150, 0.93, p95=2.0),
    described("int8", 120, 0.944),
)


@pytest.mark.parametrize(
    ("budgets", "chosen"),
    [
        (VariantBudgets(), "int8"),
        (VariantBudgets(loss_points=0.5), "float16"),
        (VariantBudgets(loss_points=0.0, size_bytes=240), None),
        (VariantBudgets(loss_points=5, size_bytes=130), "int8"),
        (VariantBudgets(p95_latency_ms=0.5), None),
    ],
)
def test_the_smallest_that_keeps_the_budgets_is_taken(budgets, chosen):
    choice = choose(FOUR, budgets)
    assert choice.chosen == (None if chosen is None else Variant(chosen))
    assert [one.variant for one in choice.costs] == ["int8", "dynamic", "float16", "float32"]


def test_what_each_class_loses_against_float32_is_told():
    told = [
        described(variant, size, 0.9, metrics={"accuracy": 0.9, "recall.red": red, "recall.blue": 0.8})
        for variant, size, red in (("float32", 400, 0.95), ("int8", 120, 0.9))
    ]
    costs = {one.variant: one.class_losses for one in choose(told, VariantBudgets()).costs}
    assert costs == {Variant.INT8: {"red": 5.0, "blue": 0.0}, Variant.FLOAT32: {"red": 0.0, "blue": 0.0}}


def test_a_variant_that_its_gate_refused_is_not_taken():
    refused = described("int8", 120, 0.944, passed=False)
    choice = choose((*FOUR[:3], refused), VariantBudgets(loss_points=5))
    assert choice.chosen is Variant.DYNAMIC
    assert choice.costs[0].hindrances == ("its promotion gate did not let it pass",)


def test_every_hindrance_is_told_with_its_figures():
    choice = choose(FOUR, VariantBudgets(loss_points=1, size_bytes=100, p95_latency_ms=1.5))
    dynamic = next(one for one in choice.costs if one.variant is Variant.DYNAMIC)
    assert dynamic.hindrances == (
        "loses 2.00 points, 1 may be lost",
        "150 bytes, 100 may be",
        "p95 2 ms, 1.5 may be",
    )


def test_what_a_sibling_beats_in_size_and_loss_is_not_on_the_front():
    choice = choose(FOUR, VariantBudgets())
    assert [one.variant for one in choice.costs if one.is_efficient] == ["int8", "float16"]


@pytest.mark.parametrize(
    ("task", "old", "new", "points"),
    [
        (Task.REGRESSION, {"mae": 2.0, "baseline-mae": 50.0}, {"mae": 2.5, "baseline-mae": 50.0}, 1.0),
        (Task.ANOMALY, {"f1": 0.8, "alarm-rate": 0.1}, {"f1": 0.79, "alarm-rate": 0.1}, 1.0),
        (Task.ANOMALY, {"alarm-rate": 0.1}, {"alarm-rate": 0.08}, 2.0),
    ],
)
def test_a_loss_is_counted_in_points_of_the_task(task, old, new, points):
    both = (
        described("float32", 400, 0, metrics=old, task=task),
        described("int8", 100, 0, metrics=new, task=task),
    )
    assert choose(both, VariantBudgets()).costs[0].loss_points == points


def test_a_version_without_float32_is_held_against_its_largest_file():
    choice = choose(FOUR[2:], VariantBudgets())
    assert [(one.variant, one.loss_points) for one in choice.costs] == [("int8", -1.4), ("dynamic", 0.0)]


def test_the_descriptor_of_these_tests_is_one():
    assert decode_descriptor(msgspec.json.encode(FOUR[0])) == FOUR[0]
