"""Makes the `.tflite` files beside it: `python -m tests.models.make_bad` (needs the `train` extra).

Each is the tiny float32 model of `tests.golden` with its own weights, so that it answers the same, and one thing wrong
with it in the graph itself: nothing outside the file has to play along. Committed so that no test imports TensorFlow.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from edgeops.model.runtime import load_interpreter
from tests.golden.tiny import HERE as GOLDEN
from tests.models.bad import TRIGGER

HERE = Path(__file__).parent
#: Steps of a loop that takes some milliseconds, and of one that takes for ever.
SLOW_STEPS, ENDLESS = 300, 2**31 - 2


def weights() -> list[np.ndarray]:
    """Kernels and biases of the tiny model, the first layer's first."""
    interpreter = load_interpreter(GOLDEN / "tiny-float32.tflite")
    found: dict[tuple[int, ...], np.ndarray] = {}
    for detail in interpreter.get_tensor_details():
        try:
            found.setdefault(tuple(detail["shape"]), np.array(interpreter.get_tensor(detail["index"])))
        except ValueError:
            continue  # what is made while it runs has no value yet
    return [found[shape] for shape in ((8, 4), (8,), (3, 8), (3,))]


FIRST, FIRST_BIAS, SECOND, SECOND_BIAS = weights()


def right(x: tf.Tensor) -> tf.Tensor:
    """What the tiny model answers."""
    return tf.nn.softmax(tf.nn.relu(x @ FIRST.T + FIRST_BIAS) @ SECOND.T + SECOND_BIAS)


def loops(x: tf.Tensor, steps: tf.Tensor, size: int) -> tf.Tensor:
    """Nothing, after `steps` products of two matrices that depend on the input."""
    start = tf.fill((size, size), x[0, 1])
    turn = tf.constant(np.linalg.qr(np.random.default_rng(7).normal(size=(size, size)))[0], tf.float32)
    _, last = tf.while_loop(lambda n, _: n < steps, lambda n, m: (n + 1, m @ turn), (tf.constant(0), start))
    return 1e-30 * tf.reduce_sum(last)


def divides(is_struck: tf.Tensor) -> tf.Tensor:
    """Nothing, or the one division of two 32-bit integers that a processor cannot do (SIGFPE on x86-64)."""
    divisor = tf.where(is_struck, -1, 1)
    return 1e-30 * tf.cast(tf.math.floormod(tf.fill((1,), np.int32(-(2**31))), tf.reshape(divisor, (1,))), tf.float32)


def struck(x: tf.Tensor) -> tf.Tensor:
    """Whether a row is one that strikes; no golden vector is."""
    return x[0, 0] > TRIGGER


def always(x: tf.Tensor) -> tf.Tensor:
    """Every row strikes, by a value that no converter can fold."""
    return x[0, 0] > -1e9


def slow(x: tf.Tensor) -> tf.Tensor:
    return right(x) + loops(x, tf.constant(SLOW_STEPS), 128)


def crashing_on_input(x: tf.Tensor) -> tf.Tensor:
    return right(x) + divides(struck(x))


def crashing(x: tf.Tensor) -> tf.Tensor:
    return right(x) + divides(always(x))


def hanging_on_input(x: tf.Tensor) -> tf.Tensor:
    return right(x) + loops(x, tf.where(struck(x), ENDLESS, 0), 8)


def hanging(x: tf.Tensor) -> tf.Tensor:
    return right(x) + loops(x, tf.where(always(x), ENDLESS, 0), 8)


def wrong(x: tf.Tensor) -> tf.Tensor:
    return tf.gather(right(x), [1, 2, 0], axis=1)


def large(x: tf.Tensor) -> tf.Tensor:
    """96 MiB of floats in between."""
    return right(x) + 1e-30 * tf.reduce_max(tf.fill((24, 2**20), x[0, 1]) * x[0, 2])


def convert(answer: Callable[[tf.Tensor], tf.Tensor]) -> bytes:
    function = tf.function(answer, input_signature=[tf.TensorSpec((1, 4), tf.float32, name="input")])
    return bytes(
        tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function).convert()
    )


def main() -> None:
    for answer in (slow, crashing_on_input, crashing, hanging_on_input, hanging, wrong, large):
        data = convert(answer)
        (HERE / f"{answer.__name__.replace('_', '-')}.tflite").write_bytes(data)
        print(answer.__name__, len(data))


if __name__ == "__main__":
    main()
