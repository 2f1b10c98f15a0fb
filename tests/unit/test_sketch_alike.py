"""Sketches read side by side at the borders of what rows can show: each comes to what it comes to alone."""

import numpy as np
import pytest

from edgeops.errors import MessageError
from edgeops.sketch.alike import MAX_ALIKE_ROWS, Shape, unpack_alike
from edgeops.sketch.histogram import pack_counts, packed_length
from edgeops.sketch.packing import pack, unpack_all
from edgeops.sketch.varint import put, unzigzag, zigzag
from edgeops.sketch.window import LIMIT, Sketcher
from tests.unit.sketches import REFERENCE, packed

MANY = 9
#: Version, channels, rows below 128, one byte of bits.
HEAD = 4


def sketch_of(columns):
    """Of three columns in grid steps."""
    grid = REFERENCE.grid
    sketcher = Sketcher(REFERENCE)
    sketcher.add((grid.centre + grid.step * np.column_stack(columns)).astype(np.float32))
    return pack(sketcher.sketch())


def read_among_others(data, *, rows=60):
    """What `data` is read as among good ones of its shape, all of which stay what they are."""
    others = [packed(rows, seed=seed) for seed in range(MANY)]
    read = unpack_all([*others[:4], data, *others[4:]])
    assert [pack(one) for one in (*read[:4], *read[5:])] == others
    return read[4]


def assert_needs_no_reading_alone(data, *, rows=60, head=HEAD):
    (read,) = unpack_alike([data], Shape(channels=3, rows=rows, head=head))
    assert pack(read) == data


HUGE = 10 * LIMIT
EXTREMES = {
    "all at the upper end": [np.full(60, HUGE)] * 3,
    "all at the lower end": [np.full(60, -HUGE)] * 3,
    "from end to end": [np.tile([HUGE, -HUGE], 30)] * 3,
    "nothing moves": [np.zeros(60)] * 3,
    "one apart": [np.eye(1, 60, 7)[0] * HUGE, -np.eye(1, 60, 59)[0], np.arange(60) - 30],
}


@pytest.mark.parametrize("name", EXTREMES)
def test_the_extremes_of_a_grid_are_read(name):
    data = sketch_of(EXTREMES[name])
    assert pack(read_among_others(data)) == data
    assert_needs_no_reading_alone(data)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 31, 32, 127, 128, 500])
def test_any_number_of_rows_is_read(rows):
    data = [packed(rows, seed=seed) for seed in range(MANY)]
    assert [pack(one) for one in unpack_all(data)] == data


@pytest.mark.parametrize("rows", [MAX_ALIKE_ROWS, MAX_ALIKE_ROWS + 1], ids=["most", "one more"])
def test_so_many_rows_that_squares_of_sums_fill_64_bits_are_read(rows):
    data = sketch_of([np.full(rows, HUGE), np.full(rows, -HUGE), np.tile([HUGE, -HUGE], rows // 2 + 1)[:rows]])
    assert [pack(one) for one in unpack_all([data] * MANY)] == [data] * MANY
    if rows == MAX_ALIKE_ROWS:
        assert_needs_no_reading_alone(data, rows=rows, head=6)


def test_what_is_kept_of_one_keeps_no_other():
    read = unpack_alike([packed(60, seed=seed) for seed in range(MANY)], Shape(channels=3, rows=60, head=HEAD))
    assert all(one is not None for one in read)
    assert all(array.base is None or array.base.size <= 3 * 32 for one in read for array in (one.counts, one.total))


@pytest.mark.parametrize(
    "number",
    [
        b"\x80\x00", b"\xff\x00", b"\x80" * 8 + b"\x01", b"\x80" * 9 + b"\x01", b"\xff" * 8 + b"\x7f",
        b"\xff" * 9 + b"\x7f", b"\xff" * 20, b"\x00", b"\x7f", b"\xff\xff\xff\x7f", b"\x80\x80\x80\x04", b"\x81\x80\x80\x04",
    ],
)  # fmt: skip
def test_a_number_out_of_form_or_bounds_is_refused_as_it_is_alone(number):
    good = packed(60, seed=3)
    for place in range(HEAD, len(good), 2):
        data = good[:place] + number + good[place + 1 :]
        alone = unpack_all([data])[0]
        among = read_among_others(data)
        if isinstance(alone, MessageError):
            assert str(among) == str(alone)
        else:
            assert pack(among) == pack(alone) == data


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 20, b"\xff" * 9, b"\xff" * 200, b"\x80" * 200, packed(60)[HEAD:-1], packed(60)[HEAD:] + b"\x00"],
)
def test_what_claims_more_or_less_than_there_is_is_refused_even_behind_all_others(data):
    spoiled = bytes([1, 3, 60, 0]) + data
    assert isinstance(unpack_all([spoiled])[0], MessageError)
    assert [str(one) for one in unpack_all([spoiled] * MANY)] == [str(unpack_all([spoiled])[0])] * MANY
    assert_refused(spoiled)


def test_bytes_that_would_mean_another_sketch_if_no_value_were_missing_are_read_as_what_they_are():
    """420 values of 492 rows whose counts, with the 72 that are missing before them, are also counts of 492."""
    counts = np.zeros((1, 32), np.int64)
    counts[0, [3, 31]] = 8, 412
    body = bytes([72, 0]) + pack_counts(counts, 420).tobytes() + bytes(5)
    missing, whole = (bytes([1, 1, 0xEC, 3, flags]) + body for flags in (1, 0))
    assert unpack_all([whole])[0].missing.tolist() == [0]
    for one in unpack_all([missing] * MANY):
        assert (one.missing.tolist(), one.counts.tolist()) == ([72], counts.tolist())


# -- moments ------------------------------------------------------------------------------------

ROWS = 60
STILL = sketch_of([np.zeros(ROWS)] * 3)
BEHIND = HEAD + packed_length(ROWS)


def with_moments(*, total=0, excess=0, steps=0, below=0, above=0):
    """A sketch of 60 rows whose first channel has these numbers: what no rows need to have shown."""
    out = bytearray()
    for value in (zigzag(total), excess, steps, below, above):
        put(out, value)
    return STILL[:BEHIND] + bytes(out) + STILL[BEHIND + 5 :]


def assert_refused(data):
    alone, among = unpack_all([data])[0], read_among_others(data)
    assert isinstance(alone, MessageError)
    assert str(among) == str(alone)


@pytest.mark.parametrize(
    "moments",
    [
        {"total": ROWS * LIMIT},
        {"total": -ROWS * LIMIT},
        {"excess": ROWS * LIMIT**2},
        {"steps": (ROWS - 1) * (2 * LIMIT) ** 2},
        {"below": LIMIT, "above": LIMIT},
        {"total": ROWS * LIMIT, "below": 2 * LIMIT},
        {"total": -ROWS * LIMIT, "above": 2 * LIMIT},
        {"total": 1, "above": 1},
    ],
)
def test_moments_at_the_border_of_what_rows_can_have_are_read(moments):
    data = with_moments(**moments)
    assert pack(unpack_all([data])[0]) == pack(read_among_others(data)) == data
    assert_needs_no_reading_alone(data)


@pytest.mark.parametrize(
    "moments",
    [
        {"total": ROWS * LIMIT + 1},
        {"total": -ROWS * LIMIT - 1},
        {"total": ROWS * LIMIT + 1, "above": 1},
        {"excess": ROWS * LIMIT**2 + 1},
        {"total": ROWS, "excess": ROWS * LIMIT**2 - ROWS + 1},
        {"steps": (ROWS - 1) * (2 * LIMIT) ** 2 + 1},
        {"below": LIMIT + 1},
        {"above": LIMIT + 1},
        {"total": 1},
    ],
)
def test_moments_beyond_it_are_refused(moments):
    assert_refused(with_moments(**moments))


@pytest.mark.parametrize("name", ["total", "excess", "steps", "below", "above"])
@pytest.mark.parametrize("number", [2**63 - 1, 2**62, 2**56, 2**56 - 1])
def test_a_number_that_leaves_64_bits_when_it_is_reckoned_with_is_refused(name, number):
    for total in (-5 * ROWS, 5 * ROWS):
        assert_refused(with_moments(**{"total": total, name: unzigzag(number) if name == "total" else number}))
