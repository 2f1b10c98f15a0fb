"""Which samples are worth a label: what both stages take, and what they leave."""

import time

import numpy as np
import pytest

from edgeops.learning.sampling import choose, nominate

CERTAIN, DOUBTFUL = 0.05, 0.9
#: Nominated by one and the same device.
ONE = np.zeros(1_000, np.int64)


def generator(seed=0):
    return np.random.default_rng(seed)


def heaps(*sizes, spread=0.05, apart=10.0):
    """Rows in tight heaps far apart, and the heap of each."""
    heap = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.zeros((len(heap), 4), np.float32)
    rows[:, 0] = apart * heap
    return rows + generator(9).normal(0, spread, rows.shape).astype(np.float32), heap


def indexes(nominees):
    return [one.index for one in nominees]


def test_every_heap_is_nominated_before_any_twice():
    rows, heap = heaps(500, 40, 3, 1)
    nominees = nominate(rows, np.full(len(rows), 0.5), 4, random_share=0.0, random=generator())
    assert sorted(heap[indexes(nominees)]) == [0, 1, 2, 3]


def test_the_first_nominee_is_the_most_uncertain_row():
    rows, _ = heaps(50, 50)
    uncertainty = np.full(100, CERTAIN)
    uncertainty[77] = DOUBTFUL
    assert indexes(nominate(rows, uncertainty, 2, random_share=0.0, random=generator()))[0] == 77


def test_of_a_cluster_a_doubtful_row_goes_before_a_certain_one():
    """Both lie about as far from the first heap; the model is unsure of one."""
    rows = np.array([[0.0], [10.0], [9.5]], np.float32)
    nominees = nominate(rows, np.array([1.0, 0.01, 0.5]), 2, random_share=0.0, random=generator())
    assert indexes(nominees) == [0, 2]


def test_a_nominee_stands_for_the_rows_that_are_nearest_to_it():
    rows, heap = heaps(70, 20, 10)
    nominees = nominate(rows, np.full(100, 0.5), 3, random_share=0.0, random=generator())
    assert {int(heap[one.index]): one.weight for one in nominees} == {0: 70, 1: 20, 2: 10}


def test_near_duplicates_are_nominated_once():
    rows = np.concatenate([np.zeros((50, 3)), np.ones((50, 3)), np.ones((50, 3)) + 1e-6]).astype(np.float32)
    assert len(nominate(rows, np.full(150, 0.5), 20, random_share=0.0, random=generator())) == 2


def test_one_row_far_out_does_not_make_near_duplicates_of_the_others():
    rows = np.concatenate([generator().normal(size=(99, 3)), [[1e6, 0, 0]]]).astype(np.float32)
    assert len(nominate(rows, np.full(100, 0.5), 20, random_share=0.0, random=generator())) == 20


@pytest.mark.parametrize("count", [0, 1, 5, 6, 50])
def test_a_small_pool_gives_what_it_has(count):
    rows = generator().normal(size=(5, 2)).astype(np.float32)
    nominees = nominate(rows, np.full(5, 0.5), count, random_share=0.2, random=generator())
    assert len(nominees) == min(count, 5)


def test_an_empty_pool_gives_nothing():
    empty = np.empty((0, 8), np.float32)
    assert nominate(empty, np.empty(0), 10, random_share=0.2, random=generator()) == ()
    assert len(choose(empty, np.empty(0), np.empty(0, bool), ONE[:0], 10, random_share=0.2, random=generator())) == 0


def test_without_dimensions_only_chance_tells_rows_apart():
    nominees = nominate(np.empty((30, 0)), np.full(30, 0.5), 10, random_share=0.5, random=generator())
    assert [one.by_chance for one in nominees] == [True] * 5
    assert sum(one.weight for one in nominees) == 30


def test_missing_values_are_ordinary_and_rows_that_have_them_may_be_nominated():
    rows, _ = heaps(20, 20)
    rows[3, 1], rows[7, 0], rows[9] = np.nan, np.inf, np.nan
    uncertainty = np.full(40, 0.5)
    uncertainty[3] = np.nan
    nominees = nominate(rows, uncertainty, 40, random_share=0.0, random=generator())
    assert nominees[0].index == 3, "what the model cannot say counts as wholly uncertain"
    assert sum(one.weight for one in nominees) == 40


def test_a_column_without_any_value_says_nothing():
    rows, heap = heaps(30, 30)
    rows[:, 2] = np.nan
    nominees = nominate(rows, np.full(60, 0.5), 2, random_share=0.0, random=generator())
    assert sorted(heap[indexes(nominees)]) == [0, 1]


def test_rows_that_come_first_are_nominated_before_any_other_whatever_they_look_like():
    rows, heap = heaps(300, 40, 6, spread=2.0)
    first = heap == 2
    nominees = nominate(rows, np.full(len(rows), CERTAIN), 20, random_share=0.2, random=generator(), first=first)
    assert len(nominees) == 20
    assert set(indexes(nominees)[:6]) == set(np.flatnonzero(first))
    assert [one.by_chance for one in nominees] == [False] * 6 + [True] * 3 + [False] * 11
    assert sum(one.weight for one in nominees) == len(rows)


def test_of_too_many_rows_that_come_first_each_is_drawn_as_often_as_the_others():
    """Labels of them say what all of them are worth: a choice by looks would not."""
    rows, _ = heaps(60, 3, 1)
    uncertainty = np.linspace(0, 1, 64)
    first = np.arange(64) % 2 == 0
    drawn = np.zeros(64, int)
    for seed in range(400):
        nominees = nominate(rows, uncertainty, 8, random_share=0.5, random=generator(seed), first=first)
        assert not any(one.by_chance for one in nominees)
        drawn[indexes(nominees)] += 1
    assert not drawn[~first].any()
    assert drawn[first].min() > 60
    assert drawn[first].max() < 140


def test_without_rows_that_come_first_it_is_as_ever():
    rows, _ = heaps(50, 20)
    doubt = np.full(70, 0.5)
    none = np.zeros(70, np.bool_)
    ever = nominate(rows, doubt, 10, random_share=0.2, random=generator(4))
    assert nominate(rows, doubt, 10, random_share=0.2, random=generator(4), first=none) == ever


def test_the_random_share_is_uniform_over_the_pool_however_lopsided_it_is():
    """3,000 draws of 5 out of 40 rows, of which one heap is certain and crowded: chi-square with 39 degrees."""
    rows, _ = heaps(36, 4)
    uncertainty = np.where(np.arange(40) < 36, CERTAIN, DOUBTFUL)
    random, counts = generator(4), np.zeros(40)
    for _ in range(3_000):
        nominees = nominate(rows, uncertainty, 5, random_share=1.0, random=random)
        assert all(one.by_chance for one in nominees)
        counts[indexes(nominees)] += 1
    expected = 3_000 * 5 / 40
    # Rows are drawn without replacement, which makes counts a little more even than chi-square says.
    assert ((counts - expected) ** 2 / expected).sum() < 73.4, "beyond the 99.9th percentile"


def test_the_server_takes_every_heap_over_all_devices():
    rows, heap = heaps(40, 40, 2, 1)
    chosen = choose(rows, np.full(83, 0.5), np.zeros(83, bool), ONE[:83], 4, random_share=0.0, random=generator())
    assert sorted(heap[chosen]) == [0, 1, 2, 3]


def test_the_server_takes_rows_nominated_by_chance_by_chance_only():
    rows, _ = heaps(60, 40, spread=1.0)
    by_chance = np.arange(100) % 5 == 0
    uncertainty = np.where(by_chance, DOUBTFUL, CERTAIN)
    chosen = choose(rows, uncertainty, by_chance, ONE[: len(rows)], 30, random_share=0.2, random=generator())
    assert by_chance[chosen].tolist() == [True] * 6 + [False] * 24


def test_the_servers_random_share_is_uniform_over_what_chance_nominated():
    rows, _ = heaps(60, 40)
    by_chance = np.arange(100) % 5 == 0
    random, counts = generator(5), np.zeros(100)
    for _ in range(2_000):
        chosen = choose(rows, np.full(100, 0.5), by_chance, ONE[:100], 10, random_share=0.5, random=random)
        counts[chosen[:5]] += 1
    drawn, expected = counts[by_chance], 2_000 * 5 / 20
    assert counts[~by_chance].sum() == 0
    assert ((drawn - expected) ** 2 / expected).sum() < 43.9, "beyond the 99.9th percentile"


def test_the_server_fills_up_by_chance_rather_than_buy_near_duplicates():
    rows = np.concatenate([np.zeros((50, 3)), np.ones((50, 3))])
    by_chance = np.arange(100) < 30
    chosen = choose(rows, np.full(100, 0.5), by_chance, ONE[:100], 10, random_share=0.2, random=generator())
    assert len(set(chosen.tolist())) == 10
    assert by_chance[chosen].sum() == 9, "two are drawn in any case, then one far from them, then seven to fill up"


def test_without_rows_by_chance_all_are_chosen_by_distance():
    rows, _ = heaps(30, 30, spread=1.0)
    chosen = choose(rows, np.full(60, 0.5), np.zeros(60, bool), ONE[:60], 20, random_share=0.2, random=generator())
    assert len(set(chosen.tolist())) == 20


def test_what_was_drawn_by_chance_is_not_bought_again_beside_it():
    rows = np.array([[0.0], [0.0], [5.0]], np.float32)
    chosen = choose(rows, np.ones(3), np.array([True, False, False]), ONE[:3], 2, random_share=0.5, random=generator())
    assert chosen.tolist() == [0, 2]


def test_a_device_chooses_a_hundred_of_two_thousand_in_a_tenth_of_a_second():
    rows = generator().normal(size=(2_000, 32)).astype(np.float32)
    uncertainty = generator(1).random(2_000)
    spent = []
    for _ in range(5):
        started = time.process_time()
        assert len(nominate(rows, uncertainty, 100, random_share=0.2, random=generator())) == 100
        spent.append(time.process_time() - started)
    print(f"nominate 100 of 2,000 x 32: {1000 * min(spent):.1f} ms")
    assert min(spent) < 0.2, "a Raspberry Pi takes about five times as long"


def test_a_device_whose_nominations_all_look_best_takes_what_it_would_have_been_asked_for_at_most():
    """Ten devices; the last one makes its inputs up, far from all others and from each other."""
    devices = np.repeat(np.arange(10), 30)
    rows = generator().normal(size=(300, 4)).astype(np.float32)
    rows[devices == 9] *= 50
    chosen = choose(rows, np.full(300, 0.5), np.zeros(300, bool), devices, 40, random_share=0.2, random=generator())
    assert len(chosen) == 40
    assert (devices[chosen] == 9).sum() == 8, "2.5 shares of four labels, without those of them that chance draws"


def test_of_more_nominations_only_those_that_fewer_would_have_been_are_chosen():
    """A device's list for so many labels is the beginning of a longer one, whatever the longer one holds."""
    rows, uncertainty = generator().normal(size=(400, 4)).astype(np.float32), generator(1).random(400)
    long, short = (
        indexes(nominate(rows, uncertainty, count, random_share=0.0, random=generator(2))) for count in (120, 25)
    )
    nobody = np.zeros(120, bool)
    chosen = choose(rows[long], uncertainty[long], nobody, ONE[:120], 10, random_share=0.0, random=generator(3))
    assert set(np.array(long)[chosen].tolist()) <= set(np.array(short).tolist())
