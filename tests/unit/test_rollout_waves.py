"""How a rollout is cut into waves."""

import pytest

from edgeops.errors import InputError
from edgeops.rollout.waves import DEFAULT_WAVES, parse_waves, wave_sizes


def sizes(devices: int, *texts: str) -> tuple[int, ...]:
    return wave_sizes(parse_waves(texts), devices)


def test_the_default_is_one_canary_and_then_everybody():
    assert sizes(10, *DEFAULT_WAVES) == (1, 9)


def test_sizes_are_cumulative():
    assert sizes(10, "1", "50%", "100%") == (1, 4, 5)
    assert sizes(10, "1", "3", "10") == (1, 2, 7)


def test_a_share_is_rounded_up():
    assert sizes(3, "1%", "50%", "100%") == (1, 1, 1)


def test_waves_that_would_add_nobody_are_left_out():
    assert sizes(1, "1", "100%") == (1,)
    assert sizes(2, "1", "10%", "50%", "100%") == (1, 1)


def test_a_count_beyond_the_fleet_reaches_everybody():
    assert sizes(2, "1", "5") == (1, 1)


def test_waves_that_leave_devices_out_are_refused():
    with pytest.raises(InputError, match="end at 5 of 10 devices; add a last wave of 100%"):
        sizes(10, "1", "50%")


def test_waves_that_shrink_are_refused():
    with pytest.raises(InputError, match=r"wave 2 \(10%\) reaches 1 of 10 devices, the wave before already 5"):
        sizes(10, "5", "10%", "100%")


@pytest.mark.parametrize("text", ["", "0", "0%", "-1", "1.5", "half", "1e3", "%", "101%", "99999999"])
def test_what_is_no_wave_is_refused_by_name(text):
    with pytest.raises(InputError) as caught:
        parse_waves(["1", text])
    assert text in str(caught.value)


def test_a_rollout_without_waves_is_refused():
    with pytest.raises(InputError, match="1, 100%"):
        parse_waves([])
