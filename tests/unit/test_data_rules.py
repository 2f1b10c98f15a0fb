"""Rules: a strict TOML file, folded with what is given beside it."""

import pytest

from edgeops.artifact.manifest import Task
from edgeops.data.rules import BadRows, ColumnRule, Kind, Missing, Rules, SplitBy, read_rules, write_rules
from edgeops.data.units import Linear, conversion
from edgeops.errors import DatasetError

FULL = Rules(
    task=Task.REGRESSION,
    label="ppm",
    units="ppm",
    group="device",
    time="at",
    exclude=("note",),
    where=("batch=1,2",),
    bad_rows=BadRows.QUARANTINE,
    split=SplitBy.GROUP,
    held_out=('pump "3"',),
    seed=4,
    columns={
        "temp.in": ColumnRule(unit="degC", from_unit="degF", minimum=-40.0, maximum=85.0, missing=Missing.REFUSE),
        "at": ColumnRule(type=Kind.MOMENT, unit="ms"),
        "mode": ColumnRule(type=Kind.CATEGORY, allowed=("auto", "manual")),
    },
)


def test_rules_survive_being_written_and_read() -> None:
    assert read_rules(write_rules(FULL)) == FULL


def test_what_is_given_beside_the_file_comes_first() -> None:
    rules = read_rules('label = "a"\nseed = 3\n', label="b", seed=None)
    assert (rules.label, rules.seed) == ("b", 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label = ", "not TOML"),
        ('label = "y"\nlable = "x"', "unknown field `lable`"),
        ('task = "regression"', "regression needs a label"),
        ('label = "y"\nsplit = "group"', "needs a group column"),
        ('label = "y"\nsplit = "time"', "needs a time column"),
        ('label = "y"\nheld_out = ["a"]', "held out by name in a split by group"),
        ('label = "y"\ngroup = "y"', "columns of their own"),
        ('label = "y"\ngroup = "who"\nslices = ["site", "who"]', "columns of their own"),
        ('label = "y"\n[columns.t]\nminimum = 2\nmaximum = 1', "above the maximum"),
        ('label = "y"\n[columns.t]\nmaximum = inf', "must be finite"),
        ('label = "y"\n[columns.t]\nallowed = ["a"]', "column 't': allowed values are for a category"),
        ('label = "y"\n[columns.t]\n[columns.u]\nmaximun = 2', "column 'u': Object contains unknown field `maximun`"),
        ('label = "y"\n[columns.t]\ntype = "moment"\nunit = "h"', "counted in"),
        ('label = "y"\nclock = ["hour"]', "needs a time column"),
        ('label = "y"\nzone = "Europe/Brussels"', "needs a time column"),
        ('label = "y"\ntime = "t"\nclock = ["hour", "hour"]', "names a part twice"),
        ('label = "y"\ntime = "t"\nzone = "Mars/Olympus"', "time zone 'Mars/Olympus'"),
    ],
)
def test_rules_that_contradict_themselves_are_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        read_rules(text)


@pytest.mark.parametrize(
    ("source", "target", "read", "meant"),
    [
        ("degF", "degC", 212.0, 100.0),
        ("K", "degC", 0.0, -273.15),
        ("bar", "kPa", 1.0, 100.0),
        ("g", "m/s2", 1.0, 9.80665),
    ],
)
def test_readings_are_converted_between_units_of_one_quantity(
    source: str, target: str, read: float, meant: float
) -> None:
    there, back = conversion(source, target), conversion(target, source)
    assert there.multiply * read + there.add == pytest.approx(meant)
    assert back.multiply * meant + back.add == pytest.approx(read, abs=1e-9)


def test_units_of_different_quantities_are_refused_with_what_there_is() -> None:
    with pytest.raises(DatasetError, match="no conversion from 'degC' to 'Pa'; known are: K, degC, degF"):
        conversion("degC", "Pa")


def test_a_unit_that_nobody_knows_is_converted_by_numbers() -> None:
    assert ColumnRule(unit="bpm", multiply=60.0).conversion == Linear(60.0, 0.0)
