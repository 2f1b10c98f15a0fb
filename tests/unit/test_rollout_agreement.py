"""How two models' answers to the same inputs agree, counted."""

from dataclasses import dataclass, field
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.artifact.manifest import Output, Task
from edgeops.rollout.agreement import EDGES, agreement_of, disagreements, disagrees, distance_cell


@dataclass
class Said:
    """What an agreement asks a manifest."""

    task: Task = Task.CLASSIFICATION
    output: Output = field(default_factory=lambda: Output(labels=("a", "b", "c")))
    metrics: dict[str, float] = field(default_factory=dict)


def counted(shadow, charge, pairs):
    agreement = agreement_of(shadow, charge)
    told = [agreement.take(*pair) for pair in pairs]
    return agreement.cells(), told


def test_classes_are_counted_by_the_shadows_first():
    cells, told = counted(Said(), Said(), [(0.0, 0.0), (0.0, 2.0), (2.0, 0.0), (2.0, 0.0)])
    assert cells == (1, 0, 1, 0, 0, 0, 2, 0, 0)
    assert told == [False, True, True, True]


def test_many_classes_are_only_told_to_agree_or_not():
    labels = tuple(map(str, range(33)))
    many = Said(output=Output(labels=labels))
    assert counted(many, many, [(32.0, 32.0), (3.0, 4.0), (4.0, 3.0)]) == ((1, 2), [False, True, True])
    most = Said(output=Output(labels=labels[:32]))
    assert len(agreement_of(most, most).cells()) == 1_024


def test_models_of_other_classes_agree_by_name():
    other = Said(output=Output(labels=("c", "a")))
    cells, told = counted(other, Said(), [(0.0, 2.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)])
    assert cells == (2, 2)
    assert told == [False, False, True, True]


def test_an_alarm_is_a_score_above_the_models_own_threshold():
    old = Said(task=Task.ANOMALY, output=Output(threshold=1.0))
    new = Said(task=Task.ANOMALY, output=Output(threshold=5.0))
    cells, told = counted(old, new, [(1.0, 5.0), (1.1, 5.0), (1.0, 5.1), (1.1, 5.1)])
    assert cells == (1, 1, 1, 1)
    assert told == [False, True, True, False]
    assert counted(old, new, [(2.0, 0.0)])[0] == (0, 0, 1, 0)


def test_distances_are_measured_in_errors_of_the_old_model():
    old, new = Said(task=Task.REGRESSION, metrics={"mae": 2.0}), Said(task=Task.REGRESSION, metrics={"mae": 9.0})
    cells, told = counted(old, new, [(10.0, 10.0), (10.0, 11.9), (10.0, 8.0), (0.0, 1_000.0)])
    assert told == [False, False, True, True]
    assert len(cells) == len(EDGES) + 1 == 24
    assert {place: count for place, count in enumerate(cells) if count} == {0: 1, 12: 1, 13: 1, 23: 1}


def test_half_octaves_go_from_a_64th_to_32_errors():
    assert (EDGES[0], EDGES[12], EDGES[-1]) == (1 / 64, 1.0, 32.0)
    assert EDGES[13] == pytest.approx(2**0.5)
    assert (distance_cell(0.0, 3.0, 3.0), distance_cell(0.0, -3.0, 3.0), distance_cell(1.0, 1.0, 3.0)) == (13, 13, 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Said(), Said(task=Task.REGRESSION)),
        (Said(task=Task.ANOMALY, output=Output(threshold=1.0)), Said(task=Task.ANOMALY, output=Output())),
        (Said(task=Task.ANOMALY, output=Output()), Said(task=Task.ANOMALY, output=Output(threshold=1.0))),
        (Said(task=Task.REGRESSION), Said(task=Task.REGRESSION, metrics={"mae": 1.0})),
        (Said(task=Task.REGRESSION, metrics={"mae": 0.0}), Said(task=Task.REGRESSION)),
    ],
)
def test_answers_that_cannot_be_compared_are_not_counted(old, new):
    assert agreement_of(old, new) is None


def test_a_cleared_count_begins_again():
    agreement = agreement_of(Said(), Said())
    agreement.take(0.0, 1.0)
    agreement.clear()
    assert agreement.cells() == (0,) * 9
    agreement.take(1.0, 1.0)
    assert agreement.cells() == (0, 0, 0, 0, 1, 0, 0, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=50))
def test_what_a_device_calls_a_disagreement_is_what_the_server_counts_as_one(pairs):
    cells, told = counted(Said(), Said(), pairs)
    assert disagreements(Task.CLASSIFICATION, cells) == sum(told)
    assert cells == tuple(pairs.count(pair) for pair in product(range(3), repeat=2))


@given(st.lists(st.floats(-100, 100), max_size=50))
def test_a_distance_is_a_disagreement_on_both_sides(values):
    old = Said(task=Task.REGRESSION, metrics={"mae": 3.0})
    cells, told = counted(old, Said(task=Task.REGRESSION), [(value, 0.0) for value in values])
    assert disagreements(Task.REGRESSION, cells) == sum(told) == sum(abs(value) >= 3.0 for value in values)


def test_of_two_cells_the_second_is_the_disagreement():
    assert [disagrees(Task.CLASSIFICATION, cell, 2) for cell in (0, 1)] == [False, True]
    assert [disagrees(Task.ANOMALY, cell, 4) for cell in range(4)] == [False, True, True, False]
    assert disagreements(Task.CLASSIFICATION, (5, 7)) == 7
