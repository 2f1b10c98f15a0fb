"""What a finding must and must not say, whatever devices send.

Sketches are of two sorts: arbitrary ones, as anybody may pack them, and honest ones, drawn from a world. The honest
devices' worlds are given by the histograms they fill, so that what is stable and what has clearly moved is known.
"""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops import limits
from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift.finding import Finding, Kind, Verdict
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.rounds import DeviceWindow, align, per_device
from edgeops.drift.verdict import judge, judge_fleet
from edgeops.sketch.calibration import Calibration
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack, unpack
from edgeops.sketch.window import LIMIT, MAX_ROWS, Sketch, empty_sketch, merge_all

CHANNELS = (
    Channel(name="slow", kind=ChannelKind.COLUMN, index=0),
    Channel(name="quick", kind=ChannelKind.COLUMN, index=1),
    Channel(name="constant", kind=ChannelKind.COLUMN, index=2),
    Channel(name="absent", kind=ChannelKind.COLUMN, index=3),
    Channel(name="answer", kind=ChannelKind.ANSWER),
    Channel(name="confidence", kind=ChannelKind.CONFIDENCE),
)
NAMES = tuple(channel.name for channel in CHANNELS)
SLOW, QUICK, CONSTANT, ABSENT, ANSWER, CONFIDENCE = range(6)
BINS = limits.HISTOGRAM_BINS
POLICY = DriftPolicy()
START = datetime(2026, 11, 23, 12, tzinfo=UTC)
#: The words for it where more rows would not help, or where nobody knows how many.
NO_HELP = ("a reference over a longer time", "more than the horizon", "nothing that could be compared")


def reference_of(*, ordered, rows=4_000):
    random = np.random.default_rng(3)
    values = random.normal(size=(rows, len(CHANNELS))).astype(np.float32)
    for row in range(1, rows):
        values[row, SLOW] = 0.9 * values[row - 1, SLOW] + 0.44 * values[row, SLOW]
    values[:, CONSTANT], values[:, ABSENT] = 7.0, np.nan
    values[:, ANSWER] = random.integers(0, 3, rows)
    values[:, CONFIDENCE] = random.uniform(0.4, 1, rows)
    values[:, QUICK] += values[:, ANSWER]
    right = random.random(rows) < values[:, CONFIDENCE]
    calibration = Calibration(channel="confidence", confidence=values[:, CONFIDENCE], correct=right)
    return build_reference(
        values, NAMES, discrete=("answer",), ordered=ordered, answer="answer", calibration=calibration
    )


REFERENCES = (reference_of(ordered=True), reference_of(ordered=False))
SHARES = REFERENCES[0].summary().counts / np.maximum(REFERENCES[0].summary().present, 1)[:, np.newaxis]
# One source of chance that may not differ between runs: what is seldom wrong is then never wrong.
some = settings(deadline=None, max_examples=30, derandomize=True)
references = st.sampled_from(REFERENCES)


# -- what devices may send -----------------------------------------------------------------------


def any_histogram(random, present):
    """Any 32 counts of this sum."""
    weights = (
        np.eye(BINS)[random.integers(BINS)],
        np.ones(BINS),
        np.eye(BINS)[0] + np.eye(BINS)[-1],
        random.integers(0, 9, BINS) + 1e-9,
    )[random.integers(4)]
    return np.diff(np.rint(np.cumsum(weights) / weights.sum() * present).astype(np.int64), prepend=0)


def any_column(random, rows):
    """Counts and moments of one channel, likely or not, as far as the packed form allows."""
    present = rows - int(random.choice((0, 0, 0, min(1, rows), rows // 2, rows)))
    if not present:
        return np.zeros(BINS, np.int64), 0, 0, 0, 0, LIMIT, -LIMIT
    total = present * int(random.choice((0, 37, LIMIT, -LIMIT))) + int(random.choice((0, 0, 1)))
    total = min(total, present * LIMIT)
    squares = -(-total * total // present) + int(random.choice((0, 1, present, present * LIMIT**2)))
    pairs = int(random.choice((0, present - 1, (present - 1) // 2)))
    steps = pairs * int(random.choice((0, 1, 4 * LIMIT**2)))
    low, high = int(random.choice((-LIMIT, total // present))), int(random.choice((LIMIT, -(-total // present))))
    return any_histogram(random, present), total, min(squares, present * LIMIT**2), pairs, steps, low, high


def any_sketch(random, sizes=(0, 1, 27, 49, 50, 80, 500, 25_000, MAX_ROWS)):
    """Whatever may lie in the packed form."""
    rows = int(random.choice(sizes))
    counts, *moments = zip(*(any_column(random, rows) for _ in CHANNELS), strict=True)
    return unpack(pack(Sketch(rows, np.array(counts), *(np.array(one, np.int64) for one in moments))))


def honest_sketch(random, rows, shares=SHARES):
    """Rows drawn from a world that fills the reference's bins in these shares; `absent` stays so."""
    counts = np.array([random.multinomial(rows if one.sum() else 0, one / max(one.sum(), 1)) for one in shares])
    return unpack(pack(of_counts(rows, counts)))


def of_counts(rows, counts):
    """With moments of rows that do not resemble each other and of a value that moves; of `constant`, does not."""
    present = counts.sum(axis=1)
    pairs = np.maximum(present - 1, 0)
    spread = np.where(np.arange(len(counts)) == CONSTANT, 0, 30)
    return Sketch(
        rows, counts, total=0 * present, squares=present * spread**2, pairs=pairs, steps=2 * pairs * spread**2,
        low=np.where(present > 0, -100, LIMIT), high=np.where(present > 0, 100, -LIMIT),
    )  # fmt: skip


def moved_shares():
    """A world that has clearly moved on every channel that can tell: the lower half of the bins is empty."""
    shares = SHARES.copy()
    shares[[SLOW, QUICK, CONFIDENCE], : BINS // 2] = 0
    shares[ANSWER] = np.eye(BINS)[2]
    return shares


seeds = st.integers(0, 2**32 - 1)


@st.composite
def any_fleet(draw):
    """Devices that all send whatever may be sent."""
    random = np.random.default_rng(draw(seeds))
    windows = st.lists(st.builds(lambda: any_sketch(random)), max_size=5)
    return draw(st.lists(windows, max_size=6))


@st.composite
def drawn_fleet(draw, least=1, most=7):
    """Honest devices in one world each, moved or not, with rows of all sizes, equal ones among them."""
    random = np.random.default_rng(draw(seeds))
    number, windows = draw(st.integers(least, most)), draw(st.integers(1, 5))
    worlds = [draw(st.sampled_from((SHARES, moved_shares()))) for _ in range(number)]
    sizes = st.sampled_from((0, 13, 30, 30, 30, 200))
    return [[honest_sketch(random, draw(sizes), shares) for _ in range(windows)] for shares in worlds]


def named(devices):
    return {f"device-{place}": windows for place, windows in enumerate(devices)}


def judged(reference, fleet, policy=POLICY):
    return judge_fleet(reference, fleet, policy, channels=CHANNELS)


# -- whatever comes --------------------------------------------------------------------------------


@some
@given(references, any_fleet())
def test_no_sketches_break_a_judgement_and_every_number_of_a_finding_is_one(reference, devices):
    found = judged(reference, named(devices))
    assert found.local.keys() == named(devices).keys()
    for finding in (found.fleet, *found.local.values()):
        check_numbers(finding)
        check_words(finding)


def check_numbers(finding: Finding):
    for channel in finding.channels:
        numbers = (channel.distance, channel.p_value, channel.effective_rows, channel.floor)
        assert np.isfinite(numbers).all(), channel
        assert 0 <= channel.distance <= 1 + 1e-9
        assert 0 <= channel.p_value <= 1
        assert channel.effective_rows >= 0
        assert channel.floor >= 0
        assert min(*channel.window_histogram, *channel.reference_histogram) >= 0
        assert not (channel.drifted and channel.distance < channel.floor)
    assert finding.estimated_accuracy is None or 0 <= finding.estimated_accuracy <= 1
    assert finding.rows_needed is None or finding.rows_needed > 0
    assert finding.rows >= 0
    assert "nan" not in finding.reason
    assert "inf" not in finding.reason.replace("information", "")


def check_words(finding: Finding):
    moved = any(channel.drifted for channel in finding.channels)
    assert (finding.verdict is Verdict.DRIFT) == (moved or bool(finding.quality))
    assert (Kind.QUALITY in finding.kinds) == bool(finding.quality)
    assert moved == bool({Kind.DATA, Kind.PREDICTION} & set(finding.kinds))
    assert not finding.class_mix_only or finding.kinds[0] is Kind.PREDICTION
    if finding.verdict is Verdict.NOT_ENOUGH_EVIDENCE:
        assert finding.rows_needed is not None or any(words in finding.reason for words in NO_HELP), finding.reason
    else:
        assert finding.rows_needed is None


@some
@given(
    references,
    st.one_of(any_fleet(), drawn_fleet()),
    st.integers(1, 400),
    st.floats(0, 200),
)
def test_stable_is_said_of_enough_rows_only(reference, devices, min_rows, min_effective_rows):
    policy = replace(POLICY, min_rows=min_rows, min_effective_rows=min_effective_rows)
    found = judged(reference, named(devices), policy)
    watchable = [place for place in range(len(CHANNELS)) if place not in (CONSTANT, ABSENT)]
    for finding in (found.fleet, *found.local.values()):
        if finding.verdict is not Verdict.STABLE:
            continue
        assert finding.rows >= min_rows
        enough = [
            place
            for place in watchable
            if sum(finding.channels[place].window_histogram) >= min_rows
            and finding.channels[place].effective_rows >= min_effective_rows
        ]
        assert 2 * len(enough) >= len(watchable)


@some
@given(references, st.one_of(any_fleet(), drawn_fleet()), st.data())
def test_neither_the_order_of_devices_nor_their_names_change_a_finding(reference, devices, data):
    places = data.draw(st.permutations(range(len(devices))))
    first = judged(reference, named(devices))
    again = judged(reference, named([devices[place] for place in places]))
    assert again.fleet == first.fleet
    for now, before in enumerate(places):
        assert again.local[f"device-{now}"] == first.local[f"device-{before}"]


def test_devices_that_sent_as_much_with_the_same_mean_are_dealt_alike_in_any_order():
    """Four of seven share a voice with another: which ones, must follow from what they sent, all of it."""
    devices = []
    for spread in range(-4, 10, 2):
        counts = np.zeros((len(CHANNELS), BINS), np.int64)
        counts[:, 15 - spread] += 20
        counts[:, 15 + 2 * spread] += 10
        devices.append([of_counts(30, counts)])
    turned = devices[3:] + devices[:3]
    assert judged(REFERENCES[0], named(turned)).fleet == judged(REFERENCES[0], named(devices)).fleet


@some
@given(references, any_fleet(), seeds)
def test_windows_beyond_the_horizon_say_nothing(reference, devices, seed):
    random = np.random.default_rng(seed)
    policy = replace(POLICY, horizon_windows=5)
    within = [[empty_sketch(len(CHANNELS))] * (5 - len(windows)) + windows for windows in devices]
    longer = [[any_sketch(random) for _ in range(random.integers(4))] + windows for windows in within]
    assert judged(reference, named(longer), policy) == judged(reference, named(within), policy)


# -- windows and rounds -------------------------------------------------------------------------------


def window(device, minute, sketch):
    return DeviceWindow(
        device_id=device, closed_at=START + timedelta(minutes=minute), duration=timedelta(minutes=1), sketch=sketch
    )


@some
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 400)), unique=True, max_size=30), st.data())
def test_the_order_of_arrival_changes_no_slot(drawn, data):
    windows = [window(device, minute, empty_sketch(1)) for device, minute in drawn]
    arrived = data.draw(st.permutations(windows))
    now = START + timedelta(minutes=data.draw(st.integers(0, 900)))
    first, again = (align(one, frozenset("abc"), now=now) for one in (windows, arrived))
    assert again == first
    rounds = [*first.closed, *([first.open] if first.open else [])]
    placed = [one for round_ in rounds for own in round_.windows.values() for one in own]
    assert sorted(map(id, placed)) == sorted(id(one) for one in windows if one.device_id in "abc")


@some
@given(references, drawn_fleet(3, 4), st.integers(2, 4))
def test_two_windows_in_one_slot_are_judged_as_their_merge(reference, devices, cuts):
    """A device that closes its windows more often than its siblings says what it would have said in one."""
    fleet, first = named(devices), "device-0"
    whole, split = [], []
    for name, series in fleet.items():
        for turn, sketch in enumerate(series):
            # It sorts first: all its windows of a turn come before the round is full.
            parts = [sketch] * cuts if name == first else [sketch]
            split += [window(name, 10 * turn, one) for one in parts]
            whole.append(window(name, 10 * turn, merge_all(parts, channels=len(CHANNELS))))
    findings = [
        judged(reference, per_device(align(one, fleet.keys(), now=START).closed, fleet, channels=len(CHANNELS)))
        for one in (whole, split)
    ]
    assert findings[0] == findings[1]


@some
@given(references, drawn_fleet(3, 6), st.integers(0, 4), st.data())
def test_the_cap_is_applied_once_to_what_a_device_sent_in_all(reference, devices, more, data):
    """Few new windows over one that alone is not enough: as if each device had sent the sum of its windows."""
    random = np.random.default_rng(data.draw(seeds))
    most = 49 // max(len(devices) * more, 1)
    apart, merged = [], []
    for first, *_ in devices:
        new = [honest_sketch(random, random.integers(0, most + 1)) for _ in range(more)]
        oldest = merge_all([first, *[honest_sketch(random, 50)] * data.draw(st.sampled_from((1, 9)))], channels=6)
        apart.append([oldest, *new])
        merged.append([merge_all(apart[-1], channels=6)])
    found = judged(reference, named(apart)).fleet
    assert replace(found, windows=1) == judged(reference, named(merged)).fleet


# -- one that lies -------------------------------------------------------------------------------------


@st.composite
def slots_of(draw, honest, shares, *, least_awake):
    """Windows (rounds) of `honest` devices, some of which sleep through some rounds, and of one liar, as judges get them.

    Rounds are made so that half of the group is in each; with `least_awake` of the honest ones.
    """
    random = np.random.default_rng(draw(seeds))
    rounds = draw(st.integers(1, 5))
    rows = draw(st.sampled_from((60, 80, 500)))
    nothing = empty_sketch(len(CHANNELS))
    series = [[honest_sketch(random, rows, shares) for _ in range(rounds)] for _ in range(honest)]
    for round_ in range(rounds):
        awake = draw(st.sets(st.integers(0, honest - 1), min_size=least_awake))
        for place in set(range(honest)) - awake:
            # All were heard in the first.
            if round_:
                series[place][round_] = nothing
    lies = st.sampled_from((lambda: any_sketch(random), lambda: all_in_one_bin(3 * rows, random.integers(BINS))))
    liar = [draw(lies)() for _ in range(rounds)] if draw(st.booleans()) else [draw(lies)()] * rounds
    return {**named(series), draw(st.sampled_from(("a-liar", "the-liar"))): liar}


def all_in_one_bin(rows, place):
    counts = np.zeros((len(CHANNELS), BINS), np.int64)
    counts[:, place] = rows
    return of_counts(rows, counts)


@some
@given(references, st.integers(2, 6).flatmap(lambda honest: slots_of(honest, SHARES, least_awake=1)))
def test_one_device_makes_neither_drift_nor_a_fault_of_a_stable_fleet(reference, fleet):
    found = judged(reference, fleet).fleet
    assert found.verdict is not Verdict.DRIFT, found.reason
    assert not found.quality
    assert not {Kind.DATA, Kind.PREDICTION, Kind.QUALITY} & set(found.kinds)


@some
@given(references, st.integers(3, 6).flatmap(lambda honest: slots_of(honest, moved_shares(), least_awake=3)))
def test_one_device_cannot_hide_what_all_others_show(reference, fleet):
    found = judged(reference, fleet).fleet
    assert found.verdict is Verdict.DRIFT
    drifted = {channel.name for channel in found.channels if channel.drifted}
    assert {"slow", "quick", "confidence"} & drifted
    assert not found.quality


@pytest.mark.parametrize("reference", REFERENCES, ids=["in time order", "unordered"])
def test_no_device_at_all_is_not_enough_evidence(reference):
    for found in (judged(reference, {}).fleet, judged(reference, {"a": []}).fleet):
        assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE
        check_numbers(found)
        check_words(found)
    assert judge(reference, [], POLICY, channels=CHANNELS) == judged(reference, {}).fleet


def test_the_sketches_of_these_tests_are_of_every_field():
    """A field that a sketch gets must be drawn here too."""
    assert [one.name for one in fields(Sketch)] == [
        "rows", "counts", "total", "squares", "pairs", "steps", "low", "high",
    ]  # fmt: skip
