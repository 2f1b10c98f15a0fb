"""One compiled graph for many trainings: each is repeatable, whatever came before."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from edgeops.artifact.manifest import Budgets, MissingPolicy, Preprocess, Task
from fleet_server.ml.framework import load_tensorflow
from fleet_server.ml.recipes import dense
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.training import Labelled, Trainer

pytestmark = pytest.mark.slow

PLAN = Plan(
    recipe="dense",
    preprocess=Preprocess(multiply=(1.0,), add=(0.0,)),
    missing=MissingPolicy.REFUSE,
    input_shape=(2,),
    is_image=False,
    budgets=Budgets(p95_latency_ms=10.0, memory_bytes=1024),
    epochs=30,
    batch_rows=32,
    learning_rate=5e-3,
    patience=3,
)
HEAD = Head(Task.CLASSIFICATION, 2)


def trainer(plan=PLAN):
    return Trainer(load_tensorflow(), dense.network, plan, HEAD)


def world(rows, *, seed, shift=0.0):
    """Two classes left and right of `shift`, in a plane."""
    inputs = np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)
    return Labelled(inputs=inputs, targets=(inputs[:, 0] > shift).astype(np.int64))


def joined(old, new, *, weight):
    """Old rows, and new ones that weigh more."""
    return Labelled(
        inputs=np.concatenate([old.inputs, new.inputs]),
        targets=np.concatenate([old.targets, new.targets]),
        weights=np.repeat(np.float32([1.0, weight]), [len(old.inputs), len(new.inputs)]),
    )


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first.weights, second.weights, strict=True))


TRAIN, VALIDATION = world(300, seed=1), world(60, seed=2)


def test_a_training_gives_the_same_weights_whatever_the_trainer_did_before():
    alone = trainer().fit(TRAIN, VALIDATION, seed=3)
    busy = trainer()
    busy.fit(world(77, seed=8), VALIDATION, seed=5)
    busy.answers(alone, VALIDATION.inputs)
    assert same(alone, busy.fit(TRAIN, VALIDATION, seed=3))
    assert not same(alone, busy.fit(TRAIN, VALIDATION, seed=4))


def test_plans_of_one_shape_share_a_graph_but_not_their_course():
    long = trainer(replace(PLAN, epochs=20, patience=50)).fit(TRAIN, VALIDATION, seed=3)
    short = trainer(replace(PLAN, epochs=4, patience=50)).fit(TRAIN, VALIDATION, seed=3)
    assert (long.learned.epochs, short.learned.epochs) == (20, 4)


def test_the_network_to_convert_answers_as_the_trainer_does():
    one = trainer()
    fitted = one.fit(TRAIN, VALIDATION, seed=3)
    network = one.network(fitted)
    assert network.inputs[0].shape[0] == 1
    rows = VALIDATION.inputs[:20]
    single = [int(np.argmax(network(row[np.newaxis])[0].numpy())) for row in rows]
    assert single == one.answers(fitted, rows).tolist()


def test_the_best_epoch_on_validation_rows_is_kept_and_ends_the_training():
    contradicting = Labelled(inputs=VALIDATION.inputs, targets=1 - VALIDATION.targets)
    learned = trainer().fit(TRAIN, contradicting, seed=3).learned
    assert learned.best_epoch == 1
    assert learned.epochs == 1 + PLAN.patience


def test_validation_rows_of_the_old_world_do_not_stop_a_training_that_is_to_take_its_whole_course():
    bought = world(40, seed=4, shift=1.0)
    contradicting = Labelled(inputs=VALIDATION.inputs, targets=1 - VALIDATION.targets)
    learned = trainer().fit(joined(TRAIN, bought, weight=5.0), contradicting, seed=3, stops_early=False).learned
    assert learned.epochs == learned.best_epoch == PLAN.epochs


def test_heavier_rows_win_where_rows_contradict_each_other():
    changed, held = world(60, seed=4, shift=1.0), world(400, seed=5, shift=1.0)
    one = trainer()

    def accuracy(weight):
        fitted = one.fit(joined(TRAIN, changed, weight=weight), VALIDATION, seed=3, stops_early=False)
        return np.mean(one.answers(fitted, held.inputs) == held.targets)

    assert accuracy(50.0) > accuracy(1.0) + 0.1
    assert accuracy(50.0) > 0.9


def test_rows_that_weigh_nothing_teach_nothing_even_a_whole_batch_of_them():
    """A fold may weigh rows 0 instead of leaving them out."""
    nonsense = Labelled(inputs=TRAIN.inputs[:200], targets=1 - TRAIN.targets[:200])
    rows = joined(TRAIN, nonsense, weight=0.0)
    one = trainer(replace(PLAN, batch_rows=4))
    fitted = one.fit(rows, VALIDATION, seed=3)
    assert all(np.isfinite(weights).all() for weights in fitted.weights)
    assert np.mean(one.answers(fitted, VALIDATION.inputs) == VALIDATION.targets) > 0.9


def test_weights_of_rows_do_not_keep_a_training_from_stopping_early() -> None:
    contradicting = Labelled(inputs=VALIDATION.inputs, targets=1 - VALIDATION.targets)
    weighty = Labelled(inputs=TRAIN.inputs, targets=TRAIN.targets, weights=np.full(300, 2.0, np.float32))
    assert trainer().fit(weighty, contradicting, seed=3).learned.epochs == 1 + PLAN.patience


def test_validation_rows_count_by_their_weights() -> None:
    """Half of them contradict what is learnt, and stop it at once unless they weigh nothing."""
    doubled = np.concatenate([VALIDATION.inputs, VALIDATION.inputs])
    targets = np.concatenate([VALIDATION.targets, 1 - VALIDATION.targets])
    told = Labelled(inputs=doubled, targets=targets, weights=np.repeat(np.float32([1.0, 0.0]), 60))
    one = trainer()
    assert one.fit(TRAIN, told, seed=3).learned.validation_loss == pytest.approx(
        one.fit(TRAIN, VALIDATION, seed=3).learned.validation_loss, rel=1e-5
    )


def test_each_epoch_is_told_with_both_losses_its_learning_rate_and_its_time():
    told = []
    fitted = trainer(replace(PLAN, epochs=5, patience=50)).fit(TRAIN, VALIDATION, seed=3, report=told.append)
    assert [one.number for one in told] == [1, 2, 3, 4, 5]
    assert told[0].learning_rate == PLAN.learning_rate > told[-1].learning_rate > 0
    assert told[-1].training_loss < told[0].training_loss
    assert min(one.validation_loss for one in told) == fitted.learned.validation_loss
    assert all(before.elapsed_s <= after.elapsed_s for before, after in itertools.pairwise(told))
