"""Where no mosquitto is, amqtt carries a whole site: enrolment, one update, answers, and the end of a device."""

import pytest

from edgeops.local.mosquitto import LOSS
from edgeops.local.processes import Child
from edgeops.local.starter import begin
from edgeops.local.up import Site
from tests.integration.hostile_rig import Flood, ack_latencies
from tests.integration.link_rig import Rig, eventually

pytestmark = [pytest.mark.slow, pytest.mark.processes]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    told = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("EDGEOPS_BROKER", "amqtt")
        with Site(tmp_path_factory.mktemp("embedded"), agents=2, starter=True, say=told.append) as site:
            site.told = told
            yield site


def rollouts(site):
    return list(site.client.rollouts())


def test_devices_take_an_update_and_answer(site):
    assert site.told == [LOSS]
    assert begin(site) is not None
    eventually(lambda: [one.state for one in rollouts(site)] == ["finished"], what="the rollout")
    for agent in site.agents:
        eventually(lambda: site.client.latest_predictions(agent.device_id), what=f"answers of {agent.name}")  # noqa: B023


def test_devices_come_back_when_the_broker_was_killed(site):
    broker: Child = site.server[0].child
    broker.process.kill()
    broker.process.wait()
    eventually(lambda: site.mend() or site.server[0].child is not broker, what="the broker starts again")
    before = {agent.device_id: answered(site, agent) for agent in site.agents}
    for agent in site.agents:
        eventually(lambda: answered(site, agent) > before[agent.device_id], what=f"new answers of {agent.name}")  # noqa: B023


def test_a_device_that_is_removed_is_cut_off(site):
    gone, other = site.agents
    site.client.remove_device(gone.device_id)
    eventually(lambda: "disconnected" in log(site), what="the broker ends the connection")
    before = answered(site, other)
    eventually(lambda: answered(site, other) > before, what="the other goes on")


def answered(site, agent):
    return max(one.answered_at for one in site.client.latest_predictions(agent.device_id))


def log(site):
    return (site.data / "broker/mosquitto.log").read_text()


@pytest.mark.long
def test_a_flood_waits_behind_itself(tmp_path):
    rig = Rig(tmp_path, embedded=True)
    try:
        rig.start_broker()
        rig.start_linked()
        victim, flooder = rig.device("victim"), rig.device("flooder")
        flooder.disconnect()
        flood = Flood(rig, flooder, b"x" * 600)
        try:
            latencies = ack_latencies(victim, 10)
            assert not flood.is_over
        finally:
            flood.stop()
        assert max(latencies) < 5.0
        # Its burst and little more was read of it; the rest never left its own socket.
        assert rig.rows(f"SELECT count(*) FROM quarantine WHERE device_id = '{flooder.id}'")[0][0] <= 200
    finally:
        rig.close()
