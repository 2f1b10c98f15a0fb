"""kill -9 at every named border of an update, and a new start: it ends installed, reported once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgeops.update.faults import VARIABLE, FailPoint
from tests.integration.updates_rig import prepare

#: Not on the way of an update that ends well, or not of an update at all.
ELSEWHERE = {
    FailPoint.SAVED_IDLE,
    FailPoint.SAVED_REJECTED,
    FailPoint.SAVED_FAILED,
    FailPoint.SAVED_ROLLED_BACK,
    FailPoint.SAVED_SUPERSEDED,
    FailPoint.DID_ROLL_BACK,
    FailPoint.DID_CLEAR,
    FailPoint.DID_TAKE_NEXT,
    FailPoint.WINDOW_SPOOLED,
}
ROOT = Path(__file__).parents[2]


def install(folder: Path, fail_point: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tests.integration.updates_rig", str(folder)],
        env={**os.environ, VARIABLE: fail_point},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("fail_point", [point for point in FailPoint if point not in ELSEWHERE])
def test_an_agent_killed_in_mid_update_ends_well(tmp_path, fail_point):
    descriptor = prepare(tmp_path)
    killed = install(tmp_path, fail_point)
    assert killed.returncode == -signal.SIGKILL, f"{fail_point} was not reached"
    again = install(tmp_path)
    assert again.returncode == 0
    said = msgspec.json.decode(again.stdout)
    assert (said["state"], said["active"]) == ("committed", descriptor.digest)
    assert said["reports"].count("committed") == 1
