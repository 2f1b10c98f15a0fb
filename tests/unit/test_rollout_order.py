"""What becomes of a rollout that somebody asks for, and everything that is wrong with it at once."""

from dataclasses import replace

import pytest

from edgeops.protocol.messages import Intent
from edgeops.rollout.order import Wanted, plan
from edgeops.rollout.policy import Policy
from edgeops.rollout.selector import parse_selector
from edgeops.rollout.targeting import Standing
from tests.unit.target_values import DIGEST, NOW, OFFER, device, other_facts, pin

FLEET = (
    device("drill", "gas", "vibration", hall="b"),
    device("fan", online=False, hall="b"),
    device("mixer", "vibration", hall="a"),
    device("pump", hall="a"),
)


def planned(fleet=FLEET, *, offer=OFFER, groups=None, **changes):
    values = {"deployment": "gas", "selector": "all", "waves": ("1", "100%"), "intent": "improve"}
    means = {name: parse_selector(text) for name, text in (groups or {}).items()}
    return plan(Wanted(**(values | changes)), offer, fleet, groups=means, now=NOW)


def objected(fleet=FLEET, **changes):
    return [(one.pointer, one.detail) for one in planned(fleet, **changes).objections]


def test_a_good_order_puts_every_device_that_it_may_ask_into_a_wave():
    found = planned()
    assert found.objections == ()
    assert [[one.name for one in wave.devices] for wave in found.waves] == [["drill"], ["pump", "fan"]]
    assert [(one.device.name, one.standing) for one in found.placements] == [
        ("drill", Standing.READY), ("pump", Standing.READY), ("fan", Standing.OFFLINE),
        ("mixer", Standing.NO_DEPLOYMENT),
    ]  # fmt: skip
    assert found.wave_of() == {"drill-0001": 0, "pump-0001": 1, "fan-0001": 1}
    assert (found.intent, found.policy) == (Intent.IMPROVE, Policy())


def test_every_standing_is_counted():
    totals = planned().totals()
    assert totals == dict.fromkeys(map(str, Standing), 0) | {"ready": 2, "offline": 1, "no-deployment": 1}


def test_everything_that_is_wrong_is_told_at_once():
    told = objected(
        deployment="G", selector="sit=a", waves=("half", "1"), intent="wish", policy={"retries": -1, "retrys": 1}
    )
    assert [pointer for pointer, _ in told] == [
        "#/policy/retries", "#/policy/retrys", "#/intent", "#/deployment", "#/to", "#/waves/0",
    ]  # fmt: skip
    words = dict(told)
    assert words["#/intent"] == "unknown intent 'wish'; use improve or heal"
    assert words["#/deployment"] == "not a deployment name: 'G'; use 3 to 63 of a-z, 0-9 and -"


def test_an_intent_is_read():
    assert planned(intent="heal").intent is Intent.HEAL


def test_a_policy_that_is_decided_already_is_taken():
    assert planned(policy=Policy(retries=7)).policy == Policy(retries=7)


def test_without_an_artifact_nobody_is_judged_and_nothing_else_is_objected_to():
    found = planned(offer=None)
    assert (found.placements, found.waves, found.objections) == ((), (), ())


# -- whom the selector means


def test_an_empty_fleet_is_told_how_to_enrol():
    assert objected(()) == [("#/to", "no device is enrolled; enrol one with: edgeops-agent enrol URL --token TOKEN")]


def test_nobody_that_matches_is_told_with_who_is_enrolled():
    fleet = [device(f"dev-{number}") for number in range(10)]
    ((pointer, words),) = objected(fleet, selector="label.hall=z")
    assert pointer == "#/to"
    assert words.startswith("no enrolled device matches; enrolled are dev-0-0001, ")
    assert words.endswith("dev-7-0001 and 2 more")
    assert objected(FLEET[:1], selector="label.hall=z")[0][1].endswith("enrolled are drill-0001")


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("id=pump-0001,press-0001", "no enrolled device with id press-0001; enrolled are drill-0001, fan-0001"),
        ("not name=press,saw", "no enrolled device with name press, saw; enrolled are"),
        ("online and (id=x or all)", "no enrolled device with id x; "),
    ],
)
def test_a_device_that_does_not_exist_is_named(selector, words):
    ((pointer, told),) = objected(selector=selector)
    assert pointer == "#/to"
    assert words in told


def test_wildcards_need_nobody():
    assert objected(selector="name=press*,pump") == []


def test_a_group_may_list_a_device_that_has_left():
    assert objected(selector="group=halls", groups={"halls": "id=pump-0001,gone-0001"}) == []


def test_a_group_that_does_not_exist_is_told():
    ((pointer, words),) = objected(selector="group=hals", groups={"halls": "all"})
    assert pointer == "#/to"
    assert "did you mean 'halls'?" in words


def test_a_deployment_that_nobody_reports_is_told_with_what_to_do():
    ((pointer, words),) = objected(deployment="thermal", offer=replace(OFFER, deployment="thermal"))
    assert pointer == "#/deployment"
    assert words == (
        "no deployment 'thermal' on drill-0001, fan-0001, mixer-0001, pump-0001; they report gas, vibration. Start it "
        "on the device with: edgeops-agent replay FILE --deployment thermal"
    ).replace("drill-0001, fan-0001, mixer-0001, pump-0001", "drill-0001, mixer-0001, pump-0001, fan-0001")


@pytest.mark.parametrize("selector", ["name=pump,mixer", "id=mixer-0001 or all"])
def test_a_named_device_without_the_deployment_is_an_objection_and_not_left_out(selector):
    ((pointer, words),) = objected(selector=selector)
    assert pointer == "#/deployment"
    assert words.startswith("no deployment 'gas' on mixer-0001; they report vibration")


def test_devices_that_report_nothing_are_told_so():
    ((_, words),) = objected([replace(device(), deployments={})])
    assert "on pump-0001; they report none. Start" in words


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        (
            {"facts": other_facts(arch="riscv64")},
            "#/variant",
            "1 of 1 incompatible, as pump-0001: architecture riscv64",
        ),
        ({"pins": (pin(),)}, "#/to", "1 of 1 pinned, as pump-0001: pinned to what it runs by ada"),
        ({"deployments": {"gas": DIGEST}}, "#/to", "1 of 1 current, as pump-0001: it runs this model already"),
        ({"quarantined": True}, "#/to", "1 of 1 quarantined, as pump-0001: two devices spoke in its name"),
    ],
)
def test_when_nobody_is_left_to_ask_the_most_frequent_reason_is_told(changes, pointer, words):
    told = objected([replace(device(), **changes)])
    assert [one for one, _ in told] == [pointer]
    assert told[0][1].startswith(f"no device is left to ask: {words}")


def test_who_is_left_out_is_no_objection_as_long_as_somebody_is_in():
    fleet = [device("pump"), replace(device("fan"), pins=(pin(),)), device("saw", facts=other_facts(arch="riscv64"))]
    found = planned(fleet)
    assert found.objections == ()
    assert [one.name for wave in found.waves for one in wave.devices] == ["pump"]


# -- waves and thresholds


def test_waves_that_do_not_add_up_are_told():
    assert objected(waves=("1", "50%")) == [("#/waves", "the waves end at 2 of 3 devices; add a last wave of 100%")]


def test_a_threshold_that_so_few_devices_cannot_meet_is_told():
    words = "waits for 4 devices that ended, the rollout asks 3; make it smaller"
    assert objected(policy={"min_devices": 4}) == [("#/policy/min_devices", words)]
    assert objected(policy={"min_devices": 3}) == []


def test_the_control_share_of_the_policy_is_held_back_the_same_way_each_time():
    fleet = [device(f"dev-{number:02}") for number in range(20)]
    found = planned(fleet, policy={"control_share": 0.2})
    assert [(len(wave.devices), wave.control) for wave in found.waves] == [(1, False), (15, False), (4, True)]
    assert planned(fleet, policy={"control_share": 0.2}) == found
    assert not any(wave.control for wave in planned(fleet, policy={"control_share": 0}).waves)
