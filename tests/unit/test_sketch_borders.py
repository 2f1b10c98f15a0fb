"""Packed sketches at the borders of their form: what no rows can have shown is refused, in every place."""

import numpy as np
import pytest

from edgeops.errors import MessageError
from edgeops.sketch.histogram import class_edges, pack_counts, packed_length, quantile_edges, unpack_counts
from edgeops.sketch.packing import pack, unpack
from edgeops.sketch.varint import put
from edgeops.sketch.window import LIMIT, MAX_ROWS
from tests.unit.sketches import packed


def numbers(*values):
    out = bytearray()
    for value in values:
        put(out, value)
    return bytes(out)


def broken_channel(*, rows, missing, gaps, present):
    """A sketch of one channel that is not whole; all values in the first bin, at the centre."""
    counts = np.zeros((1, 32), np.int64)
    counts[0, 0] = present
    data = bytes([1]) + numbers(1, rows) + b"\x01" + numbers(missing, gaps)
    data += pack_counts(counts, present).tobytes()
    if present:
        pairs = max(present - 1, 0) - gaps
        data += numbers(0, 0, *([0] if pairs > 0 else []), 0, 0)
    return data


def absent_channel(rows, *, missing=None):
    """A sketch of so many rows without a value."""
    return (
        bytes([1]) + numbers(1, rows) + b"\x01" + numbers(rows if missing is None else missing, 0) + b"\xff\xff\xff\x7f"
    )


def test_a_sketch_has_up_to_2_to_the_28_rows_whose_sums_fit_into_64_bits():
    assert unpack(absent_channel(2**28)).rows == 2**28
    with pytest.raises(MessageError, match="268435457 where at most 268435456 is possible"):
        unpack(absent_channel(2**28 + 1))
    assert MAX_ROWS * (2 * LIMIT) ** 2 < 2**63


def test_a_channel_misses_no_more_rows_than_there_are():
    with pytest.raises(MessageError, match="where at most 3 is possible"):
        unpack(absent_channel(3, missing=4))


@pytest.mark.parametrize("channels", [1, 7, 8, 9, 16, 17, 64])
def test_any_number_of_channels_comes_back(channels):
    data = packed(50, channels=channels)
    assert pack(unpack(data)) == data


def test_a_channel_with_gaps_comes_back():
    data = broken_channel(rows=5, missing=2, gaps=1, present=3)
    assert pack(unpack(data)) == data
    sketch = unpack(data)
    assert (sketch.missing.tolist(), sketch.pairs.tolist()) == ([2], [1])


def test_a_channel_that_is_whole_is_not_marked_as_broken():
    with pytest.raises(MessageError, match="marks a whole channel as broken"):
        unpack(broken_channel(rows=3, missing=0, gaps=0, present=3))


@pytest.mark.parametrize("present", [0, 1])
def test_one_value_or_none_has_no_pair_that_could_be_missing(present):
    good = broken_channel(rows=2, missing=2 - present, gaps=0, present=present)
    assert pack(unpack(good)) == good
    with pytest.raises(MessageError, match="where at most 0 is possible"):
        unpack(broken_channel(rows=2, missing=2 - present, gaps=1, present=present))


@pytest.mark.parametrize(
    ("counts", "form"),
    [
        (np.arange(32), "1063fac5d427be8998eb724d5caf36f1db5a55a5524a9200"),
        (10_000 * np.eye(1, 32, dtype=int)[0], "10" * 31 + "0000000080ffffff3f"),
        (
            100 * np.arange(32),
            "0090c11296e8734703bc1052c6177278324e10b82011cf2c8e08f2482df430d1cb11ea98b247dad7aa4a29499248242202",
        ),
        (0 * np.arange(32), "ffffff7f"),
    ],
)
def test_the_form_of_counts_never_changes(counts, form):
    total = int(counts.sum())
    assert pack_counts(counts[np.newaxis], total).tobytes().hex() == form
    read, are_counts = unpack_counts(np.frombuffer(bytes.fromhex(form), np.uint8)[np.newaxis], total)
    assert (read.tolist(), are_counts.tolist()) == ([counts.tolist()], [True])


def test_running_totals_that_fall_are_no_counts():
    total, low = 500, 4
    counts = np.zeros((1, 32), np.int64)
    counts[0, :3] = 5, 4, total - 9
    bits = np.unpackbits(pack_counts(counts, total)[0], bitorder="little")
    first, second = bits[:low].copy(), bits[low : 2 * low].copy()
    assert (first != second).any(), "both running totals, 5 and 9, have the same high bits"
    bits[:low], bits[low : 2 * low] = second, first
    data = np.packbits(bits, bitorder="little").reshape(1, -1)
    assert data.shape == (1, packed_length(total))
    assert unpack_counts(data, total)[1].tolist() == [False]


def test_edges_of_values_without_repeats_are_their_quantiles():
    values = np.random.default_rng(2).normal(size=999).astype(np.float32)
    quantiles = np.quantile(values.astype(np.float64), np.arange(1, 32) / 32).astype(np.float32)
    assert quantile_edges(values).tolist() == quantiles.tolist()


def test_each_value_that_repeats_over_edges_has_bins_of_its_own():
    spread = np.linspace(0, 1, 200, dtype=np.float32)
    values = np.concatenate((spread, np.full(300, 0.3), np.full(300, 0.7))).astype(np.float32)
    edges = quantile_edges(values)
    for value in (np.float32(0.3), np.float32(0.7)):
        run = np.flatnonzero((edges == value) | (edges == np.nextafter(value, np.float32(np.inf))))
        assert len(run) > 3
        assert (edges[run[:-1]] == value).all()
        assert edges[run[-1]] > value, "what lies above is told from it"
        assert edges[run[0] - 1] < value
    single = ~np.isin(edges, [np.float32(0.3), np.float32(0.7)]) & (edges < 0.29)
    quantiles = np.quantile(values.astype(np.float64), np.arange(1, 32) / 32).astype(np.float32)
    assert edges[single].tolist() == quantiles[single].tolist()


def test_more_classes_than_bins_begin_to_share_at_33():
    assert class_edges(np.array([31], np.float32)).tolist() == [place + 0.5 for place in range(31)]
    shared = class_edges(np.array([32], np.float32))
    assert shared.tolist() == [np.ceil(place * 33 / 32) - 0.5 for place in range(1, 32)]
    assert shared[-1] == 31.5


def test_no_channel_is_marked_that_is_not_there():
    """Version, channels, rows, and one bit a channel: those beyond the last say nothing."""
    data = packed(60)
    assert data[:4] == b"\x01\x03\x3c\x00"
    with pytest.raises(MessageError, match=r"^a sketch of 3 channels marks more than those$"):
        unpack(data[:3] + b"\x08" + data[4:])
