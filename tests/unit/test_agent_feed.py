"""One deployment's thread: it follows what shall run and what is configured, and survives its source."""

import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from device_agent.config import Deployment, Replay
from device_agent.feed import Checkpoint, Feed, Wiring
from device_agent.sources.replay import ReplaySource
from device_agent.sources.stream import StreamSource
from device_agent.store.slots import Slot
from device_agent.store.spool import Spool
from device_agent.store.tray import Tray
from device_agent.updates import Running
from edgeops import limits
from edgeops.artifact.manifest import ClockPart, InputWindow, MissingPolicy, TimeColumn
from edgeops.digest import digest_bytes
from edgeops.errors import ConflictError, DatasetError
from edgeops.protocol.messages import Phase, Window, decode
from tests.golden.tiny import COLUMNS, tiny_artifact, tiny_rows

DEADLINE_S = 20.0


class Shelf:
    """Says what shall run, and remembers what a trial was told."""

    def __init__(self) -> None:
        self.now = Running(active=None, candidate=None)
        self.told: list[tuple[bool, str]] = []
        self.starved: list[str] = []
        #: At this call it raises, as a broken disk would.
        self.breaks_at = 0

    def running(self) -> Running:
        return self.now

    def trial_inference(self, *, ok: bool, latency_us: int, detail: str = "") -> None:
        self.told.append((ok, detail))
        if len(self.told) == self.breaks_at:
            raise OSError("the state cannot be read")

    def trial_starves(self, why: str) -> None:
        self.starved.append(why)


class Fragile(ReplaySource):
    """A file that cannot be read as often as `failures` says."""

    failures = 0

    def offers(self) -> tuple[str, ...] | None:
        return None

    def select(self, columns, window=None) -> None:
        if Fragile.failures:
            Fragile.failures -= 1
            raise DatasetError("the sensor is away")
        super().select(columns, window)


class Ear:
    """A sink that remembers the channels of what it hears."""

    actuating = False
    dropped = 0

    def __init__(self) -> None:
        self.channels: list[list[float]] = []

    def take(self, _input_id, prediction, _now_ns) -> None:
        self.channels.append(prediction.channels.tolist())

    def begin(self, _digest, _phase) -> None:
        pass

    def tick(self, _now_ns) -> None:
        pass

    flush = rest = tick

    def close(self) -> None:
        pass


class House:
    def __init__(self, folder) -> None:
        self.folder = folder
        self.shelf = Shelf()
        self.spool = Spool.open(folder / "spool.db")
        self.tray = Tray(self.spool, settle=lambda _name: None)
        self.configuration = Deployment()
        self.now: datetime | None = None
        self.ears: list[Ear] = []
        self.feed: Feed | None = None

    def slot(self, data: bytes) -> Slot:
        path = self.folder / f"{digest_bytes(data)[-8:]}.tflite"
        path.write_bytes(data)
        return Slot(digest_bytes(data), path)

    def csv(self, rows: int, columns=COLUMNS) -> str:
        path = self.folder / "rows.csv"
        values, _ = tiny_rows(rows)
        path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in values.tolist())]))
        return str(path)

    def start(self) -> Feed:
        wiring = Wiring(
            source=lambda order: Fragile(self.folder / order.file, loop=order.loop),
            sinks=lambda _name, _configuration: tuple(self.ears),
            configuration=lambda _name: self.configuration,
            now=lambda: self.now,
        )
        self.feed = Feed("tiny-one", updates=self.shelf, tray=self.tray, wiring=wiring)
        self.feed.start()
        return self.feed

    def stop(self) -> None:
        if self.feed is not None:
            self.feed.stop(DEADLINE_S)
            assert self.tray.settled(DEADLINE_S)
            self.feed = None

    def windows(self) -> list[Window]:
        assert self.tray.settled(DEADLINE_S)
        records = [record for batch in self.spool.take(1000) for record in batch.body.records]
        return [decode(record.data, Window) for record in sorted(records, key=lambda record: record.seq)]

    def close(self) -> None:
        self.stop()
        self.tray.close(DEADLINE_S)
        self.spool.close()


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_file_is_played_to_its_end_and_every_row_is_in_a_window(house):
    house.shelf.now = Running(active=house.slot(tiny_artifact()), candidate=None)
    house.configuration = Deployment(source=Replay(file=house.csv(700), run="a"))
    feed = house.start()
    until(lambda: feed.source_state == "ended")
    assert sum(window.source_rows for window in house.windows()) == 700


def test_a_source_waits_for_a_model(house):
    house.configuration = Deployment(source=Replay(file=house.csv(10), run="a"))
    feed = house.start()
    until(lambda: feed.source_state == "waiting for a model")
    house.shelf.now = Running(active=house.slot(tiny_artifact()), candidate=None)
    feed.look_again()
    until(lambda: feed.source_state == "ended")
    assert feed.core.source_rows == 10


def test_a_stop_in_the_middle_goes_on_there_and_another_order_begins_anew(house):
    house.shelf.now = Running(active=house.slot(tiny_artifact()), candidate=None)
    order = Replay(file=house.csv(400), run="a", rate_hz=500.0)
    house.configuration = Deployment(source=order)
    feed = house.start()
    until(lambda: feed.core.source_rows > 20)
    house.stop()
    stored = msgspec.msgpack.decode(house.spool.checkpoint("tiny-one"), type=Checkpoint)
    assert stored == Checkpoint("a", feed.core.totals.source_rows)
    feed = house.start()
    until(lambda: feed.source_state == "ended")
    assert sum(window.source_rows for window in house.windows()) == 400
    house.configuration = Deployment(source=Replay(file=order.file, run="b"))
    feed.look_again()
    until(lambda: feed.core.source_rows == 400 - stored.position + 400)


def test_a_source_that_fails_is_counted_and_tried_again(house):
    Fragile.failures = 1
    house.shelf.now = Running(active=house.slot(tiny_artifact()), candidate=None)
    house.configuration = Deployment(source=Replay(file=house.csv(10), run="a"))
    feed = house.start()
    until(lambda: feed.source_errors == 1)
    assert "the sensor is away" in feed.source_state
    assert house.shelf.starved == ["the sensor is away"], "a trial that gets no input says why"
    until(lambda: feed.source_state == "ended")
    assert feed.core.source_rows == 10


def test_a_candidate_answers_in_trial_and_is_told_of(house):
    active, candidate = house.slot(tiny_artifact(version=1)), house.slot(tiny_artifact(version=2))
    house.shelf.now = Running(active=active, candidate=candidate)
    house.configuration = Deployment(source=Replay(file=house.csv(30), run="a"))
    feed = house.start()
    until(lambda: feed.source_state == "ended")
    assert house.shelf.told == [(True, "")] * 30
    assert [window.phase for window in house.windows()] == [Phase.TRIAL]


def test_a_candidate_that_does_not_load_fails_its_trial_and_the_incumbent_goes_on(house):
    active = house.slot(tiny_artifact(version=1))
    broken = house.slot(b"no model")
    house.shelf.now = Running(active=active, candidate=broken)
    house.configuration = Deployment(source=Replay(file=house.csv(30), run="a"))
    feed = house.start()
    until(lambda: feed.source_state == "ended")
    assert [ok for ok, _ in house.shelf.told] == [False]
    assert [window.phase for window in house.windows()] == [Phase.LIVE]


def test_a_missing_column_is_named_and_nothing_is_answered(house):
    house.shelf.now = Running(active=house.slot(tiny_artifact()), candidate=None)
    house.configuration = Deployment(source=Replay(file=house.csv(5, ("x1", "x2", "x3", "label")), run="a"))
    feed = house.start()
    until(lambda: feed.source_errors > 0)
    assert "lacks x4" in feed.source_state
    assert feed.core.source_rows == 0


def test_a_model_taken_away_stops_the_source_without_losing_a_row(house):
    slot = house.slot(tiny_artifact())
    house.shelf.now = Running(active=slot, candidate=None)
    house.configuration = Deployment(source=Replay(file=house.csv(300), run="a", rate_hz=400.0))
    feed = house.start()
    until(lambda: feed.core.source_rows > 5)
    house.shelf.now = Running(active=None, candidate=None)
    feed.look_again()
    until(lambda: feed.core.charge is None)
    house.shelf.now = Running(active=slot, candidate=None)
    feed.look_again()
    until(lambda: feed.source_state == "ended")
    assert sum(window.source_rows for window in house.windows()) == 300


def test_an_error_between_two_rows_skips_none(house):
    house.shelf.breaks_at = 7
    house.shelf.now = Running(active=None, candidate=house.slot(tiny_artifact()))
    house.configuration = Deployment(source=Replay(file=house.csv(100), run="a"))
    feed = house.start()
    until(lambda: feed.source_state == "ended")
    assert feed.source_errors == 1
    assert sum(window.source_rows for window in house.windows()) == 100


def test_a_model_that_did_not_load_is_tried_again(house):
    data = tiny_artifact()
    slot = house.slot(data)
    slot.path.unlink()
    house.shelf.now = Running(active=slot, candidate=None)
    house.configuration = Deployment(source=Replay(file=house.csv(10), run="a"))
    feed = house.start()
    until(lambda: feed.model_errors > 0)
    slot.path.write_bytes(data)
    until(lambda: feed.source_state == "ended")
    assert feed.core.source_rows == 10


def test_a_candidate_is_tried_although_the_active_model_does_not_load(house):
    house.shelf.now = Running(active=house.slot(b"no model"), candidate=house.slot(tiny_artifact()))
    house.configuration = Deployment(source=Replay(file=house.csv(200), run="a"))
    feed = house.start()
    until(lambda: feed.source_state == "ended")
    assert house.shelf.told == [(True, "")] * 200


class Stream:
    """Both ends of a live source."""

    def __init__(self) -> None:
        self.writer, reader = socket.socketpair()
        self.source = StreamSource(reader, run="run-1", header=COLUMNS, line=2)

    def write(self, rows: int) -> None:
        values, _ = tiny_rows(rows)
        self.writer.sendall("".join(",".join(map(str, row)) + "\n" for row in values.tolist()).encode())

    def end(self) -> None:
        self.writer.shutdown(socket.SHUT_WR)

    def told(self) -> list[dict]:
        """What the writer hears until its stream is closed."""
        self.writer.settimeout(DEADLINE_S)
        with self.writer.makefile("rb") as file:
            return [json.loads(line) for line in file]


@pytest.fixture
def stream():
    stream = Stream()
    yield stream
    stream.writer.close()
    stream.source.close("")


def fed(house, stream):
    """A feed with a model that takes its rows from the stream."""
    house.shelf.now = Running(active=house.slot(tiny_artifact()), candidate=None)
    feed = house.start()
    feed.attach(stream.source, run="run-1")
    return feed


def test_a_live_source_is_played_to_its_end_whatever_waits_for_the_server(house, stream, monkeypatch):
    monkeypatch.setattr(limits, "MAX_REPLAY_PENDING", -1)
    feed = fed(house, stream)
    stream.write(700)
    stream.end()
    until(lambda: feed.source_state == "ended")
    assert sum(window.source_rows for window in house.windows()) == 700
    assert stream.told() == [{"ended": "", "rows": 700, "refused": 0}]


def test_a_live_source_goes_on_with_the_next_model_without_losing_a_row(house, stream):
    feed = fed(house, stream)
    stream.write(400)
    until(lambda: feed.core.source_rows > 5)
    house.shelf.now = Running(active=house.slot(tiny_artifact(version=2)), candidate=None)
    feed.look_again()
    stream.write(300)
    stream.end()
    until(lambda: feed.source_state == "ended")
    assert sum(window.source_rows for window in house.windows()) == 700


def test_a_second_source_is_refused_and_after_the_end_of_the_first_one_taken(house, stream):
    feed = fed(house, stream)
    other = Stream()
    with pytest.raises(ConflictError, match="one source at a time"):
        feed.attach(other.source, run="run-2")
    stream.end()
    until(lambda: feed.source_state == "ended")
    feed.attach(other.source, run="run-2")
    other.write(3)
    other.end()
    assert other.told()[-1]["rows"] == 3
    other.writer.close()


def test_a_replay_ends_a_live_source_and_says_so(house, stream):
    feed = fed(house, stream)
    stream.write(20)
    until(lambda: feed.core.source_rows == 20)
    house.configuration = Deployment(source=Replay(file=house.csv(30), run="a"))
    feed.look_again()
    assert "is replayed now" in stream.told()[-1]["ended"]
    until(lambda: feed.source_state == "ended")
    assert sum(window.source_rows for window in house.windows()) == 50
    with pytest.raises(ConflictError, match="edgeops-agent stop"):
        feed.attach(stream.source, run="run-2")


def test_an_agent_that_stops_tells_whoever_feeds_it(house, stream):
    feed = fed(house, stream)
    stream.write(20)
    until(lambda: feed.core.source_rows == 20)
    house.stop()
    assert stream.told() == [{"ended": "the agent stopped", "rows": 20, "refused": 0}]


def test_refused_lines_of_all_streams_are_counted(house, stream):
    feed = fed(house, stream)
    stream.writer.sendall(b"bad\nworse\n")
    until(lambda: feed.refused_lines == 2)
    stream.end()
    until(lambda: feed.source_state == "ended")
    assert feed.refused_lines == 2


def test_the_pool_is_asked_for_from_another_thread_while_rows_come(house):
    slot = house.slot(tiny_artifact())
    house.shelf.now = Running(active=slot, candidate=None)
    house.configuration = Deployment(source=Replay(file=house.csv(200), run="a", loop=True))
    feed = house.start()
    until(lambda: feed.core.source_rows > 50)
    for _ in range(20):
        pooled = feed.pooled(slot.digest, within_ns=None, timeout_s=DEADLINE_S)
        times = [entry.at_ns for entry in pooled.entries]
        assert times == sorted(times)
    assert len(times) > 50


def test_a_question_that_comes_too_late_is_not_waited_for_for_ever(house):
    feed = house.start()
    house.stop()
    with pytest.raises(TimeoutError):
        feed.pooled("sha256:" + "0" * 64, within_ns=None, timeout_s=0.05)


def test_an_owner_who_forbids_samples_is_obeyed_at_once(house):
    slot = house.slot(tiny_artifact())
    house.shelf.now = Running(active=slot, candidate=None)
    house.configuration = Deployment(source=Replay(file=house.csv(60), run="a"))
    feed = house.start()
    until(lambda: feed.source_state == "ended")
    assert len(feed.pooled(slot.digest, within_ns=None, timeout_s=DEADLINE_S).entries) == 60
    house.configuration = Deployment(source=house.configuration.source, samples=False)
    feed.look_again()
    assert "forbids" in feed.pooled(slot.digest, within_ns=None, timeout_s=DEADLINE_S).reason


def clock_model(house):
    time_column = TimeColumn(name="at")
    window = InputWindow(columns=(*COLUMNS[:2], "hour-sin", "hour-cos"), time=time_column, clock=(ClockPart.HOUR,))
    return house.slot(tiny_artifact(window=window, missing=MissingPolicy.REFUSE))


@pytest.mark.parametrize(("now", "errors"), [(datetime(2026, 3, 1, 6, tzinfo=UTC), 0), (None, 20)])
def test_a_row_of_a_live_source_is_of_now_if_the_device_knows_what_time_it_is(house, stream, now, errors):
    house.now, house.ears = now, [Ear()]
    house.shelf.now = Running(active=clock_model(house), candidate=None)
    feed = house.start()
    feed.attach(stream.source, run="run-1")
    stream.write(20)
    stream.end()
    until(lambda: feed.source_state == "ended")
    (window,) = house.windows()
    assert (window.rows, window.errors) == (20 - errors, errors)
    assert [row[2:4] for row in house.ears[0].channels] == [pytest.approx([1, 0], abs=0.01)] * window.rows
