"""What a manifest says of itself."""

import pytest

from edgeops.artifact.manifest import ClockPart, InputWindow, Resampling, TimeColumn


def window(**other):
    return InputWindow(**{"columns": ("x", "y"), "rows": 20} | other)


def by_the_hour(zone):
    return window(columns=("x", "hour-sin", "hour-cos"), time=TimeColumn(name="at", zone=zone), clock=(ClockPart.HOUR,))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (window(stride=1), window(stride=20)),
        (window(), window(time=TimeColumn(name="at", zone="Europe/Berlin"))),
        (by_the_hour("Europe/Berlin"), by_the_hour("Europe/Berlin")),
        (window(), window(rate_hz=8.0, max_gap_s=0.5)),
    ],
)
def test_windows_read_alike_whose_numbers_mean_the_same(one, other):
    assert one.reads_like(other)
    assert other.reads_like(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (window(), window(rows=21)),
        (window(), window(columns=("y", "x"))),
        (by_the_hour("UTC"), by_the_hour("Europe/Berlin")),
        (window(columns=("x", "hour-sin", "hour-cos")), by_the_hour("UTC")),
        (window(rate_hz=8.0), window(rate_hz=16.0)),
        (window(rate_hz=8.0), window(rate_hz=8.0, resampling=Resampling.HOLD)),
    ],
)
def test_windows_of_another_length_order_rate_or_zone_do_not(one, other):
    assert not one.reads_like(other)
    assert not other.reads_like(one)
