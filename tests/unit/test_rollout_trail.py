"""What no person decided of a rollout is in the audit trail."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from edgeops.digest import digest_bytes
from edgeops.protocol.messages import Reason, UpdateState
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutState
from fleet_server.db import audit, rollouts
from fleet_server.rollout_orders import abort_rollout
from tests.stores import ON_BOTH
from tests.unit.engine_rig import Fleet

pytestmark = ON_BOTH


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    with fleet.database.read() as connection:
        assert isinstance(audit.verify(connection), audit.Intact)
    fleet.close()


def of_policy(fleet):
    with fleet.database.read() as connection:
        return [one for one in audit.oldest_first(connection) if one.actor == "policy"]


def verdict_digest(wave):
    return digest_bytes(msgspec.json.encode(wave.verdict, order="sorted"))


def test_a_wave_that_passes_is_told_with_the_digest_of_its_verdict(fleet):
    rollout_id = fleet.roll_out()
    assert of_policy(fleet) == []
    for device_id in fleet.ids:
        fleet.commit(device_id)
    first, last = of_policy(fleet)
    assert [(one.action, one.subject, one.data["wave"]) for one in (first, last)] == [
        ("wave.passed", rollout_id, 0), ("wave.passed", rollout_id, 1),
    ]  # fmt: skip
    assert [one.data["leads_to"] for one in (first, last)] == ["wave-passed", "last-wave-passed"]
    for entry, wave in zip((first, last), fleet.waves(rollout_id), strict=True):
        assert entry.data["verdict"] == verdict_digest(wave)
        assert entry.data["reason"] == wave.verdict["reason"]


@pytest.mark.parametrize(("roll_back", "leads_to"), [(True, "roll-back"), (False, "wave-failed")])
def test_a_wave_that_fails_is_told_with_what_the_policy_made_of_it(fleet, roll_back, leads_to):
    policy = Policy(bake=timedelta(0), retries=0, roll_back_on_failure=roll_back)
    rollout_id = fleet.roll_out(waves=("100%",), policy=policy)
    fleet.commit("dev-0")
    fleet.say("dev-1", UpdateState.ROLLED_BACK, reason=Reason.INFERENCE)
    (entry,) = of_policy(fleet)
    (wave,) = fleet.waves(rollout_id)
    assert (entry.action, entry.data["leads_to"]) == ("wave.failed", leads_to)
    assert (entry.data["reason"], entry.data["verdict"]) == (wave.verdict["reason"], verdict_digest(wave))


def test_evidence_that_did_not_come_is_told_once(fleet):
    rollout_id = fleet.roll_out(policy=Policy(bake=timedelta(0), retries=0, evidence_timeout=timedelta(minutes=1)))
    fleet.commit("dev-0", shown=False)
    fleet.wait(timedelta(minutes=3))
    assert fleet.rollout(rollout_id).state is RolloutState.PAUSED
    (entry,) = of_policy(fleet)
    assert (entry.action, entry.data["leads_to"]) == ("wave.undecided", "evidence-missing")
    assert entry.data["reason"] == fleet.rollout(rollout_id).reason


def test_what_nobody_approved_in_time_is_told(fleet):
    rollout_id = fleet.roll_out(needs_approval=True)
    with fleet.database.write() as connection:
        rollouts.save(connection, replace(fleet.rollout(rollout_id), deadline_at=fleet.now), fleet.now)
    fleet.wait(timedelta(seconds=1))
    (entry,) = of_policy(fleet)
    assert (entry.action, entry.subject) == ("rollout.expired", rollout_id)
    assert entry.data == {"state": "awaiting-approval", "reason": fleet.rollout(rollout_id).reason}


def test_a_way_back_that_ended_by_its_deadline_is_told(fleet):
    rollout_id = fleet.roll_out()
    fleet.commit("dev-0")
    abort_rollout(fleet.database, rollout_id, fleet.me(), roll_back=True)
    fleet.wait(timedelta(minutes=35), step=timedelta(seconds=25))
    assert [(one.action, one.data.get("state")) for one in of_policy(fleet)] == [
        ("wave.passed", None), ("rollout.expired", "rolling-back"),
    ]  # fmt: skip
