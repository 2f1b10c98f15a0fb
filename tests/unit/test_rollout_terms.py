"""A rollout's policy as somebody wrote it."""

from datetime import timedelta

import pytest

from edgeops import limits
from edgeops.protocol.messages import Maintenance
from edgeops.rollout.policy import HealthPolicy, Policy
from edgeops.rollout.terms import read_terms, write_terms


def objected(**values):
    policy, objections = read_terms(values)
    return policy, [(one.pointer, one.detail) for one in objections]


def test_what_is_not_named_is_the_default():
    assert read_terms({}) == (Policy(), ())


def test_values_are_read():
    policy, objections = read_terms(
        {
            "bake": "PT3S", "min_success": 1, "max_in_flight": None, "retries": 0, "roll_back_on_failure": False,
            "maintenance": ["mon,sun 22:30-05:59 Europe/Berlin", ["UTC", [1], 0, 60]],
            "health": {"min_rows": 50, "max_loss": 0.04},
        }
    )  # fmt: skip
    assert not objections
    assert policy == Policy(
        bake=timedelta(seconds=3), min_success=1.0, retries=0, roll_back_on_failure=False,
        maintenance=(
            Maintenance(zone="Europe/Berlin", days=(0, 6), opens=1350, closes=359),
            Maintenance(zone="UTC", days=(1,), opens=0, closes=60),
        ),
        health=HealthPolicy(min_rows=50, max_loss=0.04),
    )  # fmt: skip


def test_a_policy_is_written_as_people_write_it_and_read_back():
    policy, _ = read_terms({"bake": 90, "maintenance": ["sat,sun 22:30-05:59 Europe/Berlin"], "health": {"labels": 3}})
    written = write_terms(policy)
    assert (written["bake"], written["maintenance"]) == ("PT90S", ["sat,sun 22:30-05:59 Europe/Berlin"])
    assert read_terms(written) == (policy, ())


def test_every_value_that_cannot_be_used_is_named_and_the_others_are_taken():
    policy, told = objected(
        min_success=1.5,
        bake="soon",
        retrys=3,
        max_in_flight=0,
        retries=2,
        health={"min_rows": 0, "alpha": 0.01, "x": 1},
    )
    assert [pointer for pointer, _ in told] == [
        "#/policy/min_success", "#/policy/bake", "#/policy/retrys", "#/policy/max_in_flight",
        "#/policy/health/min_rows", "#/policy/health/x",
    ]  # fmt: skip
    assert policy == Policy(retries=2, health=HealthPolicy(alpha=0.01))
    words = dict(told)
    assert words["#/policy/min_success"] == "1.5 is not between 0.01 and 1.0"
    assert words["#/policy/bake"].startswith("'soon' cannot be used: ")
    assert words["#/policy/retrys"].startswith("no such value, did you mean retries?; known are trial_inferences,")
    assert words["#/policy/health/x"].startswith("no such value; known are min_rows,")


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("trial_inferences", 1, limits.MAX_TRIAL_INFERENCES),
        ("bake", 0, limits.MAX_POLICY_SPAN.total_seconds()),
        ("evidence_timeout", 0, limits.MAX_POLICY_SPAN.total_seconds()),
        ("min_success", 0.01, 1.0),
        ("max_failure", 0.0, 0.99),
        ("min_devices", 1, limits.MAX_WAVE_DEVICES),
        ("offer_timeout", 1, limits.MAX_POLICY_SPAN.total_seconds()),
        ("progress_timeout", 1, limits.MAX_POLICY_SPAN.total_seconds()),
        ("wave_timeout", 1, limits.MAX_POLICY_SPAN.total_seconds()),
        ("max_in_flight", 1, limits.MAX_WAVE_DEVICES),
        ("rate_per_minute", 1, limits.MAX_WAVE_DEVICES),
        ("retries", 0, limits.MAX_INSTALLATION_RETRIES),
        ("retry_after", 0, limits.MAX_POLICY_SPAN.total_seconds()),
        ("shadow_share", 0.0, 1.0),
        ("shadow_cpu", 0.01, 1.0),
        ("control_share", 0.0, 0.5),
    ],
)
def test_every_value_has_bounds(name, least, most):
    for value in (least, most):
        assert objected(**{name: value})[1] == []
    step = 1 if least == int(least) and most > 1 else 0.001
    for value in (least - step, most + step):
        assert [pointer for pointer, _ in objected(**{name: value})[1]] == [f"#/policy/{name}"]


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("min_rows", 1, 1_000_000), ("max_loss", 0.001, 0.5), ("labels", 0, limits.MAX_NOMINEES),
        ("max_error_rise", 0.001, 0.5), ("max_latency_ratio", 1.01, 1000.0), ("max_memory_ratio", 1.01, 1000.0),
        ("alpha", 0.0001, 0.5), ("min_latency_rise_ms", 0.0, 60_000.0),
    ],
)  # fmt: skip
def test_every_value_of_the_health_gate_has_bounds(name, least, most):
    for value in (least, most):
        assert objected(health={name: value})[1] == []
    step = 1 if isinstance(least, int) else 0.00001
    for value in (least - step, most + step):
        assert [pointer for pointer, _ in objected(health={name: value})[1]] == [f"#/policy/health/{name}"]


def test_a_span_out_of_bounds_is_told_in_seconds():
    assert objected(offer_timeout=0)[1] == [("#/policy/offer_timeout", "0 s is not between 1 s and 7.776e+06 s")]


def test_no_number_is_not_within_bounds():
    assert [pointer for pointer, _ in objected(min_success=float("nan"))[1]] == ["#/policy/min_success"]


def test_the_health_part_is_a_table():
    assert objected(health=3)[1] == [("#/policy/health", "is a table of values, not 3")]


def test_names_are_escaped_in_pointers():
    assert objected(**{"a/b~c": 1})[1][0][0] == "#/policy/a~1b~0c"


@pytest.mark.parametrize("window", [3, "nights", "sun 22:00-05:00 Mars/Base", ["UTC", [7], 0, 1], ["UTC", [0], 0]])
def test_a_maintenance_window_that_is_none_is_named(window):
    policy, told = objected(maintenance=["sun 00:00-23:59 UTC", window])
    assert [pointer for pointer, _ in told] == ["#/policy/maintenance/1"]
    assert policy.maintenance == ()


def test_there_are_only_so_many_maintenance_windows():
    good = "daily 00:00-01:00 UTC"
    assert objected(maintenance=[good] * limits.MAX_MAINTENANCE_WINDOWS)[1] == []
    told = objected(maintenance=[good] * (limits.MAX_MAINTENANCE_WINDOWS + 1))[1]
    assert told == [("#/policy/maintenance", "9 windows; a device takes 8")]
    assert objected(maintenance="nights")[1] == [("#/policy/maintenance", "is a list of windows, not 'nights'")]


@pytest.mark.parametrize("name", ["bake", "retries", "min_success", "roll_back_on_failure"])
def test_text_that_is_no_unicode_is_told_like_any_value_that_cannot_be_used(name):
    policy, (objection,) = read_terms({name: "\ud800"})
    assert (policy, objection.pointer) == (Policy(), f"#/policy/{name}")
    assert objection.detail.startswith(r"'\ud800' cannot be used: ")
