"""Sketches merge exactly in any order, and their bytes are one to one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edgeops.errors import MessageError
from edgeops.sketch.histogram import pack_counts, unpack_counts
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack, unpack
from edgeops.sketch.window import Sketcher, merge, merge_all

CHANNELS = 2
REFERENCE = build_reference(
    np.random.default_rng(1).normal(size=(500, CHANNELS)).astype(np.float32), ["a", "b"], discrete=()
)

rows = npst.arrays(
    np.float32,
    st.tuples(st.integers(0, 40), st.just(CHANNELS)),
    elements=st.one_of(st.floats(-4, 4, width=32), st.floats(width=32)),
)
more = settings(deadline=None, max_examples=60)


def sketch_of(values):
    sketcher = Sketcher(REFERENCE)
    sketcher.add(values)
    return sketcher.sketch()


@more
@given(rows, rows)
def test_merging_is_commutative(first, second):
    a, b = sketch_of(first), sketch_of(second)
    assert pack(merge(a, b)) == pack(merge(b, a))


@more
@given(rows, rows, rows)
def test_merging_is_associative(first, second, third):
    a, b, c = sketch_of(first), sketch_of(second), sketch_of(third)
    assert pack(merge(merge(a, b), c)) == pack(merge(a, merge(b, c)))


@more
@given(rows, rows)
def test_merging_what_travelled_equals_merging_what_stayed(first, second):
    a, b = sketch_of(first), sketch_of(second)
    assert pack(merge(unpack(pack(a)), unpack(pack(b)))) == pack(merge(a, b))


@more
@given(rows)
def test_packing_loses_nothing(values):
    sketch = sketch_of(values)
    again = unpack(pack(sketch))
    for field in ("rows", "counts", "total", "squares", "pairs", "steps", "low", "high"):
        assert np.array_equal(getattr(again, field), getattr(sketch, field)), field


@more
@given(rows, st.lists(st.integers(0, 40), max_size=5))
def test_how_rows_are_batched_does_not_matter(values, cuts):
    sketcher = Sketcher(REFERENCE)
    for part in np.split(values, sorted(cut for cut in cuts if cut <= len(values))):
        sketcher.add(part)
    assert pack(sketcher.sketch()) == pack(sketch_of(values))


@more
@given(rows, st.lists(st.integers(0, 40), max_size=5))
def test_a_sketch_of_all_rows_is_the_merge_of_its_parts_but_for_pairs(values, cuts):
    parts = [sketch_of(part) for part in np.split(values, sorted(cut for cut in cuts if cut <= len(values)))]
    whole, merged = sketch_of(values), merge_all(parts, channels=CHANNELS)
    assert merged.rows == whole.rows
    for field in ("counts", "total", "squares", "low", "high"):
        assert np.array_equal(getattr(merged, field), getattr(whole, field)), field
    assert (merged.pairs <= whole.pairs).all()
    assert (merged.steps <= whole.steps).all()


@more
@given(st.lists(st.integers(0, 300), min_size=32, max_size=32))
def test_counts_come_back(counts):
    total = sum(counts)
    read, are_counts = unpack_counts(pack_counts(np.array([counts]), total), total)
    assert are_counts.all()
    assert read.tolist() == [counts]


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=120))
def test_hostile_bytes_are_refused_or_mean_exactly_one_sketch(data):
    _refused_or_canonical(b"\x01" + data)


@settings(deadline=None, max_examples=100)
@given(rows, st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_sketch_is_refused_or_means_exactly_one_other(values, at, byte):
    data = bytearray(pack(sketch_of(values)))
    data[at % len(data)] = byte
    _refused_or_canonical(bytes(data))


def _refused_or_canonical(data):
    try:
        sketch = unpack(data)
    except MessageError:
        return
    assert pack(sketch) == data
    pack(merge(sketch, sketch))
