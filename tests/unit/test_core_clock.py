"""A model that reads the hour gets it from the moment of a row, whatever the source is."""

import csv
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from device_agent.core import DeploymentCore
from device_agent.judging import Summary, answers
from device_agent.lane import Charge
from device_agent.sinks.sink import Sink
from device_agent.sources.replay import ReplaySource
from device_agent.sources.stream import StreamSource
from device_agent.store.spool import Spool
from edgeops.artifact.manifest import ClockPart, InputWindow, MissingPolicy, TimeColumn
from edgeops.digest import digest_bytes
from edgeops.errors import DatasetError
from edgeops.model.clock import ClockColumns
from edgeops.model.model import Model
from edgeops.protocol.messages import Phase
from tests.golden.tiny import tiny_artifact

AT = TimeColumn(name="at", zone="Europe/Brussels")
WINDOW = InputWindow(columns=("x1", "x2", "hour-sin", "hour-cos"), time=AT, clock=(ClockPart.HOUR,))
#: As loggers write them: local, with an offset, as a number, and not at all.
WRITTEN = ("2026-03-02 07:00:00", "2026-03-02T07:00:00+01:00", "1772431200", "")
SIX_UTC_NS = 1_772_431_200 * 10**9
HOURS = ClockColumns((ClockPart.HOUR,), zone=AT.zone)


def model_at(folder: Path, **options) -> Model:
    path = folder / "clock.tflite"
    path.write_bytes(tiny_artifact(window=WINDOW, **options))
    return Model.load(path)


def csv_at(folder: Path) -> Path:
    path = folder / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("x1", "at", "x2"), *(("1", at, "2") for at in WRITTEN)])
    return path


def test_a_file_tells_when_its_rows_were_measured_however_that_is_written(tmp_path):
    source = ReplaySource(csv_at(tmp_path))
    source.select(WINDOW.measured, WINDOW)
    rows = source.read(10)
    assert rows.values.tolist() == [[1, 2]] * 4
    assert rows.moments_ns == [SIX_UTC_NS] * 3 + [None]
    assert rows.at_ns == rows.moments_ns


def test_json_lines_and_arrays_tell_it_too(tmp_path):
    lines, arrays = tmp_path / "rows.jsonl", tmp_path / "rows.npz"
    lines.write_text('{"x1": 1, "x2": 2, "at": 1772431200.5}\n{"x1": 1, "x2": 2}\n')
    moments = np.array([SIX_UTC_NS, np.iinfo(np.int64).min]).astype("datetime64[ns]")
    np.savez(arrays, X=np.ones((2, 2)), columns=np.array(["x2", "x1"]), at=moments)
    for path, first in ((lines, SIX_UTC_NS + 5 * 10**8), (arrays, SIX_UTC_NS)):
        source = ReplaySource(path)
        source.select(WINDOW.measured, WINDOW)
        assert source.read(10).moments_ns == [first, None]


def test_a_moment_that_is_none_is_named_with_its_place(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x1,x2,at\n1,2,noon\n")
    with pytest.raises(DatasetError, match="line 2, column at: 'noon' is no moment"):
        ReplaySource(path).select(WINDOW.measured, WINDOW)


class Ear:
    """A sink that remembers the channels of what it hears."""

    actuating = False
    dropped = 0

    def __init__(self) -> None:
        self.channels = []

    def take(self, _input_id, prediction, _now_ns) -> None:
        self.channels.append(prediction.channels)

    def begin(self, _digest, _phase) -> None:
        pass

    def tick(self, _now_ns) -> None:
        pass

    flush = rest = tick

    def close(self) -> None:
        pass


@pytest.fixture
def core(tmp_path):
    spool = Spool.open(tmp_path / "spool.db")
    core = DeploymentCore("one", keeper=spool, clock_ns=time.perf_counter_ns, trial=lambda **_: None)
    yield core
    spool.close()


def put(core: DeploymentCore, model: Model) -> Ear:
    ear = Ear()
    sink: Sink = ear
    core.use_sinks((sink,))
    core.put_in_charge(Charge(digest_bytes(b"clock"), Phase.LIVE, model))
    return ear


def test_a_row_is_answered_with_the_hour_of_its_moment_and_no_source_has_that_column(core, tmp_path):
    model = model_at(tmp_path)
    ear = put(core, model)
    assert (core.columns, core.window) == (("x1", "x2"), WINDOW)
    core.take(np.array([1, 2], np.float32), "a", 1, moment_ns=SIX_UTC_NS)
    assert ear.channels[0][:4].tolist() == [1, 2, *HOURS.row(SIX_UTC_NS).tolist()]
    model.close()


@pytest.mark.parametrize(("missing", "errors"), [(MissingPolicy.REFUSE, 1), (MissingPolicy.NEUTRAL, 0)])
def test_where_nobody_knows_the_time_the_missing_policy_says_what_becomes_of_a_row(core, tmp_path, missing, errors):
    model = model_at(tmp_path, missing=missing)
    ear = put(core, model)
    core.take(np.array([1, 2], np.float32), "a", 1)
    core.close_window()
    assert (core.totals.errors, len(ear.channels)) == (errors, 1 - errors)
    if errors:
        assert "2 missing values in hour-sin, hour-cos" in core.totals.detail
    model.close()


def test_a_file_is_judged_with_the_hours_of_its_rows(tmp_path):
    model, summary = model_at(tmp_path, missing=MissingPolicy.REFUSE), Summary()
    assert len(list(answers(model, csv_at(tmp_path), summary))) == 3
    assert (summary.errors, "hour-sin" in summary.last_error) == (1, True)
    model.close()


def test_a_stream_does_not_say_when_its_rows_were_measured():
    writer, reader = socket.socketpair()
    source = StreamSource(reader, run="run", header=("at", "x1", "x2"))
    source.select(WINDOW.measured, WINDOW)
    writer.sendall(b"2026-03-02 07:00:00,1,2\n")
    rows = source.read(1)
    assert rows.values.tolist() == [[1, 2]]
    assert rows.moments_ns is None
    source.close("")
    writer.close()
