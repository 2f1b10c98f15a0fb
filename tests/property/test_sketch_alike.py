"""Read side by side, sketches are what each is alone, whatever the bytes are."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeops.errors import MessageError
from edgeops.sketch.alike import MAX_ALIKE_ROWS
from edgeops.sketch.histogram import packed_length
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack, unpack, unpack_all
from edgeops.sketch.window import LIMIT, Sketcher

CHANNELS = 3
RANDOM = np.random.default_rng(1)
REFERENCE = build_reference(
    RANDOM.normal(size=(500, CHANNELS)).astype(np.float32), [f"c{index}" for index in range(CHANNELS)], discrete=()
)
FIELDS = ("counts", "total", "squares", "pairs", "steps", "low", "high")


def packed(rows, *, scale=1.0, missing=0.0):
    values = (scale * RANDOM.normal(size=(rows, CHANNELS))).astype(np.float32)
    values[RANDOM.random(values.shape) < missing] = np.nan
    sketcher = Sketcher(REFERENCE)
    sketcher.add(values)
    return pack(sketcher.sketch())


GOOD = [packed(100, scale=scale) for scale in (0.0, 1.0, 1e3, 1e9) for _ in range(5)]
OTHERS = [packed(100, missing=0.2), packed(0), packed(1), packed(2), packed(MAX_ALIKE_ROWS), packed(MAX_ALIKE_ROWS + 1)]


def alone(data):
    try:
        return unpack(data)
    except MessageError as error:
        return str(error)


def assert_same(side_by_side, each):
    for ours, data in zip(side_by_side, each, strict=True):
        theirs = alone(data)
        if isinstance(theirs, str):
            assert str(ours) == theirs
            assert isinstance(ours, MessageError)
        else:
            assert not isinstance(ours, MessageError), ours
            assert (ours.rows, *(getattr(ours, name).tolist() for name in FIELDS)) == (
                theirs.rows,
                *(getattr(theirs, name).tolist() for name in FIELDS),
            )


@st.composite
def spoiled(draw):
    """A sketch with some bytes changed, cut off or added."""
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(("set", "cut", "insert"))):
            case "set":
                data[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del data[place : place + draw(st.integers(1, 30))]
            case _:
                data[place:place] = draw(st.binary(min_size=1, max_size=12))
    return bytes(data)


def test_whatever_the_shapes_each_comes_out_at_its_place():
    each = [data for pair in zip(GOOD, OTHERS * 4, strict=False) for data in pair]
    assert_same(unpack_all(each), each)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(spoiled(), st.sampled_from(GOOD)), min_size=8, max_size=24))
@example([bytes([1, CHANNELS, 100, 0]) + b"\xff" * 200] * 9)
@example([bytes([1, CHANNELS, 100, 0]) + b"\x80" * 200] * 9)
@example([bytes([1, CHANNELS, 100, 0])] * 9)
@example([GOOD[0][:-1]] * 9)
@example([GOOD[0] + b"\x00"] * 9)
def test_what_is_spoiled_is_refused_as_it_is_alone_and_harms_no_other(each):
    assert_same(unpack_all(each), each)


def test_moments_beyond_what_rows_can_have_are_refused_side_by_side():
    sketch = unpack(GOOD[7])
    worse = [
        pack(type(sketch)(**{name: getattr(sketch, name) for name in ("rows", *FIELDS)} | {name: value}))
        for name, value in (
            ("high", sketch.high + 4 * LIMIT),
            ("low", sketch.low - 4 * LIMIT),
            ("steps", sketch.steps + 100 * (2 * LIMIT) ** 2),
            ("squares", sketch.squares + 101 * LIMIT**2),
        )
    ]
    each = worse * 3
    assert all(isinstance(one, MessageError) for one in unpack_all(each))
    assert_same(unpack_all(each), each)


def test_a_number_longer_than_needed_is_refused_side_by_side():
    data = bytearray(GOOD[7])
    last = next(place for place in range(4 + packed_length(100), len(data)) if data[place] < 0x80)
    data[last : last + 1] = bytes([data[last] | 0x80, 0])
    each = [bytes(data), *GOOD[:8]]
    assert isinstance(unpack_all(each)[0], MessageError)
    assert_same(unpack_all(each), each)
