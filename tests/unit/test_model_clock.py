"""What a clock gives beside what was measured: for whole tables and row by row alike."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from edgeops.artifact.manifest import ClockPart, InputWindow, TimeColumn, decode_manifest, encode_value
from edgeops.errors import ArtifactError, ConfigError
from edgeops.model.clock import ClockColumns
from tests.golden.tiny import tiny_manifest

BOTH = (ClockPart.HOUR, ClockPart.WEEKDAY)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ns(*moment):
    return (datetime(*moment, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) * 1000


def hour(row):
    return float(np.arctan2(row[0], row[1]) / (2 * np.pi) * 24 % 24)


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Brussels", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"]
)
def test_a_table_has_what_its_rows_have_one_by_one_bit_for_bit(zone):
    random = np.random.default_rng(3)
    moments = random.integers(ns(1990, 1, 1), ns(2040, 1, 1), 2_000)
    clock, other = ClockColumns(BOTH, zone=zone), ClockColumns(BOTH, zone=zone)
    table = clock.rows(moments)
    assert table.dtype == np.float32
    assert table.tobytes() == np.stack([other.row(int(moment)) for moment in moments]).tobytes()


def test_an_hour_is_a_place_on_a_circle_and_so_is_a_weekday():
    row = ClockColumns(BOTH, zone="UTC").row(ns(2026, 3, 2, 6, 0))
    assert row == pytest.approx([1, 0, 0, 1], abs=1e-6), "six o'clock on a Monday"
    before, after = (ClockColumns(BOTH[:1], zone="UTC").row(ns(2026, 3, 1, *time)) for time in ((23, 59), (0, 1)))
    assert np.linalg.norm(before - after) < 0.01


def test_the_clock_of_a_zone_jumps_where_its_people_put_it_forward_and_back():
    clock = ClockColumns((ClockPart.HOUR,), zone="Europe/Brussels")
    for day, hours in ((29, (1.5, 3.5)), (28, (1.5, 2.5))):
        assert [hour(clock.row(ns(2026, 3, day, at, 30))) for at in (0, 1)] == pytest.approx(hours, abs=1e-4)
    autumn = [hour(clock.row(ns(2026, 10, 25, at, 30))) for at in (0, 1)]
    assert autumn == pytest.approx([2.5, 2.5], abs=1e-4)


def test_the_day_of_the_week_is_that_of_the_zone():
    tokyo, utc = (ClockColumns((ClockPart.WEEKDAY,), zone=zone) for zone in ("Asia/Tokyo", "UTC"))
    assert tokyo.row(ns(2026, 3, 1, 20)).tolist() == utc.row(ns(2026, 3, 2)).tolist()


def test_of_a_moment_that_nobody_knows_everything_is_missing():
    clock = ClockColumns(BOTH, zone="UTC")
    assert np.isnan(clock.row(None)).all()
    assert np.isnan(clock.beside(np.ones(3, np.float32), None)).tolist() == [False] * 3 + [True] * 4


def test_a_zone_that_does_not_exist_is_named():
    with pytest.raises(ConfigError, match="'Mars/Olympus'"):
        ClockColumns(BOTH, zone="Mars/Olympus")


@pytest.mark.parametrize(
    ("columns", "time", "words"),
    [
        (("x1", "x2", "hour-sin", "hour-cos"), None, "no time column"),
        (("hour-sin", "hour-cos", "x1", "x2"), TimeColumn(name="at"), "its clock gives"),
    ],
)
def test_a_manifest_whose_clock_has_no_time_or_other_columns_is_refused(columns, time, words):
    window = InputWindow(columns=columns, time=time, clock=(ClockPart.HOUR,))
    with pytest.raises(ArtifactError, match=words):
        decode_manifest(encode_value(tiny_manifest(window=window)))
