"""Devices are told to show themselves with the offer, and to stop when the wave needs it no more."""

from datetime import timedelta

import pytest

from edgeops.protocol.messages import DesiredDeployment
from edgeops.rollout.policy import Policy
from edgeops.rollout.shadowing import of_asked, of_control
from fleet_server.db import devices
from fleet_server.shadowing import ShadowKeeper
from tests.unit.drift_rig import DEPLOYMENT, digest
from tests.unit.evidence_rig import OLD, EvidenceRig

POLICY = Policy(bake=timedelta(minutes=10), evidence_timeout=timedelta(minutes=30))


class Rig(EvidenceRig):
    """Three devices of which the old model is wanted; the first is asked for the new one."""

    def __init__(self, folder):
        super().__init__(folder)
        for device_id in self.ids:
            wanted = DesiredDeployment(deployment=DEPLOYMENT, target="models/tiny/1-int8.json", digest=digest(OLD))
            with self.database.write() as connection:
                devices.set_desired(connection, device_id, wanted, self.now)
        self.keeper = ShadowKeeper(self.database)
        self.id = self.roll_out(policy=POLICY)

    def turn(self, seconds=3):
        self.wait(seconds)
        return self.keeper.run_once(self.now)

    def told(self):
        return {device_id: self.desired(device_id).shadowing for device_id in self.ids}

    def judge(self, sql):
        with self.database.write() as connection:
            connection.exec_driver_sql(sql)


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_a_device_is_told_with_the_offer(rig):
    assert rig.told() == {"edge-00": of_asked(POLICY), "edge-01": None, "edge-02": None}


def test_devices_that_wait_close_their_windows_as_early_while_the_wave_shows_itself(rig):
    assert rig.turn() == 2
    assert rig.told() == {"edge-00": of_asked(POLICY), "edge-01": of_control(POLICY), "edge-02": of_control(POLICY)}
    assert rig.desired("edge-01").digest == digest(OLD)
    assert rig.turn() == 0


def test_all_of_it_ends_with_the_rollout(rig):
    rig.commit("edge-00")
    rig.turn()
    rig.judge("UPDATE rollouts SET state = 'aborted'")
    assert rig.turn() == 3
    assert set(rig.told().values()) == {None}


def test_it_is_told_again_while_a_pause_outlasts_it(rig):
    rig.commit("edge-00")
    rig.judge("UPDATE rollouts SET state = 'paused'")
    rig.turn()
    before = revision(rig, "edge-00")
    rig.turn(seconds=29 * 60)
    assert revision(rig, "edge-00") == before
    rig.turn(seconds=2 * 60)
    assert revision(rig, "edge-00") == before + 1
    assert rig.told()["edge-00"] == of_asked(POLICY)


def test_a_device_of_which_something_newer_is_wanted_is_left_alone(rig):
    rig.turn()
    with rig.database.write() as connection:
        devices.set_desired(
            connection, "edge-00", DesiredDeployment(deployment=DEPLOYMENT, target=None, digest=None), rig.now
        )
    rig.turn()
    assert rig.told()["edge-00"] is None


def revision(rig, device_id):
    with rig.database.read() as connection:
        return devices.desired_of(connection, device_id).revision
