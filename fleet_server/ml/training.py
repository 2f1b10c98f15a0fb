"""Fits networks of one shape: one compiled graph per epoch, Adam with cosine decay.

Tracing the graph costs more than training on a small table, so it happens once per shape and process, and every
training starts from fresh weights and a fresh optimizer. All randomness comes from one seed: the same rows, plan and
seed give the same weights on the same libraries, whatever was trained before. What the result is worth is judged
elsewhere, on rows that are not seen here.
"""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import ConfigError
from fleet_server.ml.epoch import Epoch
from fleet_server.ml.recipes.catalog import Network
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.plan import Plan

Floats = NDArray[np.float32]
Indexes = NDArray[np.int32]
#: Tells of an epoch that is over.
Report = Callable[[Epoch], None]

_NO_SHIFT_SHARE = 0.5
#: Shapes whose graphs are kept; a worker serves few models.
_GRAPHS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """How training went."""

    epochs: int
    best_epoch: int
    validation_loss: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Preprocessed inputs (n, *input shape) and what is to be learnt of each (n,)."""

    inputs: Floats
    #: Class indexes, int64, or float32 numbers as `Target.learnt` gives them.
    targets: NDArray[Any]
    #: How much each row counts (n,), 0 or more; None = all the same.
    weights: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """What one training ended with."""

    learned: Learned
    #: In the order of Keras.
    weights: list[Floats]


class Trainer:
    """Trains networks of one kind, plan and head, one after the other; use it from one thread."""

    def __init__(self, tf: Any, network: Network, plan: Plan, head: Head) -> None:
        """Traces nothing yet: the first `fit` of a shape does."""
        self._tf, self._plan = tf, plan
        self._network = functools.partial(network, tf, plan.input_shape, head)
        self._graph = _graph(tf, network, plan.input_shape, head, plan.shift_pixels)

    def fit(
        self,
        train: Labelled,
        validation: Labelled,
        *,
        seed: int,
        stops_early: bool = True,
        report: Report = lambda _epoch: None,
    ) -> Fitted:
        """Train from scratch: weights that go on from the model before heal no better.

        Training stops when the validation loss has not improved for the plan's patience, and the result is the epoch
        with the lowest. Not so where some rows were bought after the world has changed, for validation rows only know
        the world before: the loss on them grows while a model heals, and stopping on it costs 0.5 to 2 points on the
        changed rows (and gains nothing on the old ones). Holding bought rows back to validate on would cost more than
        it could tell. Such a training takes its whole course, which the learning rate ends at nearly 0, and its result
        is the last epoch; what the validation rows say is noted only.

        Args:
            train: at least one row that counts.
            validation: at least one row that counts; never bought ones.
            seed: of the first weights, the order of rows and the shifts of images.
            stops_early: False = the whole course.
            report: is told of each epoch when it is over.

        Raises:
            ConfigError: the loss is never a number.
        """
        plan, run = self._plan, self._graph.begin(self._network(seed, None).get_weights(), train, validation)
        random = np.random.default_rng(seed)
        best = Learned(epochs=0, best_epoch=0, validation_loss=math.inf)
        weights: list[Floats] = []
        begun = time.monotonic()
        for epoch in range(1, plan.epochs + 1):
            rate = plan.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / plan.epochs))
            training_loss, loss = run(rate, *_shuffle(random, len(train.inputs), plan))
            if (loss < best.validation_loss) if stops_early else (epoch == plan.epochs):
                best = Learned(epochs=epoch, best_epoch=epoch, validation_loss=loss)
                weights = self._graph.weights()
            report(
                Epoch(
                    number=epoch,
                    training_loss=training_loss,
                    validation_loss=loss,
                    learning_rate=rate,
                    elapsed_s=time.monotonic() - begun,
                )
            )
            if stops_early and epoch - best.best_epoch >= plan.patience:
                break
        if not weights:
            raise ConfigError(
                f"the validation loss was no number in any of {epoch} epochs; give a lower learning rate, and look for "
                "divisions by 0 and logarithms of it"
            )
        return Fitted(learned=replace(best, epochs=epoch), weights=weights)

    def answers(self, fitted: Fitted, inputs: Floats) -> NDArray[np.int64]:
        """Class indexes (n,) that the float network gives: what tells two trainings apart without converting either."""
        return np.asarray(self._graph.answers(fitted.weights, inputs).argmax(axis=1), np.int64)

    def slopes(self, fitted: Fitted, inputs: Floats, places: NDArray[np.int64]) -> Floats:
        """How much each input value (n, *input shape) moves the answer at a place (n,) of the float network."""
        return self._graph.slopes(fitted.weights, inputs, places)

    def scores(self, fitted: Fitted, inputs: Floats) -> Floats:
        """What the float network of a detector answers (n,)."""
        return self._graph.answers(fitted.weights, inputs)[:, 0]

    def network(self, fitted: Fitted) -> Any:
        """A Keras network whose batch size is 1, as `convert` wants it; numbers are answered as the file shall do."""
        network = self._network(0, 1)
        network.set_weights(fitted.weights)
        if self._plan.target is not None:
            self._plan.target.fold_into(network)
        return network


def _shuffle(random: np.random.Generator, rows: int, plan: Plan) -> tuple[Indexes, Indexes]:
    """Row indexes (steps, batch), and per step where the image is cut out of its padded form."""
    batch = min(plan.batch_rows, rows)
    steps = rows // batch
    order = random.permutation(rows)[: steps * batch].reshape(steps, batch).astype(np.int32)
    shifts = random.integers(0, 2 * plan.shift_pixels + 1, size=(steps, 2)).astype(np.int32)
    shifts[random.random(steps) < _NO_SHIFT_SHARE] = plan.shift_pixels
    return order, shifts


class _Graph:
    """A network, its optimizer and the compiled pass over the rows; state is overwritten by each training."""

    def __init__(self, tf: Any, network: Any, head: Head, shift_pixels: int) -> None:
        self._tf, self._network, self._target_type = tf, network, head.target_type(tf)
        self._optimizer = tf.keras.optimizers.Adam(global_clipnorm=1.0)
        self._optimizer.build(network.trainable_variables)
        self._pass = _pass(tf, network, self._optimizer, head, pad=shift_pixels)

    def begin(
        self, weights: list[Floats], train: Labelled, validation: Labelled
    ) -> Callable[[float, Indexes, Indexes], tuple[float, float]]:
        """Forget everything before; returns one epoch: (rate, order, shifts) -> losses in training and validation."""
        tf = self._tf
        self._network.set_weights(weights)
        for variable in self._optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        rows = (*self._tensors(train), *self._tensors(validation))

        def epoch(rate: float, order: Indexes, shifts: Indexes) -> tuple[float, float]:
            self._optimizer.learning_rate.assign(rate)
            training, validation = self._pass(*rows, tf.constant(order), tf.constant(shifts))
            return float(training), float(validation)

        return epoch

    def _tensors(self, labelled: Labelled) -> tuple[Any, Any, Any]:
        """Inputs, targets, and how much each counts."""
        constant = self._tf.constant
        counts = np.ones(len(labelled.inputs), np.float32) if labelled.weights is None else labelled.weights
        return constant(labelled.inputs), constant(labelled.targets, self._target_type), constant(counts)

    def weights(self) -> list[Floats]:
        weights: list[Floats] = self._network.get_weights()
        return weights

    def answers(self, weights: list[Floats], inputs: Floats) -> Floats:
        self._network.set_weights(weights)
        answer, _ = self._network(self._tf.constant(inputs), training=False)
        return np.asarray(answer.numpy())

    def slopes(self, weights: list[Floats], inputs: Floats, places: NDArray[np.int64]) -> Floats:
        tf = self._tf
        self._network.set_weights(weights)
        watched = tf.constant(inputs)
        with tf.GradientTape() as tape:
            tape.watch(watched)
            answer, _ = self._network(watched, training=False)
            given = tf.gather(answer, tf.constant(places), axis=1, batch_dims=1)
        # A recipe of the owner's may not hear its inputs.
        moved = tape.gradient(given, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return np.asarray(moved.numpy())


@functools.lru_cache(maxsize=_GRAPHS)
def _graph(tf: Any, network: Network, input_shape: tuple[int, ...], head: Head, shift_pixels: int) -> _Graph:
    return _Graph(tf, network(tf, input_shape, head, 0, None), head, shift_pixels)


def _pass(tf: Any, network: Any, optimizer: Any, head: Head, *, pad: int) -> Any:
    """A graph for any number of rows that passes over them once, then judges the validation rows: both mean losses."""
    shape = network.inputs[0].shape[1:]
    variables = network.trainable_variables
    inputs_spec, targets_spec = tf.TensorSpec((None, *shape), tf.float32), tf.TensorSpec((None,), head.target_type(tf))
    counts_spec = tf.TensorSpec((None,), tf.float32)
    order_spec, shifts_spec = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, 2), tf.int32)

    def cut(inputs: Any, rows: Any, shift: Any) -> Any:
        batch = tf.gather(inputs, rows)
        if not pad:
            return batch
        height, width, _ = shape
        batch = batch[:, shift[0] : shift[0] + height, shift[1] : shift[1] + width, :]
        return tf.ensure_shape(batch, (None, *shape))

    def mean_of(losses: Any, counts: Any) -> Any:
        # A batch may hold none that counts.
        return tf.math.divide_no_nan(tf.reduce_sum(counts * losses), tf.reduce_sum(counts))

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=(
            *(inputs_spec, targets_spec, counts_spec),
            *(inputs_spec, targets_spec, counts_spec),
            *(order_spec, shifts_spec),
        )
    )
    def run(  # noqa: PLR0917 - tensors come in the order of the signature
        inputs: Any,
        targets: Any,
        counts: Any,
        check_inputs: Any,
        check_targets: Any,
        check_counts: Any,
        order: Any,
        shifts: Any,
    ) -> Any:
        padded = tf.pad(inputs, ((0, 0), (pad, pad), (pad, pad), (0, 0))) if pad else inputs
        steps, total = tf.shape(order)[0], tf.constant(0.0)
        for step in tf.range(steps):
            with tf.GradientTape() as tape:
                answer, _ = network(cut(padded, order[step], shifts[step]), training=True)
                loss = head.losses(tf, tf.gather(targets, order[step]), answer)
                mean = mean_of(loss, tf.gather(counts, order[step]))
            optimizer.apply(tape.gradient(mean, variables), variables)
            total += mean
        answer, _ = network(check_inputs, training=False)
        return total / tf.cast(steps, tf.float32), mean_of(head.losses(tf, check_targets, answer), check_counts)

    return run
