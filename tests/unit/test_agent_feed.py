"""One deployment's thread: it follows what shall run and what is configured, and survives its source."""

import time
from collections.abc import Callable

import msgspec
import pytest

from device_agent.config import Deployment, Replay
from device_agent.feed import Checkpoint, Feed, Wiring
from device_agent.sources.replay import ReplaySource
from device_agent.store.slots import Slot
from device_agent.store.spool import Spool
from device_agent.updates import Running
from edgeops.digest import digest_bytes
from edgeops.errors import DatasetError
from edgeops.protocol.messages import Phase, Window, decode
from tests.golden.tiny import COLUMNS, tiny_artifact, tiny_rows

DEADLINE_S = 20.0


class Shelf:
    """Says what shall run, and remembers what a trial was told."""

    def __init__(self) -> None:
        self.now = Running(active=None, candidate=None)
        self.told: list[tuple[bool, str]] = []
        #: At this call it raises, as a broken disk would.
        self.breaks_at = 0

    def running(self) -> Running:
        return self.now

    def trial_inference(self, *, ok: bool, latency_us: int, detail: str = "") -> None:
        self.told.append((ok, detail))
        if len(self.told) == self.breaks_at:
            raise OSError("the state cannot be read")


class Fragile(ReplaySource):
    """A file that cannot be read as often as `failures` says."""

    failures = 0

    def select(self, columns) -> None:
        if Fragile.failures:
            Fragile.failures -= 1
            raise DatasetError("the sensor is away")
        super().select(columns)


class House:
    def __init__(self, folder) -> None:
        self.folder = folder
        self.shelf = Shelf()
        self.spool = Spool.open(folder / "spool.db")
        self.configuration = Deployment()
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
            sinks=lambda _name, _configuration: (),
            configuration=lambda _name: self.configuration,
        )
        self.feed = Feed("tiny-one", updates=self.shelf, spool=self.spool, wiring=wiring)
        self.feed.start()
        return self.feed

    def stop(self) -> None:
        if self.feed is not None:
            self.feed.stop(DEADLINE_S)
            self.feed = None

    def windows(self) -> list[Window]:
        records = [record for batch in self.spool.take(1000) for record in batch.body.records]
        return [decode(record.data, Window) for record in sorted(records, key=lambda record: record.seq)]

    def close(self) -> None:
        self.stop()
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
