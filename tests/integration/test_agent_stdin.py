"""Rows piped into a running agent, as a person does it."""

import os
import signal
import subprocess
import sys

import pytest

from device_agent.config import Deployment, PredictionMode, write_deployment
from edgeops import limits
from edgeops.protocol.messages import UpdateState
from tests.golden.tiny import COLUMNS, tiny_rows
from tests.integration.agent_rig import DEADLINE_S, DEPLOYMENT, Rig, eventually

pytestmark = [pytest.mark.slow, pytest.mark.processes]


class Feeder:
    """One `edgeops-agent feed` and what it said."""

    def __init__(self, rig, *options) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "device_agent.cli", "--state", str(rig.state.path), "feed", *options],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def write(self, *lines: str) -> None:
        self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self._process.stdin.flush()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Close its stdin; the exit code and what was said."""
        _, said = self._process.communicate(timeout=DEADLINE_S)
        return self._process.returncode, said.decode()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def feed(rig):
    feeders = []

    def start(*options):
        feeders.append(Feeder(rig, "--deployment", DEPLOYMENT, "--predictions", "all", *options))
        return feeders[-1]

    yield start
    for feeder in feeders:
        feeder.kill()


def installed(rig, *, start=None):
    """An agent with a committed model and no source."""
    digest, target = rig.server.publish_model()
    rig.play(40)
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    (start or rig.start_agent)()
    eventually(lambda: rig.committed(digest), what="the model is committed")
    eventually(rig.ended, what="the file is played")
    write_deployment(rig.state, DEPLOYMENT, Deployment(predictions=PredictionMode.ALL))
    return digest


def csv(count, *, first=0):
    rows, _ = tiny_rows(first + count)
    return [",".join(map(str, row)) for row in rows[first:].tolist()]


def source(rig):
    return rig.status()["deployments"][0]["source"]


def test_rows_from_stdin_are_answered_as_they_come_and_bad_lines_are_named(rig, feed):
    installed(rig)
    feeder = feed()
    feeder.write(",".join(["id", "label", *COLUMNS]), *[f"a{at},secret,{row}" for at, row in enumerate(csv(30))])
    eventually(lambda: {f"a{at}" for at in range(30)} <= set(rig.server.predictions()), what="answers while it is open")
    feeder.write("a30,secret,1,2,3", "a31,secret,1,2,3,warm", *[f"b{at},x,{row}" for at, row in enumerate(csv(5))])
    code, said = feeder.end()
    assert code == 0
    assert "stdin, line 32: 5 cells, the header has 6" in said
    assert "stdin, line 33, column x4: 'warm' is not a number" in said
    assert "took 35 rows, 2 lines were no rows" in said
    eventually(lambda: rig.server.rows() == 75, what="every row in an acknowledged window")
    eventually(lambda: {f"b{at}" for at in range(5)} <= set(rig.server.predictions()), what="every answer")
    assert rig.status()["counters"]["source.refused-lines"] == 2
    assert source(rig) == "ended"


def test_an_idle_stream_closes_its_window_and_goes_on(rig, feed):
    installed(rig)
    feeder = feed("--columns", ",".join(COLUMNS))
    feeder.write(*csv(7))
    eventually(lambda: rig.server.rows() == 47, what=f"a window after {limits.WINDOW_IDLE}")
    assert source(rig) == "waiting for rows"
    feeder.write(*csv(3))
    assert "took 10 rows" in feeder.end()[1]
    eventually(lambda: rig.server.rows() == 50, what="the rest")


def test_two_streams_without_ids_never_share_one(rig, feed):
    installed(rig)
    for _ in range(2):
        feeder = feed("--format", "jsonl")
        rows, _ = tiny_rows(4)
        feeder.write(*[str(dict(zip(COLUMNS, row, strict=True))).replace("'", '"') for row in rows.tolist()])
        assert "took 4 rows" in feeder.end()[1]
    eventually(lambda: rig.server.rows() == 48, what="both streams")
    # Windows and predictions are records of their own and may arrive apart.
    eventually(lambda: len(rig.server.predictions()) == 48, what="an answer for every row")


def test_a_stream_waits_for_a_model_and_loses_no_row(rig, feed):
    digest, target = rig.server.publish_model()
    rig.start_agent()
    eventually(lambda: rig.server.state() is not None or rig.server.reported, what="the agent reports")
    feeder = feed()
    feeder.write(",".join(COLUMNS), *csv(300))
    eventually(lambda: rig.status()["deployments"], what="the deployment is set up")
    rig.server.desire(1, (DEPLOYMENT, digest, target))
    code, said = feeder.end()
    assert code == 0
    assert "waits for a model" in said
    assert "took 300 rows" in said
    eventually(lambda: rig.server.rows() == 300, what="every row is counted")
    eventually(lambda: rig.server.state().state is UpdateState.COMMITTED, what="the trial ran on the stream")


def test_one_source_at_a_time(rig, feed):
    installed(rig)
    first = feed("--columns", ",".join(COLUMNS))
    first.write(*csv(1))
    eventually(lambda: source(rig) in ("playing", "waiting for rows"), what="the first stream")
    code, said = feed("--columns", ",".join(COLUMNS)).end()
    assert code != 0
    assert "one source at a time" in said
    first.write(*csv(1))
    assert first.end()[0] == 0
    rig.play(20, run="run-2", loop=True, rate_hz=50)
    code, said = feed("--columns", ",".join(COLUMNS)).end()
    assert code != 0
    assert "edgeops-agent stop --deployment" in said


def test_a_stream_that_the_owner_stops_says_so(rig, feed):
    installed(rig)
    feeder = feed("--columns", ",".join(COLUMNS))
    feeder.write(*csv(3))
    eventually(lambda: rig.server.rows() == 43, what="its rows")
    stop = [
        sys.executable,
        "-m",
        "device_agent.cli",
        "--state",
        str(rig.state.path),
        "stop",
        "--deployment",
        DEPLOYMENT,
    ]
    subprocess.run(stop, check=True, capture_output=True)
    eventually(lambda: feeder._process.poll() is not None, what="the feeder ends by itself")
    code, said = feeder.end()
    assert code == 6
    assert "took 3 rows and no more: its owner stopped it" in said


def test_an_interrupted_stream_counts_what_was_read(rig, feed):
    installed(rig)
    feeder = feed("--columns", ",".join(COLUMNS))
    feeder.write(*csv(3))
    eventually(lambda: rig.server.rows() == 43, what="its rows")
    feeder.interrupt()
    assert "took 3 rows" in feeder.end()[1]


def test_an_agent_that_dies_is_told_from_one_that_stops(rig, feed):
    installed(rig)
    feeder = feed("--columns", ",".join(COLUMNS))
    feeder.write(*csv(3))
    eventually(lambda: rig.server.rows() == 43, what="its rows")
    os.kill(rig.agent.pid, signal.SIGKILL)
    rig.agent.wait(DEADLINE_S)
    code, said = feeder.end()
    assert code == 5
    assert "died" in said


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["x1,x2,x3", "1,2,3"], "lacks x4"),
        (["", "1,2,3,4"], "the first line names no columns"),
        ([",".join(COLUMNS), "a,b,c,d"], "line 2, column x1: 'a' is not a number"),
    ],
)
def test_a_stream_of_nothing_useful_fails_with_the_reason(rig, feed, lines, reason):
    installed(rig)
    feeder = feed()
    feeder.write(*lines)
    code, said = feeder.end()
    assert code == 1
    assert reason in said


def test_without_an_agent_the_error_says_what_to_start(rig, feed):
    feeder = feed()
    feeder.write(",".join(COLUMNS))
    code, said = feeder.end()
    assert code == 5
    assert "run" in said
