"""Every state of an update, struck by every mishap, ends as the table says, and no prediction is lost on the way.

So do updates whose model is the mishap: the child that probes it crashes, hangs or takes too much memory.
"""

from functools import partial

import pytest

from edgeops.protocol.messages import Reason, UpdateState
from edgeops.update.update import WAITS
from tests.faults.stage import FIRST_S, Stage
from tests.faults.table import CELLS, DEADLY, SLICE, End, Mishap, Model
from tests.golden.tiny import hungry_artifact, tiny_artifact

pytestmark = pytest.mark.slow

#: Runs first in every process of the agent: what befalls the child, and patience that a test can wait for.
_CRASH = """
import sys
if "device_agent.probe" in sys.orig_argv:
    import ctypes
    ctypes.string_at(0)
"""
_HANG = """
import sys, time
if "device_agent.probe" in sys.orig_argv:
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        pass
from datetime import timedelta
from edgeops import limits
limits.PROBE_TIMEOUT = timedelta(seconds=3)
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("faults") / "site")
    yield stage
    stage.close()


@pytest.fixture(autouse=True)
def _cleared(stage):
    yield
    stage.clear()


def test_the_slice_that_every_run_plays_has_each_state_and_each_mishap():
    assert {cell.state for cell in SLICE} == set(UpdateState)
    assert {cell.mishap for cell in SLICE} == set(Mishap)
    assert {cell.wait.reason for cell in SLICE if cell.wait} == WAITS
    assert set(SLICE) <= set(CELLS)


@pytest.mark.parametrize(
    "cell",
    [*SLICE, *(pytest.param(cell, marks=pytest.mark.long) for cell in CELLS if cell not in SLICE)],
    ids=str,
)
def test_a_struck_update_ends_as_the_table_says(stage, cell):
    needs_read_only = cell.mishap in {Mishap.READ_ONLY, Mishap.READ_ONLY_START}
    if needs_read_only and not stage.card.can_be_read_only:
        pytest.skip("no right to mount (CAP_SYS_ADMIN), and permissions do not bind: nothing can be made read-only")
    if cell.mishap is Mishap.FULL_START and not stage.card.is_real:
        pytest.skip("no right to mount (CAP_SYS_ADMIN): no card can be full before a start")
    outcome = stage.play(cell)
    assert outcome.active == stage.digest(cell.end.active)
    assert outcome.reports == cell.end.reports
    assert outcome.unsigned == set()
    counted, played = outcome.rows_counted
    assert counted == played
    # Limits that stand in for a full card bind the file of answers, too, which tells of rows and silences.
    if stage.card.is_real or cell.mishap not in {Mishap.FULL, Mishap.READ_ONLY}:
        assert outcome.skipped_rows == []
        assert outcome.excess_gap_s <= 0
    if cell.mishap in DEADLY and cell.end.active is not Model.NONE:
        assert outcome.first_prediction_s <= FIRST_S


@pytest.mark.parametrize(
    ("artifact", "customization", "detail"),
    [
        pytest.param(partial(tiny_artifact, version=6), _CRASH, "SIGSEGV", id="crash"),
        pytest.param(partial(tiny_artifact, version=7), _HANG, "hung", id="hang", marks=pytest.mark.long),
        pytest.param(hungry_artifact, "", "FILL", id="memory", marks=pytest.mark.long),
    ],
)
def test_a_child_that_breaks_in_the_probe_costs_no_prediction(stage, tmp_path, artifact, customization, detail):
    (tmp_path / "sitecustomize.py").write_text(customization)
    end = End(UpdateState.FAILED, Reason.PROBE, Model.INCUMBENT, (UpdateState.FAILED,))
    outcome = stage.update(artifact(), end, PYTHONPATH=str(tmp_path))
    assert detail in outcome.detail
    assert {answer.digest for answer in outcome.answers} == {stage.digest(Model.INCUMBENT)}
    assert outcome.skipped_rows == []
    assert outcome.excess_gap_s <= 0
