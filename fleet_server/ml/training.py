"""Fits a network: one compiled graph per epoch, Adam with cosine decay, stops on the validation loss.

All randomness comes from one seed, so the same rows, plan and seed give the same weights on the same
libraries. What the result is worth is judged elsewhere, on rows that are not seen here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_server.ml.recipes.plan import Plan

Floats = NDArray[np.float32]
Indexes = NDArray[np.int32]
#: Tells the share done, 0 to 1.
Report = Callable[[float], None]

_NO_SHIFT_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """How training went."""

    epochs: int
    best_epoch: int
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Preprocessed inputs (n, *input shape) and class indexes (n,)."""

    inputs: Floats
    classes: NDArray[np.int64]


def fit(
    tf: Any, network: Any, plan: Plan, *, train: Labelled, validation: Labelled, seed: int, report: Report
) -> Learned:
    """Change the weights of `network` to those of the epoch with the lowest validation loss."""
    random = np.random.default_rng(seed)
    variables = network.trainable_variables
    optimizer = tf.keras.optimizers.Adam(plan.learning_rate, global_clipnorm=1.0)
    optimizer.build(variables)
    run_epoch = _epoch(tf, network, optimizer, plan, train=train, validation=validation)
    best, best_weights, learned = (
        math.inf,
        network.get_weights(),
        Learned(epochs=0, best_epoch=0, validation_loss=math.inf, validation_accuracy=0.0),
    )
    for epoch in range(1, plan.epochs + 1):
        optimizer.learning_rate.assign(plan.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / plan.epochs)))
        order, shifts = _shuffle(random, len(train.inputs), plan)
        loss, accuracy = (float(value) for value in run_epoch(tf.constant(order), tf.constant(shifts)))
        if loss < best:
            best, best_weights = loss, network.get_weights()
            learned = Learned(epochs=epoch, best_epoch=epoch, validation_loss=loss, validation_accuracy=accuracy)
        report(epoch / plan.epochs)
        if epoch - learned.best_epoch >= plan.patience:
            break
    network.set_weights(best_weights)
    return Learned(
        epochs=epoch,
        best_epoch=learned.best_epoch,
        validation_loss=learned.validation_loss,
        validation_accuracy=learned.validation_accuracy,
    )


def _shuffle(random: np.random.Generator, rows: int, plan: Plan) -> tuple[Indexes, Indexes]:
    """Row indexes (steps, batch), and per step where the image is cut out of its padded form."""
    batch = min(plan.batch_rows, rows)
    steps = rows // batch
    order = random.permutation(rows)[: steps * batch].reshape(steps, batch).astype(np.int32)
    shifts = random.integers(0, 2 * plan.shift_pixels + 1, size=(steps, 2)).astype(np.int32)
    shifts[random.random(steps) < _NO_SHIFT_SHARE] = plan.shift_pixels
    return order, shifts


def _epoch(tf: Any, network: Any, optimizer: Any, plan: Plan, *, train: Labelled, validation: Labelled) -> Any:
    """A graph that takes one pass over the rows, then judges the validation rows: (loss, accuracy)."""
    pad = plan.shift_pixels
    border = ((0, 0), (pad, pad), (pad, pad), (0, 0)) if pad else ((0, 0),) * train.inputs.ndim
    inputs = tf.constant(np.pad(train.inputs, border))
    classes = tf.constant(train.classes, tf.int32)
    check_inputs = tf.constant(validation.inputs)
    check_classes = tf.constant(validation.classes, tf.int32)
    variables = network.trainable_variables

    def cut(rows: Any, shift: Any) -> Any:
        batch = tf.gather(inputs, rows)
        if not pad:
            return batch
        height, width, colours = plan.input_shape
        batch = batch[:, shift[0] : shift[0] + height, shift[1] : shift[1] + width, :]
        return tf.ensure_shape(batch, (None, height, width, colours))

    def loss_of(truth: Any, answer: Any) -> Any:
        return tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(truth, answer))

    @tf.function  # type: ignore[untyped-decorator]
    def run(order: Any, shifts: Any) -> Any:
        for step in tf.range(tf.shape(order)[0]):
            with tf.GradientTape() as tape:
                answer, _ = network(cut(order[step], shifts[step]), training=True)
                loss = loss_of(tf.gather(classes, order[step]), answer)
            optimizer.apply(tape.gradient(loss, variables), variables)
        answer, _ = network(check_inputs, training=False)
        right = tf.equal(tf.argmax(answer, axis=1, output_type=tf.int32), check_classes)
        return loss_of(check_classes, answer), tf.reduce_mean(tf.cast(right, tf.float32))

    return run
