"""Whether a device can be asked, as it is kept with its installations: it follows the device, whatever changes it."""

import pytest
from sqlalchemy import select

from edgeops.rollout.installation import InstallationState
from fleet_server.db import backups, devices, installations, tables
from fleet_server.db.reach import Reach
from tests.stores import ON_BOTH
from tests.unit.engine_rig import Fleet

pytestmark = ON_BOTH


@pytest.fixture
def fleet(tmp_path):
    made = Fleet(tmp_path, size=2)
    made.go("dev-1")
    made.roll_out(waves=("100%",))
    yield made
    made.close()


def reaches(fleet):
    table = tables.installations
    with fleet.database.read() as connection:
        return {row.device_id: row.reach for row in connection.execute(select(table.c.device_id, table.c.reach))}


def changed(fleet, change, *arguments, **more):
    with fleet.database.write() as connection:
        change(connection, *arguments, **more)
    return reaches(fleet)


def test_a_device_that_comes_and_goes_is_followed(fleet):
    assert reaches(fleet) == {"dev-0": Reach.READY, "dev-1": Reach.AWAY}
    fleet.go("dev-0")
    fleet.come("dev-1")
    assert reaches(fleet) == {"dev-0": Reach.AWAY, "dev-1": Reach.READY}


def test_a_device_that_is_not_believed_cannot_be_asked_and_is_silent_only_if_it_is_offline(fleet):
    now = fleet.now
    assert changed(fleet, devices.quarantine, "dev-0", reason="", now=now)["dev-0"] == Reach.OUT
    assert changed(fleet, devices.quarantine, "dev-1", reason="", now=now)["dev-1"] == Reach.AWAY
    assert changed(fleet, devices.release, "dev-0", now=now)["dev-0"] == Reach.READY


def test_a_device_that_was_removed_is_out_of_reach(fleet):
    assert changed(fleet, devices.remove, "dev-1", now=fleet.now)["dev-1"] == Reach.OUT


def test_after_a_restore_every_device_is_away_until_it_is_heard(fleet):
    found = changed(fleet, backups.forget_what_was_wanted, epoch=2, revision=9)
    assert set(found.values()) == {Reach.AWAY}


def test_what_has_ended_is_not_followed_and_its_silence_does_not_count(fleet):
    fleet.commit("dev-0")
    with fleet.database.write() as connection:
        (first,) = (one for one in installations.unfinished_on(connection, ["dev-1"]))
        installations.move(connection, first, InstallationState.SUPERSEDED, now=fleet.now)
    fleet.come("dev-1")
    assert reaches(fleet)["dev-1"] == Reach.AWAY
