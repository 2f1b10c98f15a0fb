"""What answers owe to columns: known functions owe what they are made of."""

import numpy as np
import pytest

from edgeops.learning.attribution import integrated_gradients, permuted, shares_of

INPUTS = np.random.default_rng(3).normal(size=(200, 4, 3)).astype(np.float32)


def cost_of(truths):
    """The mean error of a model that answers with twice the mean of column 0 and that of column 1."""
    return lambda inputs: float(np.abs(2 * inputs[..., 0].mean(axis=1) + inputs[..., 1].mean(axis=1) - truths).mean())


def test_a_column_that_tells_more_loses_more_and_one_that_tells_nothing_loses_nothing():
    truths = 2 * INPUTS[..., 0].mean(axis=1) + INPUTS[..., 1].mean(axis=1)
    random = np.random.default_rng(0)
    first, second, third = permuted(INPUTS, (0, 1, 2), cost=cost_of(truths), times=5, random=random)
    assert first[0] == pytest.approx(2 * second[0], rel=0.1)
    assert 0 < first[1] < 0.1 * first[0]
    assert third == (0.0, 0.0)


def test_the_same_seed_permutes_alike():
    told = [
        permuted(INPUTS, (0,), cost=cost_of(np.zeros(200)), times=2, random=np.random.default_rng(7)) for _ in range(2)
    ]
    assert told[0] == told[1]


def test_attributions_add_up_to_what_the_answer_is_above_that_of_the_baseline():
    weights = np.array([1.0, -2.0, 0.0])

    def answer(inputs):
        return 1 / (1 + np.exp(-(inputs @ weights).sum(axis=1)))

    def slopes(inputs):
        level = answer(inputs)
        return (level * (1 - level))[:, np.newaxis, np.newaxis] * np.broadcast_to(weights, inputs.shape)

    told = integrated_gradients(INPUTS, slopes=slopes)
    assert np.allclose(told.sum(axis=(1, 2)), answer(INPUTS) - 0.5, atol=0.01)
    assert not told[..., 2].any()
    shares = shares_of(told, ("a", "b", "c"))
    assert [one.column for one in shares] == ["b", "a", "c"]
    assert sum(one.share for one in shares) == pytest.approx(1.0)
    assert shares[-1].share == 0.0


def test_where_nothing_moves_the_answer_no_column_has_a_share():
    assert shares_of(np.zeros((2, 1, 3)), ("a", "b", "c")) == ()
