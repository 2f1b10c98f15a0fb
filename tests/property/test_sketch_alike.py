"""Sketches that are read side by side are read as each would be alone, whatever one of them holds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.errors import MessageError
from edgeops.sketch.packing import pack, unpack_all
from edgeops.sketch.varint import put
from tests.unit.sketches import packed

#: Enough of one shape to be read side by side.
MANY = 12
GOOD = [packed(60, channels=channels, seed=seed) for channels in (1, 3) for seed in range(MANY)]


def as_alone(data):
    (read,) = unpack_all([data])
    return read


def same(one, other):
    if isinstance(other, MessageError):
        return isinstance(one, MessageError) and str(one) == str(other)
    return pack(one) == pack(other)


@st.composite
def hostile(draw):
    """A good one with bytes replaced, removed or repeated behind its head, or a number of any size put in."""
    data = draw(st.sampled_from(GOOD))
    at = draw(st.integers(4, len(data)))
    until = draw(st.integers(at, min(len(data), at + 6)))
    number = bytearray()
    put(number, draw(st.integers(0, 2**70)))
    pieces = (st.binary(max_size=6), st.just(bytes(number)), st.just(b"\xff" * 12), st.just(b"\x80" * 9 + b"\x00"))
    return data[:at] + draw(st.one_of(*pieces)) + data[until:]


@settings(deadline=None, max_examples=60)
@given(st.lists(hostile(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_one_that_lies_is_its_own_error_and_changes_no_other(lies, random):
    together = [*GOOD, *lies]
    random.shuffle(together)
    for data, read in zip(together, unpack_all(together), strict=True):
        assert same(read, as_alone(data))


rows = st.integers(0, 200)


@settings(deadline=None, max_examples=20)
@given(rows, st.integers(0, 1000), st.sampled_from([7, 8, 9, 130]))
def test_any_good_ones_are_what_was_packed(count, seed, number):
    made = [packed(count, seed=seed + place) for place in range(number)]
    assert [pack(one) for one in unpack_all(made)] == made
