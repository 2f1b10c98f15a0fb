"""The engine dies before any statement, and after it, and a new one goes on: nothing twice, nothing lost."""

from datetime import timedelta

import pytest
from sqlalchemy import delete

from edgeops.protocol.messages import Reason, UpdateState
from edgeops.rollout.rollout import RolloutState
from fleet_server.db import tables
from tests.stores import LONG_ON_POSTGRESQL, ON_BOTH
from tests.unit.deaths import MOMENTS, changes_of_desired, die_everywhere
from tests.unit.engine_rig import Fleet, digest_of

pytestmark = ON_BOTH


@LONG_ON_POSTGRESQL
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_engine_that_dies_at_every_statement_offers_and_advances_exactly_once(tmp_path, moment):
    fleet = Fleet(tmp_path, size=3)
    rollout = fleet.roll_out()
    fleet.commit("dev-0", run=False)

    assert die_everywhere(fleet, moment) > 20

    assert fleet.rollout(rollout).wave == 1
    fleet.commit("dev-1", run=False)
    fleet.commit("dev-2", run=False)
    die_everywhere(fleet, moment)
    assert fleet.rollout(rollout).state is RolloutState.FINISHED
    assert changes_of_desired(fleet) == [(device_id, digest_of(1)) for device_id in fleet.ids]
    assert [(wave.size, wave.offered, wave.committed) for wave in fleet.waves(rollout)] == [(1, 1, 1), (2, 2, 2)]
    fleet.close()


@LONG_ON_POSTGRESQL
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_failure_is_taken_back_exactly_once_wherever_the_engine_dies(tmp_path, moment):
    fleet = Fleet(tmp_path, size=2)
    rollout = fleet.roll_out(waves=("100%",))
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN, run=False)

    assert die_everywhere(fleet, moment) > 20

    assert fleet.rollout(rollout).state is RolloutState.FAILED
    assert changes_of_desired(fleet) == [
        ("dev-0", digest_of(1)),
        ("dev-1", digest_of(1)),
        ("dev-0", None),
        ("dev-1", None),
    ]
    fleet.close()


def test_every_event_may_be_repeated(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    rollout = fleet.roll_out()
    for device_id in fleet.ids:
        for _ in range(3):
            fleet.say(device_id, UpdateState.TRIAL)
            fleet.commit(device_id)

    # A restored cursor reads everything from the beginning.
    with fleet.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM settings WHERE key = 'engine.cursor'")
    before = (fleet.rollout(rollout), fleet.waves(rollout), changes_of_desired(fleet))
    fleet.run()

    assert (fleet.rollout(rollout), fleet.waves(rollout), changes_of_desired(fleet)) == before
    assert len(before[2]) == 3
    fleet.close()


def test_a_bug_in_the_deadlines_of_one_rollout_holds_up_no_other(tmp_path):
    fleet = Fleet(tmp_path, size=2)
    broken = fleet.roll_out(selector="id=dev-0")
    sound = fleet.roll_out(version=2, selector="id=dev-1")
    with fleet.database.write() as connection:
        connection.execute(delete(tables.waves).where(tables.waves.c.rollout_id == broken))
    fleet.wait(timedelta(hours=1))
    assert fleet.rollout(broken).state is RolloutState.RUNNING
    assert fleet.rollout(sound).state is RolloutState.FAILED
    assert any(broken in words for words in fleet.bugs.told)
    fleet.bugs.told.clear()
    fleet.close()
