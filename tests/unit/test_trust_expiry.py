"""What is about to end is told in time, once a stage, also across restarts."""

from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.trust.expiry import advice, alert_stage
from edgeops.trust.repository import RoleKey
from fleet_server.db import events
from fleet_server.key_alerts import KeyAlerts
from tests.stores import database_in

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def stage(days, *, life):
    found = alert_stage(NOW + timedelta(days=days), life=life, now=NOW)
    return None if found is None else found.days


@pytest.mark.parametrize(
    ("days", "told"), [(91, None), (90, 90), (31, 90), (30, 30), (8, 30), (7, 7), (0.5, 7), (0, 0), (-3, 0)]
)
def test_what_is_signed_offline_is_told_90_30_and_7_days_before_and_when_it_has_ended(days, told):
    assert stage(days, life=limits.TARGETS_LIFE) == told


def test_what_the_server_signs_again_by_itself_is_told_only_when_it_does_not():
    assert stage(29, life=limits.TIMESTAMP_LIFE) is None
    assert stage(14, life=limits.TIMESTAMP_LIFE) is None
    assert stage(6, life=limits.TIMESTAMP_LIFE) == 7


def test_a_new_delegation_is_no_news():
    assert stage(90, life=limits.DELEGATION_LIFE) is None
    assert stage(30, life=limits.DELEGATION_LIFE) == 30


def test_every_role_has_its_advice():
    said = {advice(role, None) for role in ("root", "targets", "timestamp")} | {advice("auto-gas", "gas")}
    assert len(said) == 4
    assert "edgeops key delegate gas" in advice("auto-gas", "gas")


@pytest.fixture
def database(tmp_path):
    made = database_in(tmp_path)
    yield made
    made.close()


def told(database):
    with database.read() as connection:
        return [(one.subject, one.data["within_days"]) for one in events.after(connection, 0, ["key.expires"])]


def key(role, days, *, model=None):
    return RoleKey(role, model, "id", "00" * 32, NOW + timedelta(days=days), at_hand=False, threshold=1)


def test_several_keys_of_a_role_end_together_and_are_told_once(database):
    keys = [
        RoleKey("root", None, name, "00" * 32, NOW + timedelta(days=20), at_hand=False, threshold=2) for name in "ab"
    ]
    KeyAlerts(database).look(tuple(keys), NOW)
    assert told(database) == [("root", 30)]


def test_a_stage_is_told_once_also_across_restarts_and_again_for_the_next(database):
    keys = (key("root", 3000), key("targets", 80), key("auto-gas", 20, model="gas"))
    for _ in range(2):
        KeyAlerts(database).look(keys, NOW)
    assert told(database) == [("targets", 90), ("auto-gas", 30)]
    KeyAlerts(database).look(keys, NOW + timedelta(days=55))
    assert told(database)[2:] == [("targets", 30), ("auto-gas", 0)]


def test_what_was_signed_again_is_told_again_when_its_time_comes(database):
    KeyAlerts(database).look((key("targets", 5),), NOW)
    KeyAlerts(database).look((key("targets", 365),), NOW)
    assert told(database) == [("targets", 7)]
    KeyAlerts(database).look((key("targets", 365),), NOW + timedelta(days=360))
    assert told(database) == [("targets", 7), ("targets", 7)]


@pytest.mark.parametrize(
    ("role", "model", "ends"),
    [
        ("root", None, "edgeops key renew root --keys DIR"),
        ("targets", None, "edgeops key renew targets --keys DIR"),
        ("ca", None, "edgeops key ca renew"),
        ("snapshot", None, "says that its jobs process has trouble"),
        ("auto-gas", "gas", "edgeops key delegate gas"),
    ],
)
def test_advice_ends_with_what_to_do(role, model, ends):
    assert advice(role, model).endswith(ends)


def test_a_span_of_half_a_life_would_have_to_be_told_always():
    assert alert_stage(NOW + timedelta(days=7), life=timedelta(days=14), now=NOW) is None
    assert alert_stage(NOW + timedelta(days=7), life=timedelta(days=15), now=NOW) == timedelta(days=7)
