"""A deployment's thread and its shadow: begun, paired, given up and ended without a break in the answers."""

import os
import threading
import time

import numpy as np
import pytest
from msgspec.structs import replace

from device_agent.config import Deployment, Replay
from device_agent.pairing import Answered
from device_agent.shadow import ShadowThread
from device_agent.updates import Running
from edgeops.digest import digest_from_raw
from edgeops.model.model import Model
from edgeops.protocol.messages import Phase, Shadowing
from tests.golden.tiny import COLUMNS, tiny_artifact
from tests.unit.test_agent_feed import DEADLINE_S, House, until

ALL = Shadowing(share=1.0, cpu=1.0, for_ms=600_000, window_ms=1_000)
MODELS = {version: tiny_artifact(version=version) for version in (1, 2)}


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def slots(house):
    return [house.slot(data) for data in MODELS.values()]


def play(house, rows=200, *, rate_hz=None, columns=COLUMNS, run="a"):
    order = Replay(file=house.csv(rows, columns), run=run, loop=rate_hz is not None, rate_hz=rate_hz)
    house.configuration = Deployment(source=order)


def shadow_of(feed) -> str | None:
    shadow = feed.core.shadow
    return None if shadow is None else shadow.charge.digest


def bakes(slots, **changes) -> Running:
    old, new = slots
    return Running(active=new, candidate=None, shadow=old, shadowing=replace(ALL, **changes))


def test_in_trial_the_incumbent_is_paired_with_the_candidate(house, slots):
    old, new = slots
    house.shelf.now = Running(active=old, candidate=new, shadow=old, shadowing=ALL)
    play(house)
    feed = house.start()
    until(lambda: feed.source_state == "ended")
    windows = house.windows()
    assert house.shelf.told == [(True, "")] * 200
    assert {(window.phase, digest_from_raw(window.paired.shadow)) for window in windows} == {(Phase.TRIAL, old.digest)}
    assert sum(window.paired.rows for window in windows) == 200


def test_a_candidate_that_does_not_load_makes_the_incumbent_no_shadow_of_its_own(house, slots):
    old = slots[0]
    house.shelf.now = Running(active=old, candidate=house.slot(b"no model"), shadow=old, shadowing=ALL)
    play(house)
    feed = house.start()
    until(lambda: feed.source_state == "ended")
    assert [ok for ok, _ in house.shelf.told] == [False]
    assert [window.paired for window in house.windows()] == [None]


def test_after_the_commit_the_model_before_it_goes_on_as_shadow_and_no_input_is_lost(house, slots):
    old, new = slots
    house.shelf.now = Running(active=old, candidate=new, shadow=old, shadowing=ALL)
    play(house, rate_hz=400.0)
    feed = house.start()
    until(lambda: feed.core.source_rows > 100)
    house.shelf.now = bakes(slots)
    feed.look_again()
    until(lambda: feed.core.charge.phase is Phase.LIVE and feed.core.source_rows > 200)
    assert shadow_of(feed) == old.digest
    house.shelf.now = Running(active=new, candidate=None)
    feed.look_again()
    until(lambda: feed.core.shadow is None)
    assert list(feed._models) == [new.digest], "its memory is given back"
    house.stop()
    windows = house.windows()
    assert sum(window.rows for window in windows) == sum(window.source_rows for window in windows)
    live = [window for window in windows if window.phase is Phase.LIVE]
    assert sum(window.paired.rows for window in live if window.paired) > 50
    assert live[-1].paired is None or live[-1].paired.rows <= live[-1].rows


def test_inputs_are_answered_while_a_shadow_is_loaded(house, slots):
    old, new = slots
    house.shelf.now = Running(active=new, candidate=None)
    play(house, rate_hz=400.0)
    feed = house.start()
    until(lambda: feed.core.source_rows > 20)
    # Its reader waits, as behind a slow card, for somebody who writes.
    old.path.unlink()
    os.mkfifo(old.path)
    house.shelf.now = bakes(slots)
    feed.look_again()
    answered = feed.core.source_rows
    until(lambda: feed.core.source_rows > answered + 100)
    assert (feed.core.shadow, feed.shadows.given_up) == (None, 0)
    old.path.write_bytes(b"no model")
    until(lambda: feed.shadows.given_up == 1)


def test_a_shadow_is_begun_in_the_middle_of_a_source(house, slots):
    old, new = slots
    house.shelf.now = Running(active=new, candidate=None)
    play(house, rate_hz=400.0)
    feed = house.start()
    until(lambda: feed.core.source_rows > 20)
    house.shelf.now = bakes(slots)
    feed.look_again()
    until(lambda: shadow_of(feed) == old.digest)
    answered = feed.core.source_rows
    until(lambda: feed.core.source_rows > answered + 100)
    house.stop()
    assert sum(window.paired.rows for window in house.windows() if window.paired) > 50


@pytest.mark.parametrize("data", [b"no model", MODELS[2]])
def test_a_shadow_that_is_not_what_it_was_is_given_up_and_the_model_in_charge_goes_on(house, slots, data):
    slots[0].path.write_bytes(data)
    house.shelf.now = bakes(slots)
    play(house)
    feed = house.start()
    until(lambda: feed.source_state == "ended")
    until(lambda: feed.shadows.given_up == 1)
    windows = house.windows()
    assert sum(window.rows for window in windows) == 200
    assert all(window.paired is None for window in windows)


def test_one_that_was_given_up_is_tried_again_when_it_is_wanted_anew(house, slots):
    data = slots[0].path.read_bytes()
    slots[0].path.write_bytes(b"no model")
    house.shelf.now = bakes(slots)
    feed = house.start()
    until(lambda: feed.shadows.given_up == 1)
    slots[0].path.write_bytes(data)
    house.shelf.now = Running(active=slots[1], candidate=None)
    feed.look_again()
    until(lambda: feed.shadows._refused is None)
    house.shelf.now = bakes(slots)
    feed.look_again()
    until(lambda: shadow_of(feed) == slots[0].digest)


def test_a_source_that_lacks_what_only_the_shadow_reads_goes_on_without_it(house, slots):
    old = slots[0]
    model = Model.load(old.path)
    model.manifest = replace(model.manifest, window=replace(model.manifest.window, columns=("x1", "x2", "x3", "x9")))
    play(house)
    feed = house.start()
    feed._models[old.digest] = model
    house.shelf.now = bakes(slots)
    feed.look_again()
    until(lambda: feed.source_state == "ended")
    assert (feed.shadows.given_up, feed.source_errors) == (1, 0)
    assert sum(window.rows for window in house.windows()) == 200


def test_windows_close_early_without_a_shadow_too(house, slots):
    house.shelf.now = Running(active=slots[1], candidate=None, shadowing=replace(ALL, share=0.0))
    play(house, rate_hz=50.0)
    feed = house.start()
    until(lambda: feed.core.totals.windows >= 2)
    house.stop()
    windows = house.windows()[:2]
    assert all(window.paired is None and window.duration_ms < 5_000 for window in windows)


# -- the thread -----------------------------------------------------------------------------------


class Slow:
    """A model that answers when it is let."""

    clock = None

    def __init__(self) -> None:
        self.let = threading.Event()
        self.fails: Exception | None = None

    def predict(self, window):
        self.let.wait(DEADLINE_S)
        if self.fails is not None:
            raise self.fails
        return window


def thread_of(model, slot) -> ShadowThread:
    return ShadowThread(slot, model=model, on_news=lambda: None)


WINDOW = np.zeros((1, 4), np.float32)


def test_who_asks_waits_for_the_answer_and_learns_how_long_it_took(slots):
    model = Slow()
    thread = thread_of(model, slots[0])
    timer = threading.Timer(0.05, model.let.set)
    timer.start()
    answered = thread.ask(WINDOW, patience_ns=10**10)
    assert isinstance(answered, Answered)
    assert answered.prediction is WINDOW
    assert 10_000_000 <= answered.took_ns < 10**10
    model.fails = RuntimeError("it broke")
    assert thread.ask(WINDOW, patience_ns=10**10).error is model.fails
    assert not thread.hangs
    thread.end()


def test_who_asks_one_that_hangs_waits_no_longer_than_it_has_patience(slots):
    model = Slow()
    thread = thread_of(model, slots[0])
    began = time.monotonic()
    assert thread.ask(WINDOW, patience_ns=50_000_000) is None
    assert time.monotonic() - began < DEADLINE_S / 2
    assert thread.hangs
    model.let.set()
    thread.end()


def test_a_shadow_that_hangs_is_left_alone_and_who_needs_its_model_loads_it_anew(house, slots):
    old, new = slots
    house.shelf.now = Running(active=new, candidate=None)
    play(house, rate_hz=400.0)
    feed = house.start()
    until(lambda: feed.core.source_rows > 20)
    stuck, real = Slow(), feed.core.charge.model
    stuck.manifest, stuck.reference = real.manifest, real.reference
    feed._models[old.digest] = stuck
    house.shelf.now = Running(active=old, candidate=new, shadow=old, shadowing=ALL)
    feed.look_again()
    until(lambda: feed.shadows.given_up == 1)
    answered = feed.core.source_rows
    until(lambda: feed.core.source_rows > answered + 100)
    assert feed.core.shadow is None
    assert isinstance(feed._models[old.digest], Model)
    house.shelf.now = Running(active=old, candidate=None)
    feed.look_again()
    until(lambda: feed.core.charge.digest == old.digest)
    answered = feed.core.source_rows
    until(lambda: feed.core.source_rows > answered + 20)
    stuck.let.set()
    house.stop()
    windows = house.windows()
    assert sum(window.errors for window in windows) == 0
    assert sum(window.paired.shadow_errors for window in windows if window.paired) == 1
