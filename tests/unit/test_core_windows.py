"""What one deployment makes of rows: windows, checkpoints, phases, and who hears a candidate."""

from pathlib import Path

import numpy as np
import pytest

from device_agent.core import DeploymentCore
from device_agent.lane import Charge
from device_agent.pairing import percentiles_us
from device_agent.store.spool import Spool
from edgeops import limits
from edgeops.artifact.manifest import MissingPolicy
from edgeops.digest import digest_bytes, digest_from_raw
from edgeops.model.model import Model
from edgeops.protocol.messages import Phase, Window, decode
from edgeops.sketch.packing import unpack
from tests.golden.tiny import tiny_artifact, tiny_rows

SECOND = 1_000_000_000


class MovedClock:
    """Nanoseconds that pass only when a test says so, but for a microsecond per look."""

    def __init__(self) -> None:
        self.now_ns = 10 * SECOND

    def __call__(self) -> int:
        self.now_ns += 1_000
        return self.now_ns


class Trial:
    def __init__(self) -> None:
        self.told: list[bool] = []

    def __call__(self, *, ok: bool, latency_us: int, detail: str = "") -> None:
        assert latency_us >= 0
        assert ok or detail
        self.told.append(ok)


SAFE = ("no model", None, "safe output")


class Ear:
    """A sink that remembers; it breaks for as long as `broken` says."""

    dropped = 0
    closed = False

    def __init__(self, *, actuating: bool = False) -> None:
        self.actuating = actuating
        self.broken = False
        self.heard: list[tuple[str, Phase, str]] = []
        self.flushes = 0

    def begin(self, digest: str, phase: Phase) -> None:
        self._digest, self._phase = digest, phase

    def take(self, input_id: str, prediction, now_ns: int) -> None:
        if self.broken:
            raise OSError("the world is away")
        self.heard.append((self._digest, self._phase, input_id))

    def tick(self, now_ns: int) -> None:
        pass

    def flush(self, now_ns: int) -> None:
        self.flushes += 1

    def rest(self, now_ns: int) -> None:
        if self.broken:
            raise OSError("the world is away")
        self.heard.append(SAFE)

    def close(self) -> None:
        self.closed = True


class Bench:
    """A core on a real spool with real models."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = MovedClock()
        self.trial = Trial()
        self.spool = Spool.open(folder / "spool.db")
        self.core = DeploymentCore("tiny-one", keeper=self.spool, clock_ns=self.clock, trial=self.trial)
        self.core.use_source(0, lambda position: b"%d" % position)
        self.rows, _ = tiny_rows(2000)
        self._models: list[Model] = []

    def charge(self, version: int = 1, phase: Phase = Phase.LIVE, **options) -> Charge:
        data = tiny_artifact(version=version, **options)
        path = self.folder / f"{version}.tflite"
        path.write_bytes(data)
        model = Model.load(path)
        self._models.append(model)
        return Charge(digest_bytes(data), phase, model)

    def play(self, count: int) -> None:
        first = self.core.position
        for at in range(first, first + count):
            self.core.take(self.rows[at % len(self.rows)], str(at), at + 1)

    def windows(self) -> list[Window]:
        records = [record for batch in self.spool.take(1000) for record in batch.body.records]
        return [decode(record.data, Window) for record in sorted(records, key=lambda record: record.seq)]

    def close(self) -> None:
        for model in self._models:
            model.close()
        self.spool.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_window_closes_at_its_rows_and_carries_the_checkpoint(bench):
    charge = bench.charge()
    bench.core.put_in_charge(charge)
    bench.play(limits.WINDOW_ROWS - 1)
    assert bench.spool.pending == 0
    bench.play(2)
    assert bench.spool.checkpoint("tiny-one") == b"%d" % limits.WINDOW_ROWS
    (window,) = bench.windows()
    assert (window.deployment, digest_from_raw(window.digest), window.phase) == ("tiny-one", charge.digest, Phase.LIVE)
    assert (window.rows, window.source_rows, window.errors) == (limits.WINDOW_ROWS, limits.WINDOW_ROWS, 0)
    assert window.latency_p50_us == window.latency_p95_us == 1
    sketch = unpack(window.sketch)
    assert sketch.rows == limits.WINDOW_ROWS
    assert sketch.channels == len(charge.model.manifest.channels)


def test_an_idle_source_closes_the_window_early(bench):
    bench.core.put_in_charge(bench.charge())
    bench.play(7)
    bench.core.tick()
    assert bench.spool.pending == 0
    bench.clock.now_ns += int(limits.WINDOW_IDLE.total_seconds() * SECOND)
    bench.core.tick()
    assert [window.source_rows for window in bench.windows()] == [7]
    bench.core.tick()
    assert bench.windows() == []


def test_a_row_that_the_model_refused_is_sketched_as_it_was_read(bench):
    """A sensor that went dead must show: no answer comes of its rows, and the sketch says what is missing."""
    bench.core.put_in_charge(bench.charge(missing=MissingPolicy.REFUSE))
    bench.rows[10:40, 2] = np.nan
    bench.play(50)
    bench.core.close_window()
    (window,) = bench.windows()
    assert (window.rows, window.errors) == (20, 30)
    sketch = unpack(window.sketch)
    assert sketch.rows == 50
    assert sketch.missing[:5].tolist() == [0, 0, 30, 0, 30], "columns x1 to x4, then the answer"


@pytest.mark.parametrize("seconds", [1, 5, 60, 600])
def test_a_slow_source_is_not_idle_between_its_rows(bench, seconds):
    """A window a row would cost the device its bytes and a judgement its horizon."""
    bench.core.put_in_charge(bench.charge())
    rows = min(limits.WINDOW_ROWS, int(limits.WINDOW_AGE.total_seconds()) // seconds)
    for _ in range(rows):
        for _ in range(seconds):
            bench.clock.now_ns += SECOND
            bench.core.tick()
        bench.play(1)
    bench.core.tick()
    assert [window.source_rows for window in bench.windows()] in ([rows], [rows - 1])


def test_a_slow_source_that_ends_is_idle_in_the_end(bench):
    bench.core.put_in_charge(bench.charge())
    for _ in range(5):
        bench.clock.now_ns += 60 * SECOND
        bench.play(1)
    for _ in range(4 * 60):
        bench.clock.now_ns += SECOND
        bench.core.tick()
    assert [window.source_rows for window in bench.windows()] == [5]


def test_an_old_window_closes_although_rows_still_come(bench):
    bench.core.put_in_charge(bench.charge())
    for _ in range(40):
        bench.play(1)
        bench.core.tick()
        bench.clock.now_ns += 100 * SECOND
    bench.core.tick()
    (window,) = bench.windows()
    assert 36 <= window.source_rows <= 37
    assert window.duration_ms >= limits.WINDOW_AGE.total_seconds() * 1000


def test_another_model_closes_the_window_of_the_last_one(bench):
    first, second = bench.charge(1), bench.charge(2)
    bench.core.put_in_charge(first)
    bench.play(3)
    bench.core.put_in_charge(second)
    bench.play(4)
    bench.core.close_window()
    assert [(digest_from_raw(w.digest), w.source_rows) for w in bench.windows()] == [
        (first.digest, 3),
        (second.digest, 4),
    ]


def test_the_same_model_counts_apart_in_trial_and_live(bench):
    trial = bench.charge(1, Phase.TRIAL)
    bench.core.put_in_charge(trial)
    bench.play(3)
    assert bench.trial.told == [True] * 3
    bench.core.put_in_charge(Charge(trial.digest, Phase.LIVE, trial.model))
    bench.play(2)
    bench.core.close_window()
    assert [(w.phase, w.rows) for w in bench.windows()] == [(Phase.TRIAL, 3), (Phase.LIVE, 2)]
    assert len(bench.trial.told) == 3


def test_an_actuating_sink_never_hears_a_candidate(bench):
    hand, log = Ear(actuating=True), Ear()
    bench.core.use_sinks((hand, log))
    old, new = bench.charge(1), bench.charge(2, Phase.TRIAL)
    bench.core.put_in_charge(old)
    bench.play(2)
    bench.core.put_in_charge(new, incumbent=old)
    bench.play(2)
    bench.core.put_in_charge(Charge(new.digest, Phase.LIVE, new.model))
    bench.play(1)
    live, trial = Phase.LIVE, Phase.TRIAL
    assert hand.heard == [SAFE] + [(old.digest, live, str(i)) for i in range(4)] + [(new.digest, live, "4")]
    assert [entry[:2] for entry in log.heard[1:]] == [(old.digest, live)] * 2 + [(new.digest, trial)] * 2 + [
        (new.digest, live)
    ]


def test_without_an_incumbent_an_actuating_sink_waits_for_the_commit(bench):
    hand = Ear(actuating=True)
    bench.core.use_sinks((hand,))
    bench.core.put_in_charge(bench.charge(1, Phase.TRIAL))
    bench.play(2)
    hand.broken = True
    bench.core.tick()
    assert hand.heard == [SAFE]


def test_the_safe_output_comes_once_each_time_that_no_model_answers(bench):
    hand, log = Ear(actuating=True), Ear()
    bench.core.use_sinks((hand, log))
    first = bench.charge(1)
    bench.core.put_in_charge(first)
    bench.play(1)
    bench.core.put_in_charge(None)
    bench.core.tick()
    bench.core.put_in_charge(None)
    bench.core.put_in_charge(first)
    bench.play(1)
    live = (first.digest, Phase.LIVE)
    for sink in (hand, log):
        assert sink.heard == [SAFE, (*live, "0"), SAFE, (*live, "1")]


def test_a_safe_output_that_could_not_be_given_is_given_when_the_sink_is_tried_again(bench):
    hand = Ear(actuating=True)
    hand.broken = True
    bench.core.use_sinks((hand,))
    hand.broken = False
    bench.core.tick()
    assert hand.heard == []
    bench.clock.now_ns += int(limits.RETRY_MIN.total_seconds() * SECOND)
    bench.core.tick()
    assert hand.heard == [SAFE]


def test_a_sink_that_is_replaced_is_closed(bench):
    old, new = Ear(), Ear()
    bench.core.use_sinks((old,))
    bench.core.use_sinks((new,))
    assert (old.closed, new.closed) == (True, False)


def test_an_input_that_ends_in_an_error_is_counted_and_the_next_one_answered(bench):
    bench.core.put_in_charge(bench.charge(missing=MissingPolicy.REFUSE))
    bench.rows[1, 2] = np.nan
    bench.play(3)
    bench.core.close_window()
    (window,) = bench.windows()
    assert (window.rows, window.errors, window.source_rows) == (2, 1, 3)
    assert "missing" in bench.core.totals.detail


def test_an_error_of_a_candidate_is_told_to_its_trial(bench):
    bench.core.put_in_charge(bench.charge(1, Phase.TRIAL, missing=MissingPolicy.REFUSE))
    bench.rows[1, 2] = np.nan
    bench.play(3)
    assert bench.trial.told == [True, False, True]


def test_a_broken_sink_rests_and_is_tried_again_while_the_others_go_on(bench):
    weak, log = Ear(), Ear()
    bench.core.use_sinks((weak, log))
    bench.core.put_in_charge(bench.charge())
    weak.broken = True
    bench.play(3)
    assert bench.core.totals.sink_errors == 1
    weak.broken = False
    bench.core.tick()
    bench.play(1)
    assert weak.heard == [SAFE]
    bench.clock.now_ns += int(limits.RETRY_MIN.total_seconds() * SECOND)
    bench.core.tick()
    bench.play(1)
    assert [entry[2] for entry in weak.heard[1:]] == ["4"]
    assert len(log.heard) == 1 + 5


def test_sinks_are_flushed_before_the_window_that_counts_their_rows(bench):
    seen: list[int] = []

    class Late(Ear):
        def flush(self, now_ns: int) -> None:
            seen.append(bench.spool.pending)

    bench.core.use_sinks((Late(),))
    bench.core.put_in_charge(bench.charge())
    bench.play(1)
    bench.core.close_window()
    assert seen[-1] == 0
    assert bench.spool.pending == 1


def test_a_turn_to_another_source_closes_the_window_under_the_old_checkpoint(bench):
    bench.core.put_in_charge(bench.charge())
    bench.play(3)
    bench.core.use_source(0, lambda position: b"new %d" % position)
    assert bench.spool.checkpoint("tiny-one") == b"3"
    bench.play(2)
    bench.core.close_window()
    assert bench.spool.checkpoint("tiny-one") == b"new 2"


def test_without_a_model_nothing_is_asked_of_a_source(bench):
    assert bench.core.charge is None
    assert bench.core.columns == ()
    bench.core.tick()
    bench.core.put_in_charge(bench.charge())
    bench.core.put_in_charge(None)
    assert bench.core.columns == ()


@pytest.mark.parametrize(
    ("count", "expected"), [(0, (0, 0)), (1, (1, 1)), (20, (10, 19)), (100, (50, 95)), (101, (51, 96))]
)
def test_percentiles_are_nearest_rank(count, expected):
    latencies = [1000 * value for value in range(count, 0, -1)]
    assert percentiles_us(latencies, (0.50, 0.95)) == expected


def test_other_sinks_in_mid_window_cost_no_row(bench):
    bench.core.put_in_charge(bench.charge())
    bench.play(30)
    bench.core.use_sinks([Ear()])
    bench.play(20)
    bench.core.close_window()
    assert sum(window.source_rows for window in bench.windows()) == 50
    assert bench.spool.checkpoint("tiny-one") == b"50"
