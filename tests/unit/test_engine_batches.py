"""What concerns more devices than one transaction takes: each is dealt with once, whatever happens in between."""

from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import update

from edgeops.protocol.messages import Presence, Reason, UpdateState
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState
from fleet_server.db import tables
from fleet_server.rollout_news import keep_installation
from fleet_server.rollout_orders import abort_rollout
from fleet_server.rollout_steps import OFFER_BATCH
from tests.unit.deaths import MOMENTS, changes_of_desired, die_everywhere
from tests.unit.engine_rig import QUICK, Fleet, digest_of


def everybody_asked(tmp_path, *, beyond=3, **changes):
    """More devices than one transaction takes back were asked, and none has ended."""
    fleet = Fleet(tmp_path, size=OFFER_BATCH + beyond)
    rollout = fleet.roll_out(waves=("100%",), **changes)
    fleet.wait(timedelta(seconds=2), step=timedelta(seconds=1))
    everybody = list(fleet.states(rollout))
    assert in_state(fleet, rollout, InstallationState.OFFERED) == everybody
    return fleet, rollout, everybody


def in_state(fleet, rollout, state):
    return [device_id for device_id, one in fleet.states(rollout).items() if one is state]


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_abort_that_takes_several_transactions_is_seen_through_wherever_the_engine_dies(tmp_path, moment):
    fleet, rollout, everybody = everybody_asked(tmp_path)
    fleet.abort(rollout)
    assert fleet.rollout(rollout).state is RolloutState.ABORTED
    assert in_state(fleet, rollout, InstallationState.OFFERED) == everybody[OFFER_BATCH:]

    assert die_everywhere(fleet, moment) > 20

    assert in_state(fleet, rollout, InstallationState.SUPERSEDED) == everybody
    twice = [(device_id, digest) for digest in (digest_of(1), None) for device_id in everybody]
    assert sorted(changes_of_desired(fleet), key=str) == sorted(twice, key=str)
    assert fleet.waves(rollout)[0].offered == 0
    fleet.close()


def test_a_model_is_taken_back_from_more_devices_than_one_transaction_takes(tmp_path):
    fleet, rollout, everybody = everybody_asked(tmp_path)
    for device_id in everybody[:-1]:
        fleet.commit(device_id, run=False)
    fleet.run()
    abort_rollout(fleet.database, rollout, fleet.me(), roll_back=True)
    assert die_everywhere(fleet, MOMENTS[0]) > 20
    assert in_state(fleet, rollout, InstallationState.ROLLED_BACK) == everybody[:-1]
    assert in_state(fleet, rollout, InstallationState.SUPERSEDED) == everybody[-1:]
    assert {fleet.desired_digest(device_id) for device_id in everybody} == {None}
    fleet.close()


def test_a_newer_rollout_asks_nobody_before_what_the_older_one_asked_is_taken_back(tmp_path):
    """The older one goes on with the device that the newer one does not have."""
    fleet, older, everybody = everybody_asked(tmp_path)
    fleet.now += timedelta(milliseconds=1)
    waves, policy = (f"id={everybody[-1]}", "100%"), msgspec.structs.replace(QUICK, control_share=0.0)
    newer = fleet.order(2, selector="not id=dev-0", waves=waves, policy=policy)
    left, asked = (in_state(fleet, one, InstallationState.OFFERED) for one in (older, newer))
    assert (len(left), asked) == (2, everybody[-1:])
    assert asked[0] not in left
    fleet.commit(asked[0])
    fleet.wait(timedelta(seconds=2), step=timedelta(seconds=1))
    assert in_state(fleet, older, InstallationState.OFFERED) == ["dev-0"]
    assert len(in_state(fleet, newer, InstallationState.OFFERED)) == len(everybody) - 2
    assert {fleet.desired_digest(device_id) for device_id in {*everybody} - {"dev-0"}} == {digest_of(2)}
    fleet.close()


def test_a_device_that_is_to_be_taken_from_a_rollout_is_not_asked_again_by_it(tmp_path):
    policy = msgspec.structs.replace(QUICK, retries=1, min_success=0.0, max_failure=1.0)
    fleet, older, _ = everybody_asked(tmp_path, policy=policy)
    fleet.now += timedelta(milliseconds=1)
    fleet.order(2, selector="not id=dev-0", waves=("1", "100%"))
    *_, overdue, last = [one for one in fleet.attempts(older) if one.device_id != "dev-0"]
    assert (overdue.state, last.state) == (InstallationState.OFFERED, InstallationState.OFFERED)
    with fleet.database.write() as connection:
        # Never heard since it was asked.
        row = tables.devices.c.id == overdue.device_id
        connection.execute(update(tables.devices).where(row).values(presence=Presence.OFFLINE, last_seen_at=None))
        keep_installation(connection, overdue, fleet.now)
    fleet.say(last.device_id, UpdateState.FAILED, reason=Reason.DISK, installation=last)
    *_, overdue, last = [one for one in fleet.attempts(older) if one.device_id != "dev-0"]
    assert (overdue.state, last.state) == (InstallationState.SUPERSEDED, InstallationState.FAILED)
    assert fleet.rollout(older).state is RolloutState.RUNNING
    fleet.close()


def test_a_withdrawal_that_fails_holds_up_no_other(tmp_path):
    fleet, rollout, everybody = everybody_asked(tmp_path)
    fleet.abort(rollout)
    broken, *others = everybody[OFFER_BATCH:]
    with fleet.database.write() as connection:
        mine = tables.desired.c.device_id == broken
        connection.execute(update(tables.desired).where(mine).values(maintenance={"no": "list"}))
    fleet.engine.run_once(fleet.now)
    assert in_state(fleet, rollout, InstallationState.OFFERED) == [broken]
    assert others
    fleet.bugs.told.clear()
    fleet.close()
