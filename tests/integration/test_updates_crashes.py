"""What befalls an update at every named border: kill -9 and a new start, or an error that nobody foresaw.

After a kill it ends as it would have, and after an error so, too, unless that came out of a slow step: then it fails,
with a reason. However it ends, that is reported once.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgeops.update.faults import VARIABLE, FailPoint, Fault
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


#: Where an error comes out of a slow step, and what that is reported as.
IN_SLOW_STEPS = {
    FailPoint.BLOCK_WRITTEN: "fetch",
    FailPoint.DID_FETCH: "fetch",
    FailPoint.DID_VERIFY: "digest",
    FailPoint.DID_STAGE: "disk",
    FailPoint.DID_PROBE: "probe",
    FailPoint.DID_CHECK_LISTED: "trust",
}
#: An error here is one of the spool, whose callers are tested with it.
IN_THE_SPOOL = FailPoint.RECORDS_TAKEN


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("fail_point", [point for point in FailPoint if point not in {*NOT_OF_AN_UPDATE, IN_THE_SPOOL}])
def test_an_error_that_nobody_foresaw_delays_an_update_or_fails_it_and_never_leaves_it_hanging(tmp_path, fail_point):
    first, second = prepare(tmp_path)
    ending = ELSEWHERE.get(fail_point, Ending.COMMITTED)
    ended = install(tmp_path, ending, f"{fail_point}:{Fault.ERROR}")
    assert ended.returncode == 0
    said = msgspec.json.decode(ended.stdout)
    if fail_point in IN_SLOW_STEPS:
        assert (said["state"], said["reason"], said["active"]) == ("failed", IN_SLOW_STEPS[fail_point], None)
        assert said["reports"].count("failed") == 1
    elif ending is Ending.SUPERSEDED:
        assert (said["state"], said["active"]) == ("committed", second.digest)
        assert said["reports"].count("superseded") == 1
    elif ending in {Ending.COMMITTED, Ending.IDLE}:
        assert said["state"] == ending
        assert said["active"] == (first.digest if ending is Ending.COMMITTED else None)
        assert said["reports"].count("committed") == 1
    else:
        assert (said["state"], said["active"]) == (ending, None)
        assert said["reports"].count(ending) == 1


@pytest.mark.slow
@pytest.mark.long
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
