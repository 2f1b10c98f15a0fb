"""What a reference profile must be, and what a person is told of one that will tell little."""

import msgspec
import numpy as np
import pytest

from edgeops.errors import ArtifactError
from edgeops.sketch.by_class import ClassSketches, owners
from edgeops.sketch.calibration import Calibration
from edgeops.sketch.caveats import reference_warnings
from edgeops.sketch.learnt import build_reference, profile_channel
from edgeops.sketch.packing import pack
from edgeops.sketch.reference import decode_reference, encode_reference
from edgeops.sketch.window import LIMIT, MAX_ROWS, Sketcher


def normal(rows, channels=2, *, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, channels)).astype(np.float32)


def profile_of(values, *, ordered=False, **options):
    names = [f"c{index}" for index in range(values.shape[1])]
    return build_reference(values, names, **({"discrete": (), "ordered": ordered} | options))


ORDERED = profile_of(normal(1000), ordered=True)


def with_channel(profile, **values):
    """The profile with its first channel changed."""
    first, *rest = profile.channels
    return msgspec.structs.replace(profile, channels=(msgspec.structs.replace(first, **values), *rest))


def refusal(profile):
    with pytest.raises(ArtifactError) as caught:
        decode_reference(encode_reference(profile))
    return str(caught.value)


def is_accepted(profile):
    return encode_reference(decode_reference(encode_reference(profile))) == encode_reference(profile)


# -- its form -------------------------------------------------------------------------------


def test_the_form_of_a_profile_never_changes():
    values = np.column_stack(([0, 1, 1, np.nan], [0.5] * 4)).astype(np.float32)
    right = Calibration(channel="confidence", confidence=np.array([0.25], np.float32), correct=np.array([True]))
    profile = build_reference(values, ["class", "confidence"], discrete={"class"}, answer="class", calibration=right)
    halves = np.array([0.5] * 30 + [np.nextafter(np.float32(0.5), np.float32(1))], "<f4")
    assert msgspec.msgpack.decode(encode_reference(profile)) == [
        1,
        False,
        [
            ["class", True, (np.arange(31) + 0.5).astype("<f4").tobytes(), 0.0, 1.0, 3.0, 0.0, b""],
            ["confidence", False, halves.tobytes(), 0.5, 1 / 1024, 4.0, 0.0, b""],
        ],
        bytes.fromhex("010204010100f2ffffff030400010001ffffff3f040000000000"),
        [],
        np.full(32, (1 + 32 * 4 * 0.5) / (1 + 32 * 4), "<f4").tobytes(),
        [
            0,
            b"\x01\x00" + b"\x01" * 30,
            [
                bytes.fromhex("01020200f9ffffff010400000000ffffff3f010000000000"),
                bytes.fromhex("01020100feffffff00000000ffffffbf00000000"),
            ],
        ],
        b"",
    ]
    assert is_accepted(profile)


@pytest.mark.parametrize(
    "data",
    [
        encode_reference(profile_of(normal(20))).replace(b"\xa2c1", b"\xa2\xffc"),
        b"\x98" + encode_reference(profile_of(normal(20)))[1:] + b"\x91" * 100_000,
        encode_reference(profile_of(normal(20))) + b"\x00",
    ],
    ids=["no text", "nested without end", "more behind it"],
)
def test_damaged_bytes_are_no_profile(data):
    with pytest.raises(ArtifactError, match="not a reference profile"):
        decode_reference(data)


def test_a_refusal_names_80_characters_of_a_channel_at_most():
    named = with_channel(ORDERED, name="x" * 79 + "yz", step=0.0)
    assert f"channel '{'x' * 79}y' of the" in refusal(named)


# -- what is accepted -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"edges": bytes(4 * 30)}, "needs 31 ascending edges"),
        ({"edges": np.arange(31, 0, -1, dtype="<f4").tobytes()}, "needs 31 ascending edges"),
        ({"edges": np.array([*range(30), 28], "<f4").tobytes()}, "needs 31 ascending edges"),
        ({"edges": np.full(31, np.nan, "<f4").tobytes()}, "needs 31 ascending edges"),
        ({"edges": bytes(4 * 31 + 1)}, "needs 31 ascending edges"),
        ({"centre": float("inf")}, "has centre inf"),
        ({"step": float("inf")}, "step inf"),
        ({"step": 0.0}, "step 0.0"),
        ({"step": 1e-100}, "step 1e-100"),
        ({"effective_rows": -0.5}, "worth -0.5 rows"),
        ({"effective_rows": MAX_ROWS + 1.0}, "rows, lag-1"),
        ({"lag1": 1.01}, "lag-1 1.01"),
        ({"lag1": -1.01}, "lag-1 -1.01"),
        ({"wander": b""}, "damaged block distances"),
        ({"wander": np.full(len(ORDERED.block_rows), 1.1, "<f4").tobytes()}, "damaged block distances"),
        ({"wander": np.full(len(ORDERED.block_rows), -0.1, "<f4").tobytes()}, "damaged block distances"),
    ],
)
def test_a_channel_that_nothing_can_be_measured_with_is_refused_by_name(values, part):
    assert part in refusal(with_channel(ORDERED, **values))
    assert "'c0'" in refusal(with_channel(ORDERED, **values))


@pytest.mark.parametrize(
    "values",
    [
        {"edges": bytes(4 * 31)},
        {"step": 1e-99},
        {"effective_rows": 0.0},
        {"effective_rows": float(MAX_ROWS)},
        {"lag1": 1.0},
        {"lag1": -1.0},
        {"wander": np.linspace(0, 1, len(ORDERED.block_rows), dtype="<f4").tobytes()},
    ],
)
def test_the_borders_of_what_can_be_measured_with_are_accepted(values):
    assert is_accepted(with_channel(ORDERED, **values))


@pytest.mark.parametrize("lengths", [(0, 50), (100, 50), (50, 50), (50, MAX_ROWS + 1)])
def test_block_lengths_ascend_from_one(lengths):
    wander = bytes(4 * len(lengths))
    channels = tuple(msgspec.structs.replace(channel, wander=wander) for channel in ORDERED.channels)
    broken = msgspec.structs.replace(ORDERED, block_rows=lengths, channels=channels)
    assert "must ascend from 1" in refusal(broken)
    assert is_accepted(msgspec.structs.replace(broken, block_rows=(1, MAX_ROWS)))


def test_a_profile_has_up_to_16_block_lengths():
    def of(count):
        wander = bytes(4 * count)
        channels = tuple(msgspec.structs.replace(channel, wander=wander) for channel in ORDERED.channels)
        return msgspec.structs.replace(ORDERED, block_rows=tuple(range(1, count + 1)), channels=channels)

    assert is_accepted(of(16))
    assert "not a reference profile" in refusal(of(17))


@pytest.mark.parametrize("widths", [np.zeros(31), np.full(32, np.inf), np.full(32, np.nan), np.full(32, -0.5)])
def test_intervals_have_32_half_widths_or_are_absent(widths):
    assert "32 half-widths of 0 or more" in refusal(
        msgspec.structs.replace(ORDERED, intervals=widths.astype("<f4").tobytes())
    )
    whole = msgspec.structs.replace(ORDERED, intervals=np.linspace(0, 9, 32, dtype="<f4").tobytes())
    assert decode_reference(encode_reference(whole)).half_widths().tolist() == pytest.approx(np.linspace(0, 9, 32))
    assert ORDERED.half_widths() is None


@pytest.mark.parametrize("shares", [np.zeros(31), np.full(32, 1.5), np.full(32, -0.5)])
def test_a_calibration_has_32_shares_or_is_absent(shares):
    assert "needs 32 shares" in refusal(msgspec.structs.replace(ORDERED, calibration=shares.astype("<f4").tobytes()))
    whole = msgspec.structs.replace(ORDERED, calibration=np.linspace(0, 1, 32, dtype="<f4").tobytes())
    assert is_accepted(whole)
    assert whole.expected_accuracy().tolist() == pytest.approx(np.linspace(0, 1, 32).tolist())
    assert ORDERED.expected_accuracy() is None


def test_a_profile_of_another_format_asks_for_an_update():
    assert "this version reads 1; update EdgeOps" in refusal(msgspec.structs.replace(ORDERED, format=2))


def test_a_profile_has_between_one_and_64_channels():
    assert "of 0 channels" in refusal(msgspec.structs.replace(ORDERED, channels=()))
    assert "of 65 channels" in refusal(msgspec.structs.replace(ORDERED, channels=ORDERED.channels[:1] * 65))
    assert is_accepted(profile_of(normal(50, 64)))
    assert is_accepted(profile_of(normal(50, 1)))


def test_a_profiles_own_sketch_is_one_of_its_channels():
    other = profile_of(normal(1000, 3))
    assert "other channels than the profile" in refusal(msgspec.structs.replace(ORDERED, sketch=other.sketch))
    assert "own sketch is damaged" in refusal(msgspec.structs.replace(ORDERED, sketch=b"\x01"))


def test_the_wander_of_all_channels_is_a_table_by_length():
    lengths = len(ORDERED.block_rows)
    table = np.linspace(0, 1, lengths, dtype="<f4")
    table_of_first = with_channel(ORDERED, wander=table.tobytes()).wander()
    assert table_of_first.shape == (lengths, 2)
    assert table_of_first[:, 0].tolist() == table.tolist()


# -- by class -------------------------------------------------------------------------------


def by_class_profile():
    """Class 2 in half of the rows, 0 in three eighths, 1 in one; the second channel is the class."""
    classes = np.array([2, 2, 2, 2, 0, 0, 0, 1] * 20, np.float32)
    classes[0] = np.nan
    values = np.column_stack((np.arange(160, dtype=np.float32), classes))
    return profile_of(values, discrete={"c1"}, answer="c1"), values


def test_rows_are_kept_apart_by_the_class_that_was_answered():
    profile, values = by_class_profile()
    by_class = profile.by_class
    assert by_class.answer == 1
    assert list(by_class.owner[:3]) == [1, 2, 0], "the most frequent class comes first"
    counts = by_class.counts()
    assert counts.shape == (3, 2, 32)
    assert counts[:, 1].sum(axis=1).tolist() == [79, 60, 20], "a row without an answer is nobody's"
    for place, one in enumerate((2, 0, 1)):
        sketcher = Sketcher(profile)
        sketcher.add(values[values[:, 1] == one])
        assert by_class.sketches[place] == pack(sketcher.sketch())
    assert is_accepted(profile)


def test_classes_beyond_the_most_frequent_share_one_sketch():
    counts = np.arange(32, 0, -1, dtype=np.int64)
    assert owners(counts).tolist() == [*range(15), *[15] * 17]
    assert owners(counts[::-1]).tolist() == [*[15] * 17, *range(14, -1, -1)]


def test_classes_as_frequent_as_each_other_keep_their_order_and_empty_ones_go_to_the_last():
    counts = np.zeros(32, np.int64)
    counts[[3, 5]] = 7
    assert owners(counts).tolist() == [1, 1, 1, 0, 1, 1, *[1] * 26]
    assert set(owners(np.zeros(32, np.int64)).tolist()) == {0}


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"answer": 2}, "by channel 2 of 2"),
        ({"answer": -1}, "by channel -1 of 2"),
        ({"sketches": ()}, "0 class sketches"),
        ({"owner": bytes(31)}, "do not say which answer is whose"),
        ({"owner": bytes([3] * 32)}, "do not say which answer is whose"),
        ({"owner": bytes([0] * 31 + [3])}, "do not say which answer is whose"),
        ({"sketches": (pack(Sketcher(profile_of(normal(10, 3))).sketch()),), "owner": bytes(32)}, "other channels"),
    ],
)
def test_class_sketches_that_do_not_fit_their_profile_are_refused(values, part):
    profile, _ = by_class_profile()
    broken = msgspec.structs.replace(profile, by_class=msgspec.structs.replace(profile.by_class, **values))
    assert part in refusal(broken)


def test_more_class_sketches_than_there_are_bins_to_own_them_are_refused():
    profile, _ = by_class_profile()
    many = msgspec.structs.replace(profile.by_class, sketches=profile.by_class.sketches[:1] * 17)
    assert "17 class sketches" in refusal(msgspec.structs.replace(profile, by_class=many))
    most = ClassSketches(answer=0, owner=bytes(range(16)) * 2, sketches=profile.by_class.sketches[:1] * 16)
    assert is_accepted(msgspec.structs.replace(profile, by_class=most))


def test_the_answers_channel_must_exist():
    with pytest.raises(ArtifactError, match="no channel 'answer' in the reference; it has c0, c1"):
        profile_of(normal(20), answer="answer")


# -- the grid -------------------------------------------------------------------------------


def grid_of(values):
    channel = profile_channel("c", np.array(values, np.float32), discrete=False, effective_rows=1.0)
    return channel.centre, channel.step


def test_a_grid_step_is_a_32nd_of_the_deviation_or_of_the_middle_half_if_that_is_less():
    even = np.linspace(-1, 1, 1001)
    centre, step = grid_of(even)
    assert centre == pytest.approx(0.0, abs=1e-7)
    assert step == pytest.approx(even.std() / 32, rel=1e-3)
    tailed = np.concatenate((even, np.full(50, 30.0)))
    lower, upper = np.quantile(tailed, (0.25, 0.75))
    assert grid_of(tailed)[1] == pytest.approx((upper - lower) / 1.349 / 32, rel=1e-3)
    assert (upper - lower) / 1.349 < tailed.std()


def test_a_channel_far_from_zero_is_measured_by_its_deviation():
    values = 1000 + np.linspace(-1, 1, 1001)
    assert grid_of(values)[1] == pytest.approx(values.std() / 32, rel=1e-3)


def test_where_half_of_the_values_are_one_the_deviation_counts():
    values = np.array([0.0] * 80 + [1.0] * 20)
    assert grid_of(values)[1] == pytest.approx(values.std() / 32, rel=1e-6)


def test_the_references_own_values_reach_no_further_than_half_of_the_grid():
    values = np.concatenate((np.linspace(-1e-3, 1e-3, 1000), [1e6]))
    centre, step = grid_of(values)
    assert (1e6 - centre) / step == pytest.approx(LIMIT / 2, rel=1e-6)


@pytest.mark.parametrize(("value", "step"), [(0.0, 1 / 1024), (0.5, 1 / 1024), (-2048.0, 2.0), (4096.0, 4.0)])
def test_a_constant_has_a_grid_of_its_own_size(value, step):
    assert grid_of([value] * 10) == (value, step)


def test_a_channel_without_a_value_has_a_grid_all_the_same():
    assert grid_of([np.nan] * 3) == (0.0, 1 / 1024)


def test_a_class_is_counted_in_whole_numbers():
    channel = profile_channel("c", np.array([0, 1, 2], np.float32), discrete=True, effective_rows=3.0)
    assert (channel.centre, channel.step, channel.effective_rows, channel.lag1, channel.wander) == (0, 1, 3, 0, b"")


def test_what_is_missing_is_not_counted_as_a_row_that_counts():
    values = normal(100)
    values[:30, 0] = np.nan
    assert [channel.effective_rows for channel in profile_of(values).channels] == [70.0, 100.0]


# -- what a person is told --------------------------------------------------------------------


def slow(rows, *, seed=1):
    """A walk that hardly moves from row to row."""
    return np.cumsum(normal(rows, 1, seed=seed), axis=0).astype(np.float32)


def test_a_good_reference_needs_no_warning():
    assert reference_warnings(profile_of(normal(5000))) == ()
    assert reference_warnings(profile_of(normal(5000), ordered=True)) == ()


def test_a_constant_and_an_absent_channel_are_told_and_a_constant_class_is_not():
    values = normal(500, 4)
    values[:, 0] = 3.0
    values[:, 1] = np.nan
    values[:, 3] = 1.0
    (warning,) = reference_warnings(profile_of(values, discrete={"c3"}))
    assert warning.startswith("c0, c1 never changed in these rows: ")


def test_a_walk_is_told_to_wander_and_to_be_slow():
    wandering, slowly = reference_warnings(profile_of(slow(2000), ordered=True))
    assert wandering.startswith("c0 differ between the quarters of these rows: ")
    assert slowly.startswith("c0 change so slowly that these rows are worth fewer than 50 independent ones: ")


def test_rows_whose_order_says_nothing_are_not_told_to_wander():
    assert reference_warnings(profile_of(slow(2000))) == ()


def test_a_quarter_apart_is_where_wandering_is_told():
    lengths = len(ORDERED.block_rows)
    for distance, told in ((0.2499, 0), (0.25, 1)):
        table = np.zeros(lengths, "<f4")
        table[-1] = distance
        table[0] = 1.0
        assert len(reference_warnings(with_channel(ORDERED, wander=table.tobytes()))) == told


def test_fewer_than_50_independent_rows_are_slow():
    # 1000 rows of lag-1 r are worth 1000 (1 - r) / (1 + r); those of a negative r are worth no more than 1000.
    for lag, told in ((950 / 1050, 0), (951 / 1049, 1), (-0.99, 0)):
        assert len(reference_warnings(with_channel(ORDERED, lag1=lag))) == told
    few = profile_of(normal(49), ordered=True)
    channels = tuple(msgspec.structs.replace(channel, lag1=-0.9) for channel in few.channels)
    assert len(reference_warnings(msgspec.structs.replace(few, channels=channels))) == 1


def test_fewer_ordered_rows_than_a_block_has_tell_nothing_of_wandering():
    few = profile_of(slow(49), ordered=True)
    assert (few.block_rows, few.channels[0].wander) == ((), b"")
    assert few.wander().shape == (0, 1)
    assert is_accepted(few)


def test_a_warning_names_five_channels_and_counts_the_others():
    values = np.ones((50, 7), np.float32)
    (warning,) = reference_warnings(profile_of(values))
    assert warning.startswith("c0, c1, c2, c3, c4 and 2 more never changed")
    (warning,) = reference_warnings(profile_of(values[:, :6]))
    assert warning.startswith("c0, c1, c2, c3, c4 and 1 more never changed")
    (warning,) = reference_warnings(profile_of(values[:, :5]))
    assert warning.startswith("c0, c1, c2, c3, c4 never changed")


def test_one_class_sketch_of_other_channels_is_enough_to_refuse_all():
    profile, _ = by_class_profile()
    good, *rest = profile.by_class.sketches
    strange = pack(Sketcher(profile_of(normal(10, 3))).sketch())
    broken = msgspec.structs.replace(profile.by_class, sketches=(good, strange, *rest[1:]))
    assert "other channels" in refusal(msgspec.structs.replace(profile, by_class=broken))


def test_blocks_of_an_ordered_reference_are_of_its_consecutive_rows():
    values = normal(1000, 1, seed=7)
    profile = profile_of(values, ordered=True)
    assert profile.block_rows == (50, 100, 200, 250)
    bins = profile.grid.edges[0].searchsorted(values[:, 0], side="right")
    for place, length in enumerate(profile.block_rows):
        largest = 0.0
        for start in range(0, 1000 - length + 1, 50):
            inside = np.zeros(1000, bool)
            inside[start : start + length] = True
            shares = [np.cumsum(np.bincount(bins[part], minlength=32)) / part.sum() for part in (inside, ~inside)]
            largest = max(largest, np.abs(shares[0] - shares[1]).max())
        assert profile.wander()[place, 0] == pytest.approx(largest, abs=1e-6)
