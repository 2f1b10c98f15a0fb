"""What a deployment can nominate from: the newest inputs of the model in charge, bounded, and nobody else's."""

import numpy as np
import pytest

from device_agent.lane import Charge
from device_agent.pool import Pool
from edgeops import limits
from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Phase
from tests.golden.tiny import COLUMNS, tiny_manifest
from tests.unit.test_core_windows import Bench, Ear


def answer(value: float) -> Prediction:
    return Prediction(value, 0.9, 0.8, None, np.zeros(0, np.float32), np.full(8, value, np.float32))


def fill(pool: Pool, count: int) -> None:
    for at in range(count):
        pool.keep(np.full((1, 4), at, np.float32), answer(float(at)), str(at), 100 + at)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_full_pool_keeps_the_newest_in_their_order():
    pool = Pool(tiny_manifest(embedding=True), inputs=5)
    fill(pool, 13)
    pooled = pool.copy(200, since_ns=0)
    assert [entry.input_id for entry in pooled.entries] == ["8", "9", "10", "11", "12"]
    assert pooled.windows[:, 0, 0].tolist() == [8, 9, 10, 11, 12]
    assert pooled.embeddings[:, 7].tolist() == [8, 9, 10, 11, 12]
    assert (pooled.entries[0].answer, pooled.entries[0].margin, pooled.entries[0].at_ns) == (8.0, 0.8, 108)


def test_a_copy_does_not_change_with_the_pool():
    pool = Pool(tiny_manifest(embedding=True), inputs=3)
    fill(pool, 2)
    before = pool.copy(200, since_ns=0)
    fill(pool, 9)
    assert [entry.input_id for entry in before.entries] == ["0", "1"]
    assert before.windows[:, 0, 0].tolist() == [0, 1]


def ids(pool: Pool, *, disagreeing: bool = False) -> list[str]:
    entries = pool.copy(10_000, since_ns=0).entries
    return [entry.input_id for entry in entries if entry.disagrees or not disagreeing]


def fill_noted(pool: Pool, count: int, *, disagrees: set[int]) -> None:
    for at in range(count):
        pool.keep(np.full((1, 4), at, np.float32), answer(float(at)), str(at), 100 + at)
        pool.note(-float(at), disagrees=at in disagrees)


def test_an_input_on_which_a_shadow_disagreed_outlives_newer_ones_on_which_it_agreed():
    pool = Pool(tiny_manifest(), inputs=8)
    fill_noted(pool, 101, disagrees={3, 50})
    assert ids(pool) == ["3", "50", *(str(at) for at in range(95, 101))]
    assert ids(pool, disagreeing=True) == ["3", "50"]
    pooled = pool.copy(200, since_ns=0)
    assert pooled.windows[:, 0, 0].tolist() == [float(entry.input_id) for entry in pooled.entries]
    assert [entry.shadow_answer for entry in pooled.entries] == [-float(entry.input_id) for entry in pooled.entries]


def test_disagreements_hold_a_part_of_the_pool_and_the_newest_of_them_stay():
    pool = Pool(tiny_manifest(), inputs=8)
    fill_noted(pool, 60, disagrees=set(range(0, 60, 5)))
    assert limits.POOL_DISAGREEMENTS * 8 == 2
    # 40 gave its place back, and nothing has come by there yet or something has; 50 and 55 are held.
    assert {"50", "55"} <= set(ids(pool, disagreeing=True))
    assert len(ids(pool)) == 8
    fill(pool, 200)
    assert ids(pool)[-6:] == [str(at) for at in range(194, 200)]


def test_where_everything_disagrees_the_pool_keeps_the_newest():
    pool = Pool(tiny_manifest(), inputs=8)
    fill_noted(pool, 100, disagrees=set(range(100)))
    assert ids(pool)[-2:] == ["98", "99"]
    assert min(map(int, ids(pool))) >= 88


def test_a_pool_of_one_input_holds_none_back():
    pool = Pool(tiny_manifest(), inputs=1)
    fill_noted(pool, 5, disagrees={0, 1, 2, 3})
    assert ids(pool) == ["4"]


def test_a_pool_takes_the_memory_it_may_with_and_without_disagreements():
    manifest = tiny_manifest()
    pool = Pool(manifest, max_bytes=4000)
    fill_noted(pool, 500, disagrees=set(range(0, 500, 3)))
    assert len(ids(pool)) == 4000 // (16 + 360)


def test_what_was_answered_too_long_ago_can_be_left_out():
    pool = Pool(tiny_manifest(), inputs=5)
    fill(pool, 8)
    pooled = pool.copy(200, since_ns=106)
    assert [entry.input_id for entry in pooled.entries] == ["6", "7"]
    assert pooled.embeddings is None


def test_large_inputs_make_a_smaller_pool():
    manifest = tiny_manifest()
    wide = type(manifest.window)(columns=COLUMNS, rows=500)
    large = Pool(
        type(manifest)(**{name: getattr(manifest, name) for name in manifest.__struct_fields__} | {"window": wide})
    )
    assert Pool(manifest)._capacity == limits.POOL_INPUTS
    assert limits.POOL_BYTES * 0.9 < large._capacity * 500 * 16 <= limits.POOL_BYTES


def test_the_answers_of_the_model_in_charge_are_pooled(bench):
    charge = bench.charge(embedding=True)
    bench.core.put_in_charge(charge)
    bench.play(30)
    pooled = bench.core.pooled(charge.digest)
    assert [entry.input_id for entry in pooled.entries] == [str(at) for at in range(30)]
    assert np.array_equal(pooled.windows[:, 0], bench.rows[:30])
    again = charge.model.predict(bench.rows[7][np.newaxis])
    assert np.array_equal(pooled.embeddings[7], again.embedding)
    assert (pooled.entries[7].answer, pooled.entries[7].margin) == (again.answer, again.margin)


def test_only_inputs_within_the_time_asked_for_are_meant(bench):
    charge = bench.charge()
    bench.core.put_in_charge(charge)
    bench.play(10)
    bench.clock.now_ns += 60 * 10**9
    bench.play(3)
    recent = bench.core.pooled(charge.digest, within_ns=30 * 10**9)
    assert [entry.input_id for entry in recent.entries] == ["10", "11", "12"]
    assert "in the time asked for" in bench.core.pooled(charge.digest, within_ns=0).reason


def test_another_model_in_charge_begins_anew_and_the_old_ones_inputs_are_gone(bench):
    first, second = bench.charge(version=1), bench.charge(version=2)
    bench.core.put_in_charge(first)
    bench.play(5)
    bench.core.put_in_charge(second)
    assert f"not in charge here, {second.digest[:19]}" in bench.core.pooled(first.digest).reason
    assert "no input was answered yet" in bench.core.pooled(second.digest).reason
    bench.play(2)
    assert [entry.input_id for entry in bench.core.pooled(second.digest).entries] == ["5", "6"]


def test_what_a_candidate_answered_counts_once_it_is_committed(bench):
    incumbent, candidate = bench.charge(version=1), bench.charge(version=2, phase=Phase.TRIAL)
    bench.core.put_in_charge(incumbent)
    bench.play(4)
    bench.core.put_in_charge(candidate, incumbent=incumbent)
    bench.play(3)
    assert len(bench.core.pooled(incumbent.digest).entries) == 4
    assert "not in charge" in bench.core.pooled(candidate.digest).reason
    bench.core.put_in_charge(Charge(candidate.digest, Phase.LIVE, candidate.model))
    assert [entry.input_id for entry in bench.core.pooled(candidate.digest).entries] == ["4", "5", "6"]


def test_a_candidate_that_is_rolled_back_takes_nothing_of_the_incumbents_pool(bench):
    incumbent, candidate = bench.charge(version=1), bench.charge(version=2, phase=Phase.TRIAL)
    bench.core.put_in_charge(incumbent)
    bench.play(4)
    bench.core.put_in_charge(candidate, incumbent=incumbent)
    bench.play(3)
    bench.core.put_in_charge(incumbent)
    bench.play(1)
    assert [entry.input_id for entry in bench.core.pooled(incumbent.digest).entries] == ["0", "1", "2", "3", "7"]


def test_a_first_model_in_its_trial_nominates_nothing(bench):
    candidate = bench.charge(phase=Phase.TRIAL)
    bench.core.put_in_charge(candidate)
    bench.play(3)
    assert "still in its trial" in bench.core.pooled(candidate.digest).reason


def test_other_sinks_leave_the_pool_as_it_is(bench):
    charge = bench.charge()
    bench.core.put_in_charge(charge)
    bench.play(3)
    bench.core.use_sinks((Ear(),))
    assert len(bench.core.pooled(charge.digest).entries) == 3


def test_an_owner_who_forbids_samples_has_nothing_kept(bench):
    charge = bench.charge()
    bench.core.put_in_charge(charge)
    bench.play(3)
    bench.core.allow_samples(allowed=False)
    bench.play(3)
    assert bench.core.pooled(charge.digest).reason == "the owner of the device forbids samples"
    bench.core.allow_samples(allowed=True)
    assert "yet" in bench.core.pooled(charge.digest).reason
    bench.play(1)
    assert len(bench.core.pooled(charge.digest).entries) == 1


def test_inputs_too_large_for_a_sample_are_not_kept(bench, monkeypatch):
    monkeypatch.setattr(limits, "MAX_SAMPLE_BYTES", 4 * len(COLUMNS) - 1)
    charge = bench.charge()
    bench.core.put_in_charge(charge)
    bench.play(3)
    assert "larger than a sample" in bench.core.pooled(charge.digest).reason


def test_without_a_model_there_is_nothing_to_nominate(bench):
    assert bench.core.pooled("sha256:" + "0" * 64).reason == "no model answers here"
