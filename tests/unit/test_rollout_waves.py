"""How a rollout is cut into waves, and who is held back as control."""

from dataclasses import replace

import pytest

from edgeops.errors import InputError
from edgeops.rollout.selector import parse_selector
from edgeops.rollout.waves import DEFAULT_WAVES, ChosenWave, WaveSpec, line_up, parse_waves, split_waves
from tests.unit.target_values import device


def fleet(count, *, offline=()):
    return [device(f"dev-{number:03}", online=number not in offline, hall=str(number % 2)) for number in range(count)]


def lined_up(devices, *texts, control=0.0, seed="s", groups=None):
    devices = fleet(devices) if isinstance(devices, int) else devices
    return line_up(texts, devices, control_share=control, seed=seed, groups=groups or {})


def sizes(devices, *texts, control=0.0):
    waves, objections = lined_up(devices, *texts, control=control)
    assert not objections
    return tuple(len(wave.devices) for wave in waves)


def objected(devices, *texts, **options):
    _, objections = lined_up(devices, *texts, **options)
    assert objections
    return [(one.pointer, one.detail) for one in objections]


# -- numbers and shares


def test_the_default_is_one_canary_and_then_everybody():
    assert sizes(9, *DEFAULT_WAVES) == (1, 8)


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


def test_devices_are_asked_in_the_order_in_which_they_come():
    devices = fleet(4)
    waves, _ = lined_up(devices, "1", "3", "100%")
    assert [wave.devices for wave in waves] == [(devices[0],), tuple(devices[1:3]), (devices[3],)]
    assert not any(wave.control or wave.selector for wave in waves)


def test_waves_that_leave_devices_out_are_refused():
    assert objected(10, "1", "50%") == [("#/waves", "the waves end at 5 of 10 devices; add a last wave of 100%")]


def test_every_wave_that_shrinks_is_named():
    told = objected(10, "5", "10%", "100%", "3")
    assert [pointer for pointer, _ in told] == ["#/waves/1", "#/waves/3"]
    assert told[0][1] == (
        "wave 2 (10%) reaches 1 of 10 devices, 5 before it already 5; sizes are cumulative and must grow"
    )
    assert sizes(10, "5", "50%", "100%") == (5, 5)


@pytest.mark.parametrize("text", ["", "0", "0%", "-1", "1.5", "half", "1e3", "%", "101%", "99999999", "sit=x"])
def test_what_is_no_wave_is_refused_by_name(text):
    with pytest.raises(InputError) as caught:
        parse_waves(["1", text])
    assert text in str(caught.value)


def test_every_wave_that_is_none_is_named():
    told = objected(3, "half", "1", "group=x", "101%")
    assert [pointer for pointer, _ in told] == ["#/waves/0", "#/waves/2", "#/waves/3"]
    assert "no group 'x'" in told[1][1]


def test_100_percent_is_the_most():
    assert parse_waves(["100%"]) == (WaveSpec(100, percent=True),)
    assert parse_waves(["101"]) == (WaveSpec(101, percent=False),)


def test_a_rollout_without_waves_is_refused():
    with pytest.raises(InputError, match="1, 100%"):
        parse_waves([])
    assert objected(3) == [("#/waves", "a rollout needs a wave; the default is 1, 100%")]


def test_without_devices_there_are_no_waves_and_nothing_is_wrong_with_them():
    assert lined_up([], "1", "100%", control=0.5) == ((), ())


# -- by selector


def test_a_wave_by_selector_asks_those_that_no_wave_before_asked():
    devices = fleet(6)
    waves, objections = lined_up(devices, "1", "label.hall=0", "100%")
    assert not objections
    assert [[one.name for one in wave.devices] for wave in waves] == [
        ["dev-000"],
        ["dev-002", "dev-004"],
        ["dev-001", "dev-003", "dev-005"],
    ]
    assert [wave.selector for wave in waves] == ["", "label.hall=0", ""]


def test_what_a_selector_asked_counts_for_the_share_after_it():
    assert sizes(10, "label.hall=0", "60%", "100%") == (5, 1, 4)
    assert sizes(10, "label.hall=0", "40%", "100%") == (5, 5)


def test_numbers_are_compared_with_numbers_alone():
    assert sizes(10, "2", "label.hall=0", "3", "100%") == (2, 4, 4)


def test_waves_by_selector_alone_may_reach_everybody():
    assert sizes(4, "label.hall=1", "label.hall=0") == (2, 2)
    assert objected(4, "label.hall=1")[0][1] == "the waves end at 2 of 4 devices; add a last wave of 100%"


def test_a_wave_whose_devices_were_all_asked_is_left_out_and_one_that_means_nobody_is_refused():
    assert sizes(4, "4", "label.hall=1") == (4,)
    told = objected(4, "1", "label.hall=7", "100%")
    assert told == [
        (
            "#/waves/1",
            "no device of the rollout is label.hall=7; the selector of a wave chooses among those of the rollout",
        )
    ]


def test_a_wave_may_name_a_group():
    groups = {"canaries": parse_selector("name=dev-003")}
    waves, objections = lined_up(4, "group=canaries", "100%", groups=groups)
    assert not objections
    assert [one.name for one in waves[0].devices] == ["dev-003"]
    assert waves[0].selector == "group=canaries"


# -- control


def test_a_share_is_held_back_as_the_last_wave():
    waves, _ = lined_up(100, "1", "50%", "100%", control=0.05)
    assert [(len(wave.devices), wave.control) for wave in waves] == [(1, False), (49, False), (45, False), (5, True)]
    asked = [one.id for wave in waves for one in wave.devices]
    assert sorted(asked) == sorted(one.id for one in fleet(100))


@pytest.mark.parametrize(
    ("devices", "share", "control"),
    [(9, 0.5, 0), (10, 0.05, 1), (10, 0.5, 5), (29, 0.05, 1), (30, 0.05, 2), (50, 0.05, 3), (100, 0, 0), (10, 0.001, 1)],
)  # fmt: skip
def test_how_many_are_control(devices, share, control):
    waves, _ = lined_up(devices, "1", "100%", control=share)
    assert sum(len(wave.devices) for wave in waves if wave.control) == control
    assert sum(len(wave.devices) for wave in waves) == devices


def test_control_is_never_a_canary_and_online_where_it_can_be():
    offline = set(range(2, 18))
    for seed in range(20):
        waves, _ = lined_up(fleet(20, offline=offline), "1", "100%", control=0.1, seed=str(seed))
        assert (waves[-1].control, waves[-1].selector) == (True, "")
        assert {one.name for one in waves[-1].devices} <= {"dev-001", "dev-018", "dev-019"}


def test_control_is_drawn_by_the_seed():
    drawn = {
        tuple(one.id for one in lined_up(50, "1", "100%", control=0.05, seed=str(seed))[0][-1].devices)
        for seed in range(20)
    }
    assert len(drawn) > 10
    assert (
        len({tuple(one.id for one in lined_up(50, *DEFAULT_WAVES, control=0.05)[0][-1].devices) for _ in range(3)}) == 1
    )


def test_where_everybody_is_a_canary_nobody_is_control():
    assert sizes(10, "100%", control=0.05) == (10,)


def test_a_wave_by_selector_that_would_be_control_alone_is_no_objection():
    devices = [replace(one, labels={"spare": "1"} if one.name == "dev-007" else {}) for one in fleet(10)]
    for seed in range(30):
        waves, objections = lined_up(devices, "1", "label.spare", "100%", control=0.1, seed=str(seed))
        assert not objections
        assert sum(len(wave.devices) for wave in waves) == 10


# -- in one line


@pytest.mark.parametrize(
    ("text", "waves"),
    [
        ("1,100%", ("1", "100%")),
        (" 1 , 50% ,100%", ("1", "50%", "100%")),
        ("group=canaries,50%,100%", ("group=canaries", "50%", "100%")),
        ("1,id=a,b,100%", ("1", "id=a,b", "100%")),
        ("group=a;group=b", ("group=a", "group=b")),
        ("label.x=1,arch=y;100%", ("label.x=1,arch=y", "100%")),
        ("", ("",)),
        ("1,,2", ("1", "", "2")),
    ],
)
def test_waves_are_split_out_of_one_line(text, waves):
    assert split_waves(text) == waves


def test_a_wave_reads_as_it_was_written():
    assert [str(one) for one in parse_waves(["1", "5%", " online "])] == ["1", "5%", "online"]
    assert isinstance(parse_waves(["online"])[0], ChosenWave)
