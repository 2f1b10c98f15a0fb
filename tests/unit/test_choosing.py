"""The server's choice, from stored samples."""

from datetime import UTC, datetime

import numpy as np

from fleet_server.choosing import choose_samples, features
from fleet_server.db.samples import Sample

START = datetime(2026, 11, 23, tzinfo=UTC)


def sample(number, *, readings, embedding=None, by_chance=False, uncertainty=0.5):
    return Sample(
        id=f"s-{number:03}",
        device_id="dev-1",
        deployment="gas",
        digest="sha256:1",
        nomination="n-1",
        input_id=str(number),
        answered_at=START,
        received_at=START,
        readings=np.asarray(readings, "<f4").tobytes(),
        embedding=b"" if embedding is None else np.asarray(embedding, "<f2").tobytes(),
        answer=0.0,
        confidence=0.5,
        uncertainty=uncertainty,
        weight=1.0,
        by_chance=by_chance,
    )


def test_samples_lie_where_their_embedding_is():
    placed = features(
        [sample(1, readings=[9, 9], embedding=[1, 2, 3]), sample(2, readings=[9, 9], embedding=[4, 5, 6])]
    )
    assert placed.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_without_an_embedding_they_lie_where_their_readings_are_each_column_alike():
    placed = features([sample(1, readings=[0, 1000, 7]), sample(2, readings=[2, 3000, 7])])
    np.testing.assert_allclose(placed, [[-1, -1, 0], [1, 1, 0]])


def test_a_missing_reading_is_an_ordinary_one():
    rows = [[1, np.nan], [3, 4], [5, np.inf], [np.nan, 6]]
    placed = features([sample(number, readings=row) for number, row in enumerate(rows)])
    assert np.isfinite(placed).all()
    assert placed[0, 1] == placed[2, 1] == placed[3, 0] == 0


def test_the_choice_is_small_spread_and_the_same_for_the_same_seed():
    rng = np.random.default_rng(7)
    centres = rng.normal(0, 10, (5, 4))
    samples = [
        sample(number, readings=[0], embedding=centres[number % 5] + rng.normal(0, 0.1, 4)) for number in range(60)
    ]
    chosen = choose_samples(samples, 5, random_share=0.0, seed=1)
    assert {int(one.input_id) % 5 for one in chosen} == set(range(5))
    assert chosen == choose_samples(samples, 5, random_share=0.0, seed=1)


def test_nothing_comes_of_nothing():
    assert choose_samples([], 5, random_share=0.2, seed=0) == []
