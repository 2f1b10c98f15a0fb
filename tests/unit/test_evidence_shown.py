"""What is told of a wave's evidence: as it was judged, or as it is where nothing was decided by it."""

from types import SimpleNamespace

import pytest

from fleet_server import rollout_orders as orders
from fleet_server.api.evidence import read_evidence
from fleet_server.service_clock import beat
from tests.unit.evidence_rig import NEW, OLD, EvidenceRig


@pytest.fixture
def rig(tmp_path):
    rig = EvidenceRig(tmp_path)
    yield rig
    rig.close()


def shown(rig, rollout):
    return read_evidence(SimpleNamespace(database=rig.database, now=lambda: rig.now), rollout).waves[0]


@pytest.fixture
def paused(rig):
    """A rollout whose first wave had too few inputs to be judged by the end of waiting."""
    for device_id in rig.ids:
        rig.window(device_id, OLD)
    rig.gather()
    rig.wait(10)
    rollout = rig.roll_out()
    rig.wait(10)
    rig.commit("edge-00")
    rig.window("edge-00", NEW, rows=3)
    rig.gather()
    for _ in range(100):
        rig.wait(20)
        with rig.database.write() as connection:
            beat(connection, rig.now)
        rig.run()
        if rig.rollout(rollout).state == "paused":
            return rollout
    raise AssertionError(rig.rollout(rollout))


def rows(wave):
    return wave.sums["canary"]["since"]["rows"]


def test_of_a_wave_that_waits_in_vain_what_came_since_is_told(rig, paused):
    rig.window("edge-00", NEW, rows=500)
    rig.gather()
    told = shown(rig, paused)
    assert (rows(told), told.judged) == (503, False)


def test_of_a_wave_that_a_person_let_pass_that_is_told_with_what_was_known(rig, paused):
    orders.advance_rollout(rig.database, paused, orders.By(name="ann", now=rig.now, remark="I looked at it"))
    told = shown(rig, paused)
    assert (told.health, told.judged, rows(told)) == ("undecided", True, 3)
    assert told.words == "passed without proof, advanced by ann: I looked at it"
