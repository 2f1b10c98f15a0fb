"""Which devices a rollout concerns, and how each of them stands."""

from dataclasses import replace
from datetime import timedelta

import pytest

from edgeops.rollout.selector import parse_selector
from edgeops.rollout.targeting import IN, Placement, Standing, place, survey
from tests.unit.target_values import DIGEST, NOW, OFFER, OTHER, device, other_facts, pin


def placed(one):
    return place(one, OFFER, NOW)


def test_a_device_that_reports_the_deployment_is_ready():
    assert placed(device()) == Placement(device(), Standing.READY, "")
    assert placed(device()).is_in


def test_a_device_that_is_offline_is_in_and_asked_when_it_comes():
    one = device(online=False)
    assert placed(one) == Placement(one, Standing.OFFLINE, "offline: asked when it comes back")
    assert placed(one).is_in


def test_a_device_that_another_rollout_has_is_taken_over():
    one = replace(device(), taken_by="rollout-9")
    assert placed(one) == Placement(one, Standing.TAKEN, "taken over from rollout rollout-9")
    away = replace(one, online=False)
    assert placed(away).reason == "taken over from rollout rollout-9; offline: asked when it comes back"
    assert placed(away).standing is Standing.TAKEN


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({}, Standing.CURRENT),
        ({"desired": DIGEST}, Standing.CURRENT),
        # Somebody wants something else of it, so it will not run it for long.
        ({"desired": OTHER}, Standing.READY),
        ({"taken_by": "rollout-9"}, Standing.TAKEN),
        ({"deployments": {"gas": OTHER, "vibration": DIGEST}}, Standing.READY),
    ],
)
def test_a_device_that_runs_the_model_already_is_left_out(changes, standing):
    one = replace(device(active=DIGEST), **changes)
    assert placed(one).standing is standing


def test_a_device_that_the_model_does_not_fit_is_left_out_with_every_reason():
    one = device(facts=other_facts(arch="riscv64", memory_bytes=1))
    found = placed(one)
    assert found.standing is Standing.INCOMPATIBLE
    assert found.reason.startswith("architecture riscv64, the model holds on")
    assert "of memory" in found.reason


def test_a_device_that_is_pinned_is_left_out_with_the_pin_in_words():
    held = pin()
    assert placed(replace(device(), pins=(held,))) == Placement(
        replace(device(), pins=(held,)), Standing.PINNED, str(held)
    )
    assert placed(replace(device(), pins=(pin(digest=DIGEST),))).standing is Standing.READY
    assert placed(replace(device(), pins=(pin(until=NOW - timedelta(1)),))).standing is Standing.READY


def test_a_device_in_quarantine_is_left_out():
    found = placed(replace(device(active=DIGEST), quarantined=True))
    assert found.standing is Standing.QUARANTINED
    assert "edgeops devices release" in found.reason


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (device("pump", "vibration", "sound"), "it reports sound, vibration"),
        (replace(device(), deployments={}), "it reports no deployment"),
        (replace(device(facts=None), deployments={}), "it has not reported yet"),
    ],
)
def test_a_device_without_the_deployment_is_left_out_with_what_it_reports(one, reason):
    assert placed(one) == Placement(one, Standing.NO_DEPLOYMENT, reason)


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({"quarantined": True, "deployments": {}}, Standing.QUARANTINED),
        ({"deployments": {}, "facts": other_facts(arch="riscv64")}, Standing.NO_DEPLOYMENT),
        ({"deployments": {"gas": DIGEST}, "pins": (pin(),)}, Standing.CURRENT),
        ({"facts": other_facts(arch="riscv64"), "pins": (pin(),)}, Standing.INCOMPATIBLE),
        ({"pins": (pin(),), "taken_by": "rollout-9", "online": False}, Standing.PINNED),
    ],
)
def test_of_several_reasons_the_strongest_is_told(changes, standing):
    found = placed(replace(device(), **changes))
    assert found.standing is standing
    assert not found.is_in


def test_only_ready_offline_and_taken_devices_are_asked():
    assert {Standing.READY, Standing.OFFLINE, Standing.TAKEN} == IN


def test_those_in_come_first_online_ones_before_the_others_then_by_id():
    fleet = [
        replace(device("aaa"), quarantined=True),
        device("bbb", online=False),
        device("ddd"),
        device("ccc"),
        device("eee", "vibration", online=False),
        device("fff", hall="b"),
    ]
    found = survey(parse_selector("not label.hall=b"), OFFER, fleet, NOW)
    assert [one.device.name for one in found] == ["ccc", "ddd", "bbb", "aaa", "eee"]
