"""kill -9 at every named border of an update, and a new start: it ends as it would have, reported once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgeops.update.faults import VARIABLE, FailPoint
from tests.integration.updates_rig import Ending, prepare

#: On the way to the other endings; the rest is on the way of an update that ends well.
ELSEWHERE = {
    FailPoint.SAVED_IDLE: Ending.IDLE,
    FailPoint.DID_CLEAR: Ending.IDLE,
    FailPoint.SAVED_REJECTED: Ending.REJECTED,
    FailPoint.SAVED_FAILED: Ending.FAILED,
    FailPoint.SAVED_ROLLED_BACK: Ending.ROLLED_BACK,
    FailPoint.DID_ROLL_BACK: Ending.ROLLED_BACK,
    FailPoint.SAVED_SUPERSEDED: Ending.SUPERSEDED,
    FailPoint.DID_TAKE_NEXT: Ending.SUPERSEDED,
}
#: Not of an update: tests of the agent's process die there.
NOT_OF_AN_UPDATE = {FailPoint.WINDOW_SPOOLED}
ROOT = Path(__file__).parents[2]


def install(
    folder: Path, ending: Ending = Ending.COMMITTED, fail_point: str = ""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tests.integration.updates_rig", str(folder), ending],
        env={**os.environ, VARIABLE: fail_point},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("fail_point", [point for point in FailPoint if point not in {*ELSEWHERE, *NOT_OF_AN_UPDATE}])
def test_an_agent_killed_in_mid_update_ends_well(tmp_path, fail_point):
    descriptor, _ = prepare(tmp_path)
    killed = install(tmp_path, fail_point=fail_point)
    assert killed.returncode == -signal.SIGKILL, f"{fail_point} was not reached"
    again = install(tmp_path)
    assert again.returncode == 0
    said = msgspec.json.decode(again.stdout)
    assert (said["state"], said["active"]) == ("committed", descriptor.digest)
    assert said["reports"].count("committed") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("fail_point", "ending"), ELSEWHERE.items())
def test_an_agent_killed_on_the_way_to_another_ending_comes_to_it(tmp_path, fail_point, ending):
    first, second = prepare(tmp_path)
    killed = install(tmp_path, ending, fail_point)
    assert killed.returncode == -signal.SIGKILL, f"{fail_point} was not reached"
    again = install(tmp_path, ending)
    assert again.returncode == 0
    said = msgspec.json.decode(again.stdout)
    state = "committed" if ending is Ending.SUPERSEDED else ending
    assert (said["state"], said["active"]) == (state, second.digest if ending is Ending.SUPERSEDED else None)
    if ending is Ending.IDLE:
        assert said["reports"] == ["committed"]
    else:
        assert said["reports"].count(ending) == 1
    assert first.digest != second.digest
