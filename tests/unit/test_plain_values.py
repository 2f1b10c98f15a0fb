"""Policies as they come in: tables of plain values, of which nothing may be more than a text or a database can hold."""

import pytest

from edgeops import limits
from edgeops.api.shapes import RetrainingPolicyRequest, RolloutPreviewRequest, RolloutRequest, checked

ORDER = {"model": "gas", "version": 1, "deployment": "gas"}
#: Policy, and where it cannot be used.
WRONG = [
    ({"bake": "\ud800"}, "/bake"),
    ({"maintenance": ["mon 10:00-11:00", "\udfff"]}, "/maintenance/1"),
    ({"health": {"min_rows": "a\ud800b"}}, "/health/min_rows"),
    ({"a\ud800": 1}, "/a?"),
    ({"health": {"\ud800": "\ud800"}}, "/health/?"),
]


def nested(depth):
    """A policy that holds lists in lists, so many with itself."""
    inner = []
    for _ in range(depth - 2):
        inner = [inner]
    return {"bake": inner}


def problems(policy):
    """Where each request says that it cannot use it."""
    read = [
        checked(RolloutRequest, ORDER | {"policy": policy}),
        checked(RolloutPreviewRequest, ORDER | {"policy": policy}),
        checked(RetrainingPolicyRequest, {"rollout_policy": policy}),
    ]
    return [sorted({one.pointer for one in answer}) if isinstance(answer, tuple) else [] for answer in read]


@pytest.mark.parametrize(("policy", "place"), WRONG)
def test_text_that_is_no_unicode_is_refused_where_it_stands(policy, place):
    assert problems(policy) == [[f"#/policy{place}"], [f"#/policy{place}"], [f"#/rollout_policy{place}"]]


def test_every_such_text_is_named_and_said_what_is_wrong_with_it():
    found = checked(RolloutRequest, ORDER | {"policy": {"bake": "\ud800", "retries": "\ud800"}})
    assert [one.pointer for one in found] == ["#/policy/bake", "#/policy/retries"]
    assert {one.detail for one in found} == {"Value error, no Unicode text: half of a surrogate pair stands in it"}


def test_what_is_nested_deeper_than_anything_is_refused():
    assert problems(nested(limits.MAX_PLAIN_DEPTH)) == [[], [], []]
    place = "/bake" + "/0" * (limits.MAX_PLAIN_DEPTH - 1)
    for depth in (limits.MAX_PLAIN_DEPTH + 1, 600):
        assert problems(nested(depth)) == [[f"#/policy{place}"], [f"#/policy{place}"], [f"#/rollout_policy{place}"]]
    (problem, *_) = checked(RolloutRequest, ORDER | {"policy": nested(600)})
    assert problem.detail == f"Value error, nested more than {limits.MAX_PLAIN_DEPTH} deep"


def test_whole_characters_beyond_the_first_plane_are_text():
    assert problems({"bake": "\U0001f600", "maintenance": [[["mon"], 1, 2.5, None, True]]}) == [[], [], []]
