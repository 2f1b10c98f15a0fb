"""Two models on the same inputs: what is paired, what that may cost, who hears it, and what is kept of it."""

import numpy as np
import pytest
from msgspec.structs import replace

from device_agent.lane import Charge
from device_agent.pairing import Answered, Shadow
from edgeops import limits
from edgeops.artifact.manifest import InputWindow, MissingPolicy, Resampling, TimeColumn
from edgeops.digest import digest_from_raw
from edgeops.errors import InputError
from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Phase
from tests.unit.test_core_windows import SECOND, Bench, Ear

TRIAL, LIVE = Phase.TRIAL, Phase.LIVE


class Second:
    """A shadow that answers in the caller's thread, and remembers what it was asked."""

    def __init__(self, bench: Bench, charge: Charge, *, share=1.0, cpu=1.0, takes_ns=1_000) -> None:
        self.bench = bench
        self.model = charge.model
        self.takes_ns = takes_ns
        self.asked: list[np.ndarray] = []
        self.patience_ns: list[int] = []
        self.given_up: list[str] = []
        #: What it raises instead of answering; None to hang.
        self.fails: list[Exception | None] = []
        self.shadow = Shadow(charge, self.ask, share=share, cpu=cpu, give_up=self.given_up.append)

    def ask(self, window, *, patience_ns: int) -> Answered | None:
        self.asked.append(window.copy())
        self.patience_ns.append(patience_ns)
        self.bench.clock.now_ns += self.takes_ns
        if self.fails:
            error = self.fails.pop(0)
            return None if error is None else Answered(None, self.takes_ns, error)
        try:
            return Answered(self.model.predict(window), self.takes_ns)
        except InputError as error:
            return Answered(None, self.takes_ns, error)


class Opposite:
    """A model that reads the same and always answers another class."""

    def __init__(self, model, *, takes_ns=0, clock=None) -> None:
        self._model = model
        self.manifest, self.reference = model.manifest, model.reference
        self.unanswered, self.clock = model.unanswered, model.clock

    def predict(self, window) -> Prediction:
        own = self._model.predict(window)
        return Prediction((own.answer + 1) % 3, own.confidence, own.margin, own.probabilities, own.channels, None)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def baked(bench, **options) -> tuple[Charge, Charge, Second]:
    """A committed model with the one before it as its shadow."""
    old, new = bench.charge(1), bench.charge(2)
    second = Second(bench, old, **options)
    bench.core.put_in_charge(new, shadow=second.shadow)
    return old, new, second


def closed(bench):
    bench.core.close_window()
    return bench.windows()


def test_both_models_get_the_same_inputs_and_what_they_say_is_counted(bench):
    old, new, second = baked(bench)
    bench.play(30)
    (window,) = closed(bench)
    paired = window.paired
    assert digest_from_raw(window.digest) == new.digest
    assert digest_from_raw(paired.shadow) == old.digest
    assert (paired.rows, paired.errors, paired.shadow_errors, paired.skipped, paired.unmatched) == (30, 0, 0, 0, 0)
    assert sum(paired.cells) == 30
    assert sum(paired.cells[::4]) == 30, "the same model twice: all on the diagonal of 3 x 3"
    assert np.array_equal(np.concatenate(second.asked), bench.rows[:30])
    assert (paired.latency_p50_us, paired.shadow_latency_p95_us) == (1, 1)


def test_without_a_shadow_a_window_says_nothing_of_one(bench):
    bench.core.put_in_charge(bench.charge())
    bench.play(5)
    assert closed(bench)[0].paired is None


def test_a_shadow_without_an_input_in_a_window_is_not_told_of(bench):
    _, _, second = baked(bench, share=1e-9)
    bench.play(50)
    assert closed(bench)[0].paired is None
    assert second.asked == []


def test_the_share_is_met_and_what_is_chosen_follows_no_rhythm(bench):
    _, _, second = baked(bench, share=0.2)
    for number, row in enumerate(bench.rows):
        row[0] = number
    bench.play(2000)
    chosen = [int(window[0, 0]) for window in second.asked]
    assert 320 <= len(chosen) <= 480
    # A source that repeats itself every five rows is seen in all its phases.
    assert all(40 <= sum(number % 5 == phase for number in chosen) <= 120 for phase in range(5))
    paired = [window.paired for window in closed(bench)]
    assert sum(one.rows for one in paired) == len(chosen)


def test_a_bake_that_begins_again_chooses_other_inputs(bench):
    _, new, second = baked(bench, share=0.2)
    for number, row in enumerate(bench.rows):
        row[0] = number % 200
    chosen = []
    for _ in range(2):
        bench.play(200)
        chosen.append([int(window[0, 0]) for window in second.asked])
        second.asked.clear()
        bench.core.put_in_charge(new)
        bench.core.put_in_charge(new, shadow=second.shadow)
    assert len(set(chosen[0]) ^ set(chosen[1])) > 20


def test_counts_begin_anew_with_each_window(bench):
    baked(bench)
    bench.play(7)
    bench.core.close_window()
    bench.play(3)
    assert [window.paired.rows for window in closed(bench)] == [7, 3]


def test_what_a_shadow_answers_is_heard_by_no_sink(bench):
    hand, log = Ear(actuating=True), Ear()
    bench.core.use_sinks((hand, log))
    _, new, _ = baked(bench)
    bench.play(4)
    for sink in (hand, log):
        assert sink.heard[1:] == [(new.digest, LIVE, str(number)) for number in range(4)]


def test_in_trial_the_incumbent_answers_for_actuating_sinks_and_is_paired_with_every_input(bench):
    hand, log = Ear(actuating=True), Ear()
    bench.core.use_sinks((hand, log))
    old, new = bench.charge(1), bench.charge(2, TRIAL)
    second = Second(bench, old, share=0.5)
    bench.core.put_in_charge(new, incumbent=old, shadow=second.shadow)
    bench.play(10)
    assert [entry[:2] for entry in hand.heard[1:]] == [(old.digest, LIVE)] * 10
    assert [entry[:2] for entry in log.heard[1:]] == [(new.digest, TRIAL)] * 10
    assert second.asked == [], "it has answered already"
    (window,) = closed(bench)
    assert (window.phase, window.paired.rows, sum(window.paired.cells)) == (TRIAL, 10, 10)
    assert bench.trial.told == [True] * 10


def test_in_trial_without_actuating_sinks_the_incumbent_answers_its_share_alone(bench):
    bench.core.use_sinks((Ear(),))
    old, new = bench.charge(1), bench.charge(2, TRIAL)
    second = Second(bench, old, share=0.2)
    bench.core.put_in_charge(new, incumbent=old, shadow=second.shadow)
    bench.play(400)
    assert 40 <= len(second.asked) <= 120
    assert sum(window.paired.rows for window in closed(bench)) == len(second.asked)


def test_disagreements_are_counted_in_the_cell_of_shadow_and_charge(bench):
    old, new = bench.charge(1), bench.charge(2)
    opposite = Charge(new.digest, LIVE, Opposite(new.model))
    bench.core.put_in_charge(opposite, shadow=Second(bench, old).shadow)
    bench.play(60)
    (window,) = closed(bench)
    answers = [int(old.model.predict(row[np.newaxis]).answer) for row in bench.rows[:60]]
    expected = [0] * 9
    for answer in answers:
        expected[3 * answer + (answer + 1) % 3] += 1
    assert list(window.paired.cells) == expected


def test_an_input_that_only_one_model_can_answer_is_an_error_of_the_other(bench):
    strict, lenient = bench.charge(1, missing=MissingPolicy.REFUSE), bench.charge(2)
    bench.rows[3:6, 2] = np.nan
    bench.core.put_in_charge(lenient, shadow=Second(bench, strict).shadow)
    bench.play(10)
    bench.core.put_in_charge(strict, shadow=Second(bench, lenient).shadow)
    bench.rows[10:12, 2] = np.nan
    bench.play(10)
    first, second = (window.paired for window in closed(bench))
    assert (first.rows, first.errors, first.shadow_errors) == (7, 0, 3)
    assert (second.rows, second.errors, second.shadow_errors) == (8, 2, 0)


def test_an_input_that_neither_can_answer_tells_them_not_apart(bench):
    strict, other = (bench.charge(version, missing=MissingPolicy.REFUSE) for version in (1, 2))
    bench.rows[2, 2] = np.nan
    bench.core.put_in_charge(other, shadow=Second(bench, strict).shadow)
    bench.play(4)
    (window,) = closed(bench)
    assert (window.errors, window.paired.rows, window.paired.errors, window.paired.shadow_errors) == (1, 3, 0, 0)


# -- what it may cost ---------------------------------------------------------------------


def test_a_shadow_that_used_up_its_share_of_the_processor_is_skipped_and_that_is_counted(bench):
    _, _, second = baked(bench, cpu=0.1, takes_ns=SECOND // 2)
    for _ in range(100):
        bench.clock.now_ns += SECOND // 10
        bench.play(1)
    (window,) = closed(bench)
    paired = window.paired
    assert paired.rows + paired.skipped == 100
    assert paired.rows == len(second.asked)
    spent_s, passed_s = 0.5 * paired.rows, 10 + 0.5 * paired.rows
    # What it may use up at once, its share of the time, and the last answer.
    most_s = 0.1 * (limits.SHADOW_CPU_SPAN.total_seconds() + passed_s) + 0.5
    assert 1.5 <= spent_s <= most_s


def test_a_shadow_without_a_share_of_the_processor_is_never_asked(bench):
    _, _, second = baked(bench, cpu=0.0)
    bench.play(5)
    assert (second.asked, closed(bench)[0].paired.skipped) == ([], 5)


def test_a_quiet_time_earns_no_more_than_the_span(bench):
    _, _, second = baked(bench, cpu=0.1, takes_ns=SECOND // 2)
    bench.clock.now_ns += 3600 * SECOND
    bench.play(50)
    assert len(second.asked) == 3, "a second's worth: .5, 1.0, and the one that goes beyond"


def test_an_incumbent_that_guards_answers_whatever_it_costs(bench):
    hand = Ear(actuating=True)
    bench.core.use_sinks((hand,))
    old, new = bench.charge(1), bench.charge(2, TRIAL)
    bench.core.put_in_charge(new, incumbent=old, shadow=Second(bench, old, cpu=0.0).shadow)
    bench.play(6)
    assert len(hand.heard) == 1 + 6
    assert closed(bench)[0].paired.rows == 6


# -- a shadow that breaks -----------------------------------------------------------------


def test_a_shadow_that_raises_harms_nobody_and_is_given_up_after_some_errors_in_a_row(bench):
    log = Ear()
    bench.core.use_sinks((log,))
    _, _, second = baked(bench)
    second.fails = [RuntimeError("it broke")] * 100
    bench.play(50)
    assert len(log.heard) == 1 + 50
    assert len(second.asked) == limits.SHADOW_FAILURES
    (reason,) = second.given_up
    assert "RuntimeError: it broke" in reason
    (window,) = closed(bench)
    assert (window.rows, window.errors, bench.core.totals.errors) == (50, 0, 0)
    assert (window.paired.rows, window.paired.shadow_errors) == (0, limits.SHADOW_FAILURES)


def test_errors_with_answers_between_them_are_not_in_a_row(bench):
    _, _, second = baked(bench)
    for _ in range(3):
        second.fails = [RuntimeError("it broke")] * (limits.SHADOW_FAILURES - 1)
        bench.play(limits.SHADOW_FAILURES)
    assert second.given_up == []


def test_a_shadow_that_refuses_bad_inputs_is_not_broken(bench):
    strict, lenient = bench.charge(1, missing=MissingPolicy.REFUSE), bench.charge(2)
    bench.rows[:, 2] = np.nan
    second = Second(bench, strict)
    bench.core.put_in_charge(lenient, shadow=second.shadow)
    bench.play(3 * limits.SHADOW_FAILURES)
    assert second.given_up == []
    assert closed(bench)[0].paired.shadow_errors == 3 * limits.SHADOW_FAILURES


def test_a_shadow_that_hangs_is_waited_for_once(bench):
    _, _, second = baked(bench)
    second.fails = [None]
    bench.play(20)
    assert len(second.asked) == 1
    assert second.patience_ns == [int(limits.SHADOW_PATIENCE.total_seconds() * SECOND)]
    assert len(second.given_up) == 1
    (window,) = closed(bench)
    assert (window.rows, window.paired.shadow_errors) == (20, 1)


# -- other columns, other windows -----------------------------------------------------------


def reading(charge: Charge, **window) -> Charge:
    """The model behind other rows: the last one of its window is what it answers."""

    class Wide:
        def __init__(self, model) -> None:
            self._model = model
            self.reference = self.clock = None
            self.manifest = _replaced(model.manifest, **window)

        def predict(self, rows) -> Prediction:
            return self._model.predict(np.ascontiguousarray(rows[-1:, :4]))

    return Charge(charge.digest, charge.phase, Wide(charge.model))


def test_rows_are_put_on_the_grid_of_a_model_and_one_that_is_no_later_is_counted(bench):
    grid = {"rows": 2, "rate_hz": 100.0, "max_gap_s": 0.05, "resampling": Resampling.HOLD}
    bench.core.put_in_charge(reading(bench.charge(), **grid))
    for place, at_ms in enumerate((0, 4, 8, 12, 12, 23)):
        bench.core.take(bench.rows[place], str(place), place + 1, at_ns=at_ms * 10**6)
    assert bench.core.disordered == 1
    bench.core.put_in_charge(None)
    assert bench.core.disordered == 1
    (window,) = bench.windows()
    assert (window.rows, window.source_rows) == (2, 6)


def _replaced(manifest, **window):
    columns = window.pop("columns", manifest.window.columns)
    return replace(manifest, window=InputWindow(columns=columns, **window), channels=())


def test_models_of_other_windows_are_paired_where_both_end_with_an_input(bench):
    old, new = reading(bench.charge(1), rows=4, stride=4), reading(bench.charge(2), rows=2, stride=2)
    second = Second(bench, old)
    bench.core.put_in_charge(new, shadow=second.shadow)
    bench.play(24)
    (window,) = closed(bench)
    assert (window.rows, window.source_rows) == (12, 24)
    assert (window.paired.rows, window.paired.unmatched) == (6, 6)
    assert np.array_equal(second.asked[1], bench.rows[4:8])


def test_a_shadow_that_reads_other_columns_gets_them_and_the_model_in_charge_its_own(bench):
    old = reading(bench.charge(1), columns=("x4", "x9", "x1", "x2"))
    new = bench.charge(2)
    second = Second(bench, old)
    bench.core.put_in_charge(new, shadow=second.shadow)
    assert bench.core.needed == ("x1", "x2", "x3", "x4")
    assert bench.core.columns == ("x1", "x2", "x3", "x4", "x9")
    row = np.array([1, 2, 3, 4, 9], np.float32)
    bench.core.take(row, "0", 1)
    assert second.asked[0].tolist() == [[4, 9, 1, 2]]
    assert (closed(bench)[0].rows, bench.core.totals.errors) == (1, 0)


def test_a_source_is_asked_for_moments_where_only_the_shadow_depends_on_them(bench):
    at = TimeColumn(name="at")
    second = Second(bench, reading(bench.charge(1), time=at))
    new = bench.charge(2)
    bench.core.put_in_charge(new, shadow=second.shadow)
    assert bench.core.window == replace(new.window, time=at)


def test_a_shadow_that_ends_leaves_the_rows_that_wait_in_an_input_window(bench):
    new = reading(bench.charge(2), rows=6, stride=6)
    bench.core.put_in_charge(new, shadow=Second(bench, bench.charge(1)).shadow)
    bench.play(4)
    bench.core.put_in_charge(new)
    bench.play(2)
    assert [window.rows for window in closed(bench)] == [0, 1]


# -- windows close early ------------------------------------------------------------------------


def test_windows_close_early_while_a_model_is_watched_with_and_without_a_shadow(bench):
    old, new = bench.charge(1), bench.charge(2)
    for shadow in (None, Second(bench, old).shadow):
        bench.core.put_in_charge(new, shadow=shadow, window_ms=5_000)
        for _ in range(24):
            bench.clock.now_ns += SECOND // 2
            bench.play(1)
            bench.core.tick()
        windows = bench.windows()
        assert len(windows) == 2
        assert all(4_500 <= window.duration_ms <= 5_600 for window in windows)
        assert [window.paired is None for window in windows] == [shadow is None] * 2
        bench.core.put_in_charge(None)
        bench.windows()


# -- what is kept to nominate from -------------------------------------------------------------


def test_the_pool_knows_what_a_shadow_answered_and_whether_it_disagreed(bench):
    old, new = bench.charge(1), bench.charge(2)
    opposite = Charge(new.digest, LIVE, Opposite(new.model))
    bench.core.put_in_charge(opposite, shadow=Second(bench, old, share=0.5).shadow)
    bench.play(40)
    entries = bench.core.pooled(new.digest).entries
    noted = [entry for entry in entries if entry.shadow_answer is not None]
    assert 8 <= len(noted) <= 32
    assert all(entry.disagrees and entry.shadow_answer == (entry.answer - 1) % 3 for entry in noted)
    assert not any(entry.disagrees for entry in entries if entry.shadow_answer is None)


def test_what_a_trial_found_to_disagree_is_there_after_the_commit(bench):
    old, new = bench.charge(1), bench.charge(2, TRIAL)
    model = Opposite(new.model)
    second = Second(bench, old)
    bench.core.put_in_charge(Charge(new.digest, TRIAL, model), incumbent=old, shadow=second.shadow)
    bench.play(12)
    bench.core.put_in_charge(Charge(new.digest, LIVE, model), shadow=second.shadow)
    bench.play(1)
    assert [entry.disagrees for entry in bench.core.pooled(new.digest).entries] == [True] * 13
