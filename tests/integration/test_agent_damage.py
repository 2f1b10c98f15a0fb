"""An agent whose spool is damaged while it runs: it goes on with a new one, in the same process."""

import pytest

from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually
from tests.unit.bad_sectors import overwrite

pytestmark = pytest.mark.slow


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_an_agent_whose_spool_is_damaged_while_it_runs_goes_on_with_a_new_one(rig):
    first, first_target = rig.server.publish_model(version=1)
    second, second_target = rig.server.publish_model(version=2)
    rig.play(1000, rate_hz=200, loop=True)
    rig.server.desire(1, (DEPLOYMENT, first, first_target))
    rig.start_agent()
    eventually(lambda: rig.committed(first), what="the model is committed")
    eventually(rig.server.windows, what="a window is told")
    [before] = {spool for spool, _ in rig.server.records}
    overwrite(rig.state.spool)
    eventually(lambda: {spool for spool, _ in rig.server.records} - {before}, what="records of a new spool")
    assert rig.status()["counters"]["spool.corrupt"] == 1
    assert rig.committed(first)
    rig.server.desire(2, (DEPLOYMENT, second, second_target))
    eventually(lambda: rig.committed(second), what="what is desired later is heard and carried out")
    assert rig.server.reported[-1].counters["spool.corrupt"] == 1
    assert rig.state.spool.with_name("spool.db.corrupt").exists()
    assert rig.stop_agent() == 0
    assert "Traceback" not in rig.log.read_text()
