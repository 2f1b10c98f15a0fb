"""Invariants of both stages of sampling, for any pool."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeops.learning.sampling import choose, nominate, places
from edgeops.learning.splits import fold_of

_VALUES = st.floats(width=32, allow_nan=True, allow_infinity=True)


@st.composite
def pools(draw):
    """Embeddings and uncertainty, with everything a sensor can do to them."""
    rows, dimensions = draw(st.integers(0, 40)), draw(st.integers(0, 4))
    embeddings = draw(arrays.arrays(np.float32, (rows, dimensions), elements=_VALUES))
    repeated = draw(st.lists(st.integers(0, max(rows - 1, 0)), max_size=rows))
    for place, other in enumerate(repeated):
        embeddings[place] = embeddings[other]
    return embeddings, draw(arrays.arrays(np.float32, rows, elements=_VALUES))


_COUNTS = st.integers(0, 60)
_SHARES = st.floats(0, 1)
_SEEDS = st.integers(0, 2**32)


@settings(max_examples=200, deadline=None)
@given(pools(), _COUNTS, _SHARES, _SEEDS)
def test_nominees_are_rows_of_the_pool_named_once_that_stand_for_all_of_it(pool, count, share, seed):
    rows = len(pool[0])
    nominees = nominate(*pool, count, random_share=share, random=np.random.default_rng(seed))
    indexes = [one.index for one in nominees]
    assert len(indexes) == len(set(indexes)) <= min(count, rows)
    assert set(indexes) <= set(range(rows))
    assert all(one.weight >= 1 for one in nominees)
    if nominees:
        assert sum(one.weight for one in nominees) == rows
    assert sum(one.by_chance for one in nominees) >= np.floor(min(count, rows) * share)
    assert nominees == nominate(*pool, count, random_share=share, random=np.random.default_rng(seed))


@settings(max_examples=200, deadline=None)
@given(pools(), st.data(), _COUNTS, _SHARES, _SEEDS)
def test_the_server_chooses_nominations_once_and_the_same_for_the_same_seed(pool, data, count, share, seed):
    rows = len(pool[0])
    by_chance = data.draw(arrays.arrays(np.bool_, rows))
    devices = data.draw(arrays.arrays(np.int64, rows, elements=st.integers(0, 4)))

    def chosen():
        return choose(*pool, by_chance, devices, count, random_share=share, random=np.random.default_rng(seed)).tolist()

    first = chosen()
    assert len(first) == len(set(first)) <= min(count, rows)
    assert set(first) <= set(range(rows))
    assert first == chosen()
    drawn = by_chance[first].sum()
    assert drawn >= min(np.floor(min(count, rows) * share), by_chance.sum())
    if count <= by_chance.sum():
        assert len(first) == count
    chosen_of = np.bincount(devices[[one for one in first if not by_chance[one]]], minlength=5)
    assert (chosen_of <= np.ceil(3 * min(count, rows) / max(len(np.unique(devices)), 1))).all()


@settings(max_examples=200, deadline=None)
@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 3), st.integers(1, 3)), elements=_VALUES))
def test_readings_place_an_input_whatever_is_missing_of_it(windows):
    placed = places(windows, None)
    assert placed.shape == (len(windows), windows[0].size)
    assert np.isfinite(placed).all()
    gaps = ~np.isfinite(windows.reshape(len(windows), -1))
    assert (placed[gaps] == 0).all()
    assert (np.abs(placed) <= np.sqrt(len(windows)) * 1.001).all()


@given(arrays.arrays(np.int64, st.integers(0, 80), elements=st.integers(0, 5)), st.integers(1, 9), _SEEDS)
def test_folds_take_each_class_evenly_and_each_row_once(classes, folds, seed):
    fold = fold_of(classes, folds=folds, random=np.random.default_rng(seed))
    assert len(fold) == len(classes)
    for rows in (np.ones(len(classes), np.bool_), *(classes == one for one in np.unique(classes))):
        sizes = np.bincount(fold[rows], minlength=folds)
        assert len(sizes) == folds
        assert sizes.max() - sizes.min() <= 1
