"""A real agent whose committed model ends it at each start, by SIGSEGV: it falls back by itself, and says so."""

import signal

import pytest

from edgeops import limits
from edgeops.digest import digest_hex, digest_raw
from edgeops.protocol import messages
from edgeops.protocol.messages import Reason, UpdateState
from edgeops.protocol.topics import UpKind
from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually

pytestmark = [pytest.mark.slow, pytest.mark.long]

#: Runs first in every process of the agent: where `DEADLY` is active, whoever loads it to answer reads address 0.
_CRASH = """
import os, sys, threading

def _look(event, arguments):
    if event != "open" or not threading.current_thread().name.startswith("feed-"):
        return
    deadly, pointer = os.environ["DEADLY"], os.environ["POINTER"]
    if deadly in str(arguments[0]):
        with open(pointer) as file:
            is_active = deadly in file.read().split("previous")[0]
        if is_active:
            import ctypes
            ctypes.string_at(0)

if "run" in sys.orig_argv:
    sys.addaudithook(_look)
"""


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path / "site")
    yield rig
    rig.close()


def test_a_committed_model_that_ends_the_agent_at_each_start_gives_way_to_the_one_before(rig, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(_CRASH)
    first, second = rig.server.publish_model(version=1), rig.server.publish_model(version=2)
    settings = {
        "PYTHONPATH": str(tmp_path),
        "DEADLY": digest_hex(second[0]),
        "POINTER": str(rig.state.deployment(DEPLOYMENT) / "pointer.json"),
    }
    rig.play(500, rate_hz=50, loop=True)
    rig.start_agent(**settings)
    for revision, model in ((1, first), (2, second)):
        rig.server.desire(revision, (DEPLOYMENT, *model))
        eventually(lambda model=model: rig.committed(model[0]), what="it is committed")
    assert rig.stop_agent() == 0

    for _ in range(limits.ACTIVE_STARTS):
        rig.start_agent(**settings)
        eventually(rig.died, what="the model ends it")
        assert rig.agent.returncode == -signal.SIGSEGV
    rig.server.reported.clear()
    before = set(rig.server.records)
    rig.start_agent(**settings)
    told = eventually(rig.server.state, what="it is in contact")
    assert (told.state, told.reason, told.active) == (UpdateState.ROLLED_BACK, Reason.CRASHES, first[0])
    assert (told.instead_of, told.fallen) == (second[0], True)
    eventually(lambda: digest_raw(first[0]) in _answerers(rig, before), what="the model before answers")

    # What the server repeats of the same installation does not bring it back; another one does.
    rig.server.desire(3, (DEPLOYMENT, *second), installation="inst-2")
    eventually(lambda: rig.server.reported[-1].desired_revision == 3, what="it heard that")
    assert (rig.server.state().state, rig.server.state().active) == (UpdateState.ROLLED_BACK, first[0])
    rig.server.desire(4, (DEPLOYMENT, *second), installation="inst-4")
    eventually(lambda: rig.server.state().candidate == second[0], what="somebody wants it all the same")
    assert rig.stop_agent() == 0


def _answerers(rig, since):
    """The models that answered in records beyond those of `since`."""
    news = [rig.server.records[key] for key in set(rig.server.records) - since]
    found = [messages.decode(data, messages.Predictions) for kind, data in news if kind is UpKind.PREDICTIONS]
    return {one.digest for one in found}
