"""What is told of two snapshots."""

import msgspec
import pytest

from edgeops.artifact.manifest import Task
from edgeops.data.difference import Moved, difference
from edgeops.data.rules import ColumnRule, Rules
from edgeops.data.schema import FORMAT, ColumnStatistics, Schema
from edgeops.digest import digest_bytes


def statistics(mean: float = 0.0, std: float = 2.0, missing: int = 0) -> ColumnStatistics:
    return ColumnStatistics(minimum=-9.0, maximum=9.0, mean=mean, std=std, missing=missing)


OLD = Schema(
    format=FORMAT,
    task=Task.CLASSIFICATION,
    label="y",
    units="",
    columns=("a", "b"),
    shape=(2,),
    classes=("off", "on"),
    rows=100,
    split_rows=(72, 8, 20),
    class_rows=(60, 40),
    statistics=(statistics(), statistics()),
    source=digest_bytes(b""),
    where=(),
    hold_out=0.2,
    seed=0,
    rules=Rules(label="y", columns={"a": ColumnRule(minimum=0.0)}),
)


def changed(**changes: object) -> Schema:
    return msgspec.structs.replace(OLD, **changes)


def test_the_same_snapshot_differs_in_nothing() -> None:
    found = difference(OLD, OLD)
    assert found.rows == (100, 100)
    assert not any((found.columns_added, found.columns_removed, found.classes, found.moved, found.rules))


def test_columns_classes_and_rules_are_named_with_old_and_new() -> None:
    new = changed(
        columns=("b", "c"),
        classes=("on", "stuck"),
        class_rows=(40, 9),
        rules=Rules(label="y", seed=3, columns={"a": ColumnRule(minimum=1.0)}),
    )
    found = difference(OLD, new)
    assert (found.columns_added, found.columns_removed) == (("c",), ("a",))
    assert found.classes == {"off": (60, 0), "stuck": (0, 9)}
    assert found.rules == {"seed": (None, 3), "columns.a": ({"minimum": 0.0}, {"minimum": 1.0})}


def test_what_moved_is_told_in_standard_deviations_of_the_old_rows_most_first() -> None:
    new = changed(statistics=(statistics(0.5), statistics(-3.0, 4.0)))
    assert difference(OLD, new).moved == (
        Moved(column="b", shift_std=-1.5, spread=2.0, missing=(0.0, 0.0)),
        Moved(column="a", shift_std=0.25, spread=1.0, missing=(0.0, 0.0)),
    )


@pytest.mark.parametrize("small", [statistics(0.1), statistics(std=2.1)])
def test_a_small_move_is_not_told(small: ColumnStatistics) -> None:
    assert difference(OLD, changed(statistics=(small, statistics()))).moved == ()


def test_a_column_that_had_one_value_and_new_gaps_are_told() -> None:
    old = changed(statistics=(statistics(1.0, 0.0), statistics()))
    new = changed(statistics=(statistics(1.0, 0.5), statistics(missing=36)))
    first, second = difference(old, new).moved
    assert (first.column, first.shift_std) == ("a", None)
    assert (second.column, second.missing) == ("b", (0.0, 0.5))
