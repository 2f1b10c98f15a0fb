"""Which devices a rollout concerns."""

import pytest

from edgeops.errors import InputError
from edgeops.rollout.targeting import All, ById, ByLabel, ByName, Candidate, choose, parse_selector


def device(name: str, *deployments: str, online: bool = True, **labels: str) -> Candidate:
    return Candidate(
        id=f"{name}-0001", name=name, online=online, labels=labels, deployments=frozenset(deployments or ("gas",))
    )


FLEET = (
    device("pump", hall="a"),
    device("fan", hall="b", online=False),
    device("mixer", "vibration", hall="a"),
    device("drill", "gas", "vibration", hall="b"),
)


def chosen(text: str, deployment: str = "gas", fleet=FLEET) -> list[str]:
    return [candidate.name for candidate in choose(parse_selector(text), deployment, fleet)]


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("all", All()),
        ("id=a-1, b-2,a-1", ById(("a-1", "b-2"))),
        ("name=pump", ByName(("pump",))),
        ("label.hall=a", ByLabel("hall", "a")),
        ("label.site=x,y", ByLabel("site", "x,y")),
    ],
)
def test_a_selector_is_read(text, selector):
    assert parse_selector(text) == selector


@pytest.mark.parametrize("text", ["", "everything", "id=", "id", "group=a", "label.=x", "label.hall", "ID=a"])
def test_what_is_no_selector_is_refused_with_the_forms_there_are(text):
    with pytest.raises(InputError, match=r"use all, id=<id>,<id>, name=<name>,<name> or label\.<key>=<value>"):
        parse_selector(text)


def test_all_means_every_device_that_reports_the_deployment_online_ones_first():
    assert chosen("all") == ["drill", "pump", "fan"]


def test_devices_are_chosen_by_id_name_and_label():
    assert chosen("id=fan-0001,pump-0001") == ["pump", "fan"]
    assert chosen("name=drill") == ["drill"]
    assert chosen("label.hall=b") == ["drill", "fan"]


def test_a_device_that_does_not_exist_is_named():
    with pytest.raises(InputError, match="no enrolled device with id press-0001; enrolled are pump-0001, fan-0001"):
        chosen("id=pump-0001,press-0001")
    with pytest.raises(InputError, match="no enrolled device with name press"):
        chosen("name=press")


def test_a_label_that_nobody_has_is_told():
    with pytest.raises(InputError, match="no enrolled device matches"):
        chosen("label.hall=z")


def test_a_deployment_that_nobody_reports_is_told_with_what_to_do():
    with pytest.raises(InputError) as caught:
        chosen("all", "thermal")
    assert "'thermal'" in str(caught.value)
    assert "they report gas, vibration" in str(caught.value)
    assert "edgeops-agent replay FILE --deployment thermal" in str(caught.value)


def test_a_named_device_without_the_deployment_is_an_error_and_not_left_out():
    with pytest.raises(InputError, match="no deployment 'gas' on mixer-0001; they report vibration"):
        chosen("name=pump,mixer")


def test_an_empty_fleet_is_told_how_to_enrol():
    with pytest.raises(InputError, match="edgeops-agent enrol"):
        chosen("all", fleet=())
