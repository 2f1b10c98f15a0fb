"""A real agent ends itself when a loop of it hangs, and lives on when only the world is away."""

import os
import subprocess
import sys
import time

import pytest

from device_agent.config import Deployment, Replay, write_deployment
from device_agent.watchdog import HUNG
from tests.integration.agent_rig import DEADLINE_S, DEPLOYMENT, Rig, eventually

pytestmark = pytest.mark.slow

#: The agent of a device with little patience.
HASTY_S = 2.0
HASTY = f"""
import sys
from datetime import timedelta
from edgeops import limits
limits.LOOP_HANGS_AFTER = timedelta(seconds={HASTY_S})
from device_agent.cli import main
sys.exit(main(["--state", sys.argv[1], "run"]))
"""


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def start_hasty(rig):
    with rig.log.open("ab") as log:
        command = [sys.executable, "-c", HASTY, str(rig.state.path)]
        rig.agent = subprocess.Popen(command, stdout=log, stderr=log)


def test_an_agent_with_a_loop_that_hangs_ends_itself_and_the_next_one_works(rig):
    folder = rig.state.deployment(DEPLOYMENT)
    folder.mkdir(parents=True)
    # Whoever reads it waits for a writer, who never comes.
    os.mkfifo(folder / "config.json")
    start_hasty(rig)
    assert rig.agent.wait(DEADLINE_S) == HUNG
    log = rig.log.read_text()
    assert f"loop=feed-{DEPLOYMENT}" in log
    assert "read_deployment" in log, "the log shows where it hung"
    (folder / "config.json").unlink()
    start_hasty(rig)
    assert eventually(rig.status, what="the next agent answers")["deployments"]


def test_an_agent_whose_broker_server_and_sensor_are_away_lives(rig):
    rig.broker.stop()
    write_deployment(rig.state, DEPLOYMENT, Deployment(source=Replay(file="/nowhere/at-all.csv", run="1")))
    start_hasty(rig)
    before = eventually(rig.status, what="the agent answers")["loops"]
    assert {"main", "link", f"feed-{DEPLOYMENT}", f"updates-{DEPLOYMENT}", "fleet-keys", "benchmarks"} == set(before)
    until_s = time.monotonic() + 3 * HASTY_S
    eventually(lambda: time.monotonic() > until_s or rig.died(), what="some time")
    assert not rig.died()
    after = rig.status()["loops"]
    turning = ("main", "link", f"feed-{DEPLOYMENT}")
    assert all(after[name] > before[name] for name in turning), (before, after)
    rig.broker.start()
