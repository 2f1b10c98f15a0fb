"""The reference's classes in other shares, bin by bin: when a mix explains what moved, and when it does not."""

import numpy as np
import pytest

from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift.finding import Kind
from edgeops.drift.mix import explaining_mix, remixed
from edgeops.drift.statistics import cumulative
from edgeops.drift.verdict import judge
from edgeops.sketch.by_class import ClassSketches
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack
from edgeops.sketch.window import Sketcher
from tests.unit import drift_values as made

#: Channels: the answer, a column that knows the classes apart, and one that does not.
ANSWER, COLUMN, OTHER = range(3)
LOW, HIGH, ALL = range(16), range(16, 32), range(32)


def classes(*rows, known=1, unknown=1):
    """So many rows of each class; class n is answered in bin n, other bins belong to the last.

    Of the channels behind the answer so many know the classes apart, so many do not.
    """
    sketches = tuple(
        pack(
            made.window(
                made.dealt(count, [place]),
                *[made.dealt(count, (LOW, HIGH, ALL)[place])] * known,
                *[made.dealt(count)] * unknown,
            )
        )
        for place, count in enumerate(rows)
    )
    owner = bytes(min(place, len(rows) - 1) for place in range(made.BINS))
    return ClassSketches(answer=ANSWER, owner=owner, sketches=sketches)


def answers(*shares):
    return np.array([*shares, *[0.0] * (made.BINS - len(shares))])


def test_the_reference_comes_in_the_shares_that_were_answered():
    mixed, worth = remixed(classes(3200, 3200), answers(0.75, 0.25))
    shares = np.diff(mixed, axis=-1, prepend=0)
    assert shares[ANSWER].tolist() == pytest.approx([0.75, 0.25, *[0] * 30])
    assert shares[COLUMN].tolist() == pytest.approx([0.75 / 16] * 16 + [0.25 / 16] * 16)
    assert shares[OTHER].tolist() == pytest.approx([1 / 32] * 32)
    # Kish: (sum of weights)^2 / (rows x sum of squares) = 1 / (2 (0.75^2 + 0.25^2)).
    assert worth == pytest.approx(0.8)


def test_the_shares_in_which_they_came_are_worth_all_rows_and_a_rare_class_few():
    assert remixed(classes(6400, 1600), answers(0.8, 0.2))[1] == pytest.approx(1.0)
    assert remixed(classes(6400, 64), answers(0.5, 0.5))[1] == pytest.approx(1 / (6464 * 0.25 * (1 / 6400 + 1 / 64)))


def test_answers_of_several_bins_belong_to_one_class():
    mixed, _ = remixed(classes(3200, 3200), answers(0.5, 0.25, 0.25))
    assert np.diff(mixed, axis=-1, prepend=0)[COLUMN].tolist() == pytest.approx([1 / 32] * 32)


def test_a_class_of_which_the_reference_has_no_rows_counts_nothing():
    mixed, worth = remixed(classes(3200, 3200, 0), answers(0.4, 0.1, 0.5))
    assert np.diff(mixed, axis=-1, prepend=0)[COLUMN].tolist() == pytest.approx([0.8 / 16] * 16 + [0.2 / 16] * 16)
    assert worth == pytest.approx(0.25 / (2 * (0.16 + 0.01)))
    mixed, worth = remixed(classes(3200, 3200, 0), answers(0, 0, 1))
    assert (mixed.sum(), worth) == (0.0, 0.0)


# -- when a mix explains what moved ---------------------------------------------------------------------


def explained(*window, of=None, drifted=(True, True, False), n=400.0, m=6_400.0):
    """Whether another mix explains a window of these histograms (answer, column, other ...)."""
    known, number = of or classes(3200, 3200), len(window)
    reference = made.baseline(number, cumulative=cumulative(known.counts().sum(axis=0)))
    found = explaining_mix(
        known, cumulative(np.array(window)), drifted=np.array(drifted), n=np.broadcast_to(n, number),
        m=np.full(number, m), baseline=reference, policy=made.POLICY,
    )  # fmt: skip
    return None if found is None else pytest.approx(found)


def mix(first, second):
    """Rows of either class as the reference knows them."""
    answer = made.dealt(first, [0]) + made.dealt(second, [1])
    return answer, made.dealt(first, LOW) + made.dealt(second, HIGH), made.dealt(first + second)


def test_a_mix_that_explains_everything_is_told_with_the_share_that_went_elsewhere():
    assert explained(*mix(320, 80)) == 0.3
    assert explained(*mix(80, 320)) == 0.3
    assert explained(*mix(400, 0)) == 0.5


def test_a_mix_that_moved_less_than_matters_explains_nothing():
    assert explained(*mix(236, 164)) == 0.09
    assert explained(*mix(228, 172)) is None


def test_what_moved_beyond_the_mix_is_another_world():
    answer, _, other = mix(320, 80)
    assert explained(answer, made.dealt(400, HIGH), other) is None, "it moved the other way"
    assert explained(answer, made.dealt(400, range(4)), other) is None
    assert explained(answer, made.dealt(400, LOW), other) is None, "by a fifth more than the mix"


def test_what_another_channel_shows_that_did_not_drift_by_itself_counts_too():
    answer, column, _ = mix(320, 80)
    moved = made.dealt(320, range(25)) + made.dealt(80)
    assert explained(answer, column, moved) is None
    assert explained(answer, column, moved, n=30.0) == 0.3, "of thirty rows it is chance"
    nearly = made.dealt(400, range(30))
    assert explained(answer, column, nearly, n=40_000.0, m=640_000.0) == 0.3, "certain, and 0.06 away"
    unjudged = np.array([400.0, 400.0, 0.0])
    assert explained(answer, column, moved, n=unjudged) == 0.3, "it was not judged, and did not drift"
    assert explained(answer, column, np.zeros(32), n=unjudged) == 0.3
    assert explained(answer, column, np.zeros(32), n=unjudged, drifted=(True, True, True)) is None, "it did, elsewhere"


@pytest.mark.parametrize(("left", "is_explained"), [(4, True), (6, False)])
def test_half_of_what_moved_may_be_left_of_so_few_rows_that_chance_could_show_it(left, is_explained):
    # All of class 0, and some of its rows where the other class has them: of 0.5 - left / 30 that much is left.
    column = made.dealt(30 - left, LOW) + made.dealt(left, HIGH)
    found = explained(made.dealt(30, [0]), column, made.dealt(30), n=30.0)
    assert (found is not None) == is_explained


@pytest.mark.parametrize(("n", "is_explained"), [(30.0, True), (400.0, False)])
def test_a_channel_that_is_left_is_not_made_up_for_by_one_that_is_explained(n, is_explained):
    known = classes(3200, 3200, known=2, unknown=0)
    half_there = made.dealt(320, LOW) + made.dealt(80, HIGH)
    found = explained(made.dealt(400, [0]), made.dealt(400, LOW), half_there, of=known, drifted=(True,) * 3, n=n)
    assert (found is not None) == is_explained


def test_of_many_channels_one_may_be_left_where_it_is_less_than_half_of_what_it_moved():
    """All answers are of class 0; the last of five columns is 0.09 away from it, p = .006, of five Holm's .03."""
    exact, half_moved = [made.dealt(3_200, LOW)] * 4, made.dealt(3_200 - 288, LOW) + made.dealt(288, HIGH)
    answer = made.dealt(3_200, [0])
    known = classes(3200, 3200, known=5, unknown=0)
    assert explained(answer, *exact, half_moved, of=known, drifted=(True,) * 6) == 0.5
    # A column that does not know them and moved by as much as is left: no mix explains any of it.
    known = classes(3200, 3200, known=4, unknown=1)
    other = made.dealt(3_200 - 576) + made.dealt(576, LOW)
    assert explained(answer, *exact, other, of=known, drifted=(True,) * 6) is None
    assert explained(answer, *exact, made.dealt(3_200), of=known, drifted=(True,) * 6) == 0.5


def test_one_drifted_channel_that_is_not_judged_here_is_not_made_up_for_by_many_that_are_explained():
    known = classes(3200, 3200, known=4, unknown=1)
    shown = made.dealt(3_200, [0]), *[made.dealt(3_200, LOW)] * 4, np.zeros(32)
    n = np.array([400.0] * 5 + [0.0])
    assert explained(*shown, of=known, drifted=(True,) * 6, n=n) is None
    assert explained(*shown, of=known, drifted=(True,) * 5 + (False,), n=n) == 0.5


def test_a_rare_class_that_became_frequent_is_known_by_few_rows():
    """Half of the window is of a class with 64 rows in the reference, which differ by chance from the window's."""
    known = classes(6400, 64)
    column = made.dealt(200, LOW) + made.dealt(160, HIGH) + made.dealt(40, LOW)
    window = made.dealt(200, [0]) + made.dealt(200, [1]), column, made.dealt(400)
    assert explained(*window, of=known, m=6_464.0) is not None
    assert explained(*window, of=classes(3200, 64 * 50), m=6_464.0) is None


def test_what_is_left_on_the_answer_itself_does_not_count():
    """Two answers that share a sketch: the mix cannot tell their shares."""
    known = classes(3200, 3200)
    answer = made.dealt(300, [0]) + made.dealt(100, [2])
    assert explained(answer, made.dealt(300, LOW) + made.dealt(100, HIGH), made.dealt(400), of=known) == 0.5


# -- a slow sensor beside the answers ---------------------------------------------------------------------


def test_a_slow_sensor_that_moved_is_not_explained_by_another_mix_of_quick_answers():
    """The answers' windows are so short that the sensor is not judged in them; it moved in wider ones."""
    names = ("quick", "slow", "answer")
    kinds = (ChannelKind.COLUMN, ChannelKind.COLUMN, ChannelKind.ANSWER)
    listed = [Channel(name=name, kind=kind) for name, kind in zip(names, kinds, strict=True)]
    reference = build_reference(
        _beside(20_000, share=0.5, seed=1), names, discrete=("answer",), ordered=True, answer="answer"
    )

    def found(shift):
        values = _beside(4_000, share=0.9, seed=5, shift=shift)
        shown = [_sketch(reference, part) for part in np.split(values, 40)]
        return judge(reference, shown, made.POLICY, channels=listed)

    mix_only = found(0.0)
    assert mix_only.class_mix_only
    assert mix_only.kinds == (Kind.PREDICTION,)
    moved = found(3.0)
    assert [one.name for one in moved.channels if one.drifted] == list(names)
    assert not moved.class_mix_only
    assert moved.kinds == (Kind.DATA, Kind.PREDICTION)


def _beside(rows, *, share, seed, shift=0.0, rho=0.98):
    """Rows of a column that knows the class, of a slow sensor, and of the class, which is 1 so often."""
    random = np.random.default_rng(seed)
    answer = random.random(rows) < share
    slow = random.normal(size=rows) * np.sqrt(1 - rho**2)
    for row in range(1, rows):
        slow[row] += rho * slow[row - 1]
    return np.stack((random.normal(size=rows) + 2 * answer, slow + shift, answer), axis=1).astype(np.float32)


def _sketch(reference, values):
    sketcher = Sketcher(reference)
    sketcher.add(np.ascontiguousarray(values))
    return sketcher.sketch()
