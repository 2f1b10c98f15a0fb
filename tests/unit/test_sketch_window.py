"""Sketches, their packed form, and the reference they are measured with."""

from dataclasses import replace

import numpy as np
import pytest

from edgeops import limits
from edgeops.errors import ArtifactError, MessageError
from edgeops.sketch.histogram import class_edges, pack_counts, packed_length, quantile_edges, unpack_counts
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack, unpack
from edgeops.sketch.reference import decode_reference, encode_reference
from edgeops.sketch.summary import autocorrelation, summarize
from edgeops.sketch.window import LIMIT, MAX_ROWS, Sketcher, empty_sketch, merge, merge_all


def normal(rows, channels, *, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, channels)).astype(np.float32)


def reference_of(values, *, discrete=(), ordered=False):
    return build_reference(values, [f"c{i}" for i in range(values.shape[1])], discrete=discrete, ordered=ordered)


def sketch_of(values, reference):
    sketcher = Sketcher(reference)
    sketcher.add(values)
    return sketcher.sketch()


REFERENCE = reference_of(normal(5000, 3))


# -- counts ----------------------------------------------------------------------


@pytest.mark.parametrize("total", [0, 1, 31, 62, 500, 10_000])
def test_packed_counts_have_a_length_that_depends_on_their_sum_alone(total):
    even = [total // 32] * 31
    even.append(total - sum(even))
    one = [0] * 9 + [total] + [0] * 22
    counts = np.array([even, one])
    data = pack_counts(counts, total)
    assert data.shape == (2, packed_length(total))
    read, are_counts = unpack_counts(data, total)
    assert are_counts.all()
    assert (read == counts).all()


def test_500_rows_take_24_bytes_a_channel():
    assert packed_length(500) == 24


@pytest.mark.parametrize("data", [bytes(24), b"\xff" * 24])
def test_bytes_that_are_no_counts_are_told_from_those_that_are(data):
    good = pack_counts(np.full((1, 32), 500 // 32) + np.eye(1, 32, dtype=int) * (500 % 32), 500).tobytes()
    _, are_counts = unpack_counts(np.frombuffer(good + data + good, np.uint8).reshape(3, 24), 500)
    assert are_counts.tolist() == [True, False, True]


def test_quantile_edges_fill_bins_evenly():
    values = normal(3200, 1)
    counts = sketch_of(values, reference_of(values)).counts[0]
    assert counts.min() >= 98
    assert counts.max() <= 102


def test_a_repeated_value_is_told_from_what_lies_above_and_below():
    reference = reference_of(np.full((100, 1), 7, np.float32))
    counts = sketch_of(np.array([[7], [6.5], [7.5]], np.float32), reference).counts[0]
    assert sorted(counts[counts > 0].tolist()) == [1, 1, 1]


def test_edges_never_descend():
    for values in (np.repeat(np.arange(5), 50), np.zeros(10), np.array([]), np.array([1.0, 2.0])):
        edges = quantile_edges(values.astype(np.float32))
        assert (np.diff(edges) >= 0).all()


def test_classes_have_bins_of_their_own():
    classes = np.arange(10, dtype=np.float32).repeat(5)[:, np.newaxis]
    reference = reference_of(classes, discrete={"c0"})
    assert sketch_of(classes, reference).counts[0].tolist() == [5] * 10 + [0] * 22
    assert reference.grid.step.tolist() == [1.0]


def test_more_classes_than_bins_share_them():
    edges = class_edges(np.arange(100, dtype=np.float32))
    assert (np.diff(edges) >= 3).all()


# -- sketches --------------------------------------------------------------------


def test_a_sketch_knows_mean_deviation_extremes_and_what_is_missing():
    values = normal(500, 3, seed=2) * 2 + 1
    values[::10, 1] = np.nan
    first, second, _ = summarize(sketch_of(values, REFERENCE), REFERENCE)
    assert first.mean == pytest.approx(values[:, 0].mean(), abs=0.01)
    assert first.std == pytest.approx(values[:, 0].std(), abs=0.01)
    assert first.min == pytest.approx(values[:, 0].min(), abs=1 / 32)
    assert first.max == pytest.approx(values[:, 0].max(), abs=1 / 32)
    assert (second.count, second.missing) == (450, 50)
    assert sum(second.histogram) == 450


def test_lag_1_autocorrelation_is_measured_on_consecutive_rows():
    rng = np.random.default_rng(3)
    noise = rng.normal(size=5000)
    series = np.zeros(5000)
    for index in range(1, 5000):
        series[index] = 0.9 * series[index - 1] + noise[index]
    values = np.stack([series, noise, np.full(5000, 4.0)], axis=1).astype(np.float32)
    lags = autocorrelation(sketch_of(values, reference_of(values)))
    assert lags[0] == pytest.approx(0.9, abs=0.03)
    assert lags[1] == pytest.approx(0.0, abs=0.05)
    assert lags[2] == 0.0


def test_row_by_row_and_in_batches_give_the_same_sketch():
    values = normal(733, 3)
    values[values > 1.5] = np.nan
    one_by_one = Sketcher(REFERENCE)
    for row in values:
        one_by_one.push(row)
    assert one_by_one.rows == 733
    assert pack(one_by_one.sketch()) == pack(sketch_of(values, REFERENCE))


def test_rows_pushed_one_by_one_come_before_those_added_after_them():
    values = normal(150, 3)
    sketcher = Sketcher(REFERENCE)
    for row in values[:120]:
        sketcher.push(row)
    sketcher.add(values[120:])
    assert sketcher.rows == 150
    assert pack(sketcher.sketch()) == pack(sketch_of(values, REFERENCE))


def test_any_number_of_rows_at_once_is_what_they_are_in_parts():
    values = normal(2 * 2**16 + 3, 3)
    sketcher = Sketcher(REFERENCE)
    for part in np.array_split(values, 5):
        sketcher.add(part)
    whole = sketch_of(values, REFERENCE)
    assert whole.rows == len(values)
    assert pack(whole) == pack(sketcher.sketch())


def test_a_cleared_sketcher_starts_a_new_window_without_a_predecessor():
    values = normal(50, 3)
    sketcher = Sketcher(REFERENCE)
    sketcher.add(normal(20, 3, seed=9))
    sketcher.clear()
    sketcher.add(values)
    assert pack(sketcher.sketch()) == pack(sketch_of(values, REFERENCE))


def test_a_missing_value_breaks_two_pairs():
    values = normal(10, 3)
    values[4, 0] = np.nan
    sketch = sketch_of(values, REFERENCE)
    assert sketch.pairs.tolist() == [7, 9, 9]


def test_a_missing_value_at_the_end_of_a_batch_breaks_the_pair_into_the_next():
    values = normal(10, 3)
    values[4, 0] = np.nan
    sketcher = Sketcher(REFERENCE)
    sketcher.add(values[:5])
    sketcher.add(values[5:])
    assert sketcher.sketch().pairs.tolist() == [7, 9, 9]
    assert pack(sketcher.sketch()) == pack(sketch_of(values, REFERENCE))


def test_infinite_readings_count_as_missing_and_huge_ones_saturate():
    values = np.array([[np.inf, 3e38, -3e38]], np.float32)
    sketch = sketch_of(values, REFERENCE)
    assert sketch.missing.tolist() == [1, 0, 0]
    assert sketch.total.tolist() == [0, LIMIT, -LIMIT]


def test_merging_equals_sketching_the_whole_but_for_pairs_across_the_border():
    values = normal(500, 3)
    whole = sketch_of(values, REFERENCE)
    parts = [sketch_of(part, REFERENCE) for part in np.array_split(values, 4)]
    merged = merge_all(parts, channels=3)
    for field in ("counts", "total", "squares", "low", "high"):
        assert getattr(merged, field).tolist() == getattr(whole, field).tolist()
    assert merged.pairs.tolist() == [496] * 3
    assert whole.pairs.tolist() == [499] * 3


def test_merging_with_nothing_changes_nothing():
    sketch = sketch_of(normal(10, 3), REFERENCE)
    assert pack(merge(sketch, empty_sketch(3))) == pack(sketch)


def test_sketches_of_other_channels_do_not_merge():
    with pytest.raises(MessageError, match="3 and 2 channels"):
        merge(empty_sketch(3), empty_sketch(2))


# -- bytes -----------------------------------------------------------------------


def test_the_packed_form_never_changes():
    training = np.linspace(0, 31, 32, dtype=np.float32)[:, np.newaxis]
    reference = build_reference(training, ["class"], discrete={"class"})
    sketch = sketch_of(np.array([[0], [1], [1], [3], [np.nan]], np.float32), reference)
    assert pack(sketch).hex() == "010105010100b2ffffff070a04050102"


def test_16_channels_and_500_rows_fit_the_budget_however_far_they_drifted():
    reference = reference_of(normal(5000, 16))
    for shift, spread in ((0, 1), (3, 1), (100, 1), (0, 5), (-40, 3)):
        assert len(pack(sketch_of(normal(500, 16) * spread + shift, reference))) <= 640


def test_a_sketch_without_rows_packs():
    assert unpack(pack(empty_sketch(3))).rows == 0


def test_what_was_packed_comes_back():
    values = normal(100, 3)
    values[:, 1] = np.nan
    sketch = sketch_of(values, REFERENCE)
    again = unpack(pack(sketch))
    for field in ("rows", "counts", "total", "squares", "pairs", "steps", "low", "high"):
        assert np.array_equal(getattr(again, field), getattr(sketch, field)), field


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02\x01\x00\x00",  # another version
        b"\x01\x00\x00",  # no channels
        b"\x01\x41\x00" + bytes(9),  # 65 channels
        b"\x01\x01\xff\xff\xff\xff\x0f\x00",  # too many rows
        b"\x01\x01\x00\x02" + bytes(4),  # marks a second channel
        b"\x01\x01\x80\x00\x00" + bytes(4),  # a varint that is not the shortest
        b"\x01\x01" + b"\x80" * 20,  # a varint without end
    ],
)
def test_bytes_that_are_no_sketch_are_refused(data):
    with pytest.raises(MessageError):
        unpack(data)


def test_truncated_and_lengthened_sketches_are_refused():
    data = pack(sketch_of(normal(500, 3), REFERENCE))
    for at in range(len(data)):
        with pytest.raises(MessageError):
            unpack(data[:at])
    with pytest.raises(MessageError, match="behind its end"):
        unpack(data + b"\x00")


def test_a_sketch_has_a_largest_number_of_rows():
    one = sketch_of(normal(1, 3), REFERENCE)
    almost = replace(empty_sketch(3), rows=MAX_ROWS - 1)
    most = merge(one, almost)
    assert most.rows == MAX_ROWS
    with pytest.raises(MessageError, match="a sketch of 268435457 rows, at most 268435456"):
        merge(one, most)


# -- reference -------------------------------------------------------------------


def test_a_reference_comes_back_from_its_bytes():
    again = decode_reference(encode_reference(REFERENCE))
    assert again == REFERENCE
    assert again.summary().rows == 5000
    assert again.names == ("c0", "c1", "c2")


def test_blocks_of_an_ordered_reference_show_how_much_it_wanders():
    steady = reference_of(normal(2000, 1), ordered=True)
    wandering = reference_of(
        (normal(2000, 1) * 0.1 + np.linspace(0, 5, 2000)[:, None]).astype(np.float32), ordered=True
    )
    quiet, loud = (np.frombuffer(profile.channels[0].wander, "<f4") for profile in (steady, wandering))
    assert len(quiet) == len(loud) == len(steady.block_rows)
    assert quiet[-1] < 0.15
    assert loud.max() > 0.8
    assert wandering.channels[0].lag1 > 0.9


def test_one_wild_row_leaves_the_grid_fine_enough_to_see_the_others_move():
    """3,450 deviations away, as in a real set of gas sensors; yet its own size can still be told."""
    values = normal(2_000, 1)
    values[7] = 16_242
    reference = reference_of(values)
    summary = summarize(sketch_of(normal(500, 1, seed=2), reference), reference)[0]
    assert summary.std == pytest.approx(1, abs=0.15)
    assert summarize(sketch_of(values, reference), reference)[0].max == pytest.approx(16_242, rel=1e-3)


def test_a_constant_and_an_absent_channel_have_a_reference():
    values = np.stack([np.full(100, 20.5), np.full(100, np.nan)], axis=1).astype(np.float32)
    reference = decode_reference(encode_reference(reference_of(values)))
    constant, absent = summarize(reference.summary(), reference)
    assert (constant.mean, constant.std) == (20.5, 0.0)
    assert (absent.count, absent.missing, absent.mean) == (0, 100, None)


def test_a_reference_needs_rows_and_a_name_per_channel():
    with pytest.raises(ArtifactError, match="needs rows"):
        build_reference(np.empty((0, 1), np.float32), ["a"], discrete=())
    with pytest.raises(ArtifactError, match="for 1 channels"):
        build_reference(normal(10, 2), ["a"], discrete=())
    with pytest.raises(ArtifactError, match="at most 64"):
        reference_of(normal(10, limits.MAX_CHANNELS + 1))


def test_a_damaged_reference_is_refused():
    data = encode_reference(REFERENCE)
    for damaged in (b"", b"garbage", data[:-1], data[:100] + b"\xff\xff\xff\xff" + data[104:]):
        with pytest.raises(ArtifactError, match="reference profile"):
            decode_reference(damaged)


def test_a_sketch_of_other_channels_is_not_summarized():
    with pytest.raises(MessageError, match="the profile has 3"):
        summarize(empty_sketch(2), REFERENCE)
