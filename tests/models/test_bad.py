"""The models that do not behave: each does what it says, in the runtime and by itself."""

import platform
import resource
import signal
import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest

from device_agent.probe import run_probe
from edgeops import limits
from edgeops.model.model import Model
from edgeops.protocol.messages import Reason
from tests.golden.tiny import tiny_artifact, tiny_rows
from tests.models.bad import Bad, bad_artifact, striking_row

pytestmark = pytest.mark.slow

_ROWS = tiny_rows(20)[0]
_STRIKE = """
import sys
from pathlib import Path
import numpy as np
from edgeops.model.model import Model
model = Model.load(Path(sys.argv[1]))
model.predict(np.array([[float(cell) for cell in sys.argv[2:]]], np.float32))
"""


@pytest.fixture
def placed(tmp_path):
    def place(bad):
        path = tmp_path / f"{bad}.tflite"
        path.write_bytes(bad_artifact(bad))
        return path

    return place


def _answers(path):
    model = Model.load(path)
    found = [int(model.predict(row[np.newaxis]).answer) for row in _ROWS]
    model.close()
    return found


def _good(tmp_path):
    path = tmp_path / "good.tflite"
    path.write_bytes(tiny_artifact(variant="float32"))
    return _answers(path)


def _strike(path, *, seconds=60):
    """The end of a process in which the model answers one row that strikes."""
    cells = map(str, striking_row())
    return subprocess.run(
        [sys.executable, "-c", _STRIKE, path, *cells],
        timeout=seconds,
        check=False,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    ).returncode


@pytest.mark.parametrize("bad", [Bad.SLOW, Bad.CRASHING_ON_INPUT, Bad.HANGING_ON_INPUT, Bad.WRONG, Bad.LARGE])
def test_what_goes_wrong_later_passes_its_probe(placed, bad):
    assert run_probe(placed(bad), None).reason is Reason.NONE


@pytest.mark.parametrize("bad", [Bad.SLOW, Bad.CRASHING_ON_INPUT, Bad.HANGING_ON_INPUT, Bad.LARGE])
def test_it_answers_as_the_good_model_until_it_is_struck(placed, tmp_path, bad):
    assert _answers(placed(bad)) == _good(tmp_path)


def test_the_wrong_one_is_wrong_about_every_class(placed, tmp_path):
    assert not any(np.equal(_answers(placed(Bad.WRONG)), _good(tmp_path)))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors do that division")
def test_the_crashing_one_takes_its_process_along_at_a_row_that_strikes(placed):
    assert _strike(placed(Bad.CRASHING_ON_INPUT)) == -signal.SIGFPE


def test_the_hanging_one_does_not_come_back_from_a_row_that_strikes(placed):
    with pytest.raises(subprocess.TimeoutExpired):
        _strike(placed(Bad.HANGING_ON_INPUT), seconds=5)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors do that division")
def test_the_one_that_crashes_in_its_probe_is_a_failed_probe(placed):
    verdict = run_probe(placed(Bad.CRASHING), None)
    assert verdict.reason is Reason.PROBE
    assert "SIGFPE" in verdict.detail


def test_the_one_that_hangs_in_its_probe_is_a_failed_probe(placed, monkeypatch):
    monkeypatch.setattr(limits, "PROBE_TIMEOUT", timedelta(seconds=3))
    verdict = run_probe(placed(Bad.HANGING), None)
    assert verdict.reason is Reason.PROBE
    assert "hung" in verdict.detail
