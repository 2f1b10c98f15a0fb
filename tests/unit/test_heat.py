"""How warm a processor is, and what is told where a machine does not say."""

import pytest

from device_agent.hardware import board_model
from device_agent.heat import Heat, held_back, read_heat, was_throttled


def zone(folder, number, kind, temperature):
    own = folder / f"thermal_zone{number}"
    own.mkdir()
    (own / "type").write_text(f"{kind}\n")
    (own / "temp").write_text(f"{temperature}\n")


def test_the_hottest_zone_of_the_processor_counts(tmp_path):
    for number, (kind, temperature) in enumerate([("cpu-thermal", 48_200), ("gpu", 90_000), ("cpu1-thermal", 51_000)]):
        zone(tmp_path, number, kind, temperature)
    assert read_heat(tmp_path, tmp_path).millicelsius == 51_000


def test_a_machine_without_sensors_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_heat(tmp_path, tmp_path) == Heat(millicelsius=None, held_back=None, times=None)


def test_a_zone_that_cannot_be_read_is_passed_over(tmp_path):
    zone(tmp_path, 0, "cpu-thermal", "")
    zone(tmp_path, 1, "cpu-thermal", 40_000)
    assert read_heat(tmp_path, tmp_path).millicelsius == 40_000


def test_throttlings_of_all_cores_are_counted(tmp_path):
    for core, count in enumerate((3, 4)):
        folder = tmp_path / f"cpu{core}" / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(f"{count}\n")
    assert read_heat(tmp_path, tmp_path).times == 7


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("throttled=0x0\n", False),
        ("throttled=0x50000\n", False),  # it was, since the machine started
        ("throttled=0x50005\n", True),
        ("throttled=0x8\n", True),
        ("throttled=\n", None),
        ("error=1 error_msg=\n", None),
        ("", None),
    ],
)
def test_what_the_firmware_of_a_raspberry_pi_answers(answer, expected):
    assert held_back(answer) is expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((None, None), (None, None), None),
        ((False, None), (False, None), False),
        ((False, None), (True, None), True),
        ((True, None), (False, None), True),
        ((None, 5), (None, 5), False),
        ((None, 5), (None, 6), True),
        ((None, 5), (None, None), None),
    ],
)
def test_a_processor_was_throttled_when_either_look_or_the_count_between_says_so(before, after, expected):
    looks = [Heat(millicelsius=None, held_back=now, times=times) for now, times in (before, after)]
    assert was_throttled(*looks) is expected


@pytest.mark.parametrize(
    ("text", "model"),
    [("Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 4 Model B"), ("Standard PC", "Standard PC"), ("", "")],
)
def test_revisions_of_a_board_are_one_model(text, model):
    assert board_model(text) == model
