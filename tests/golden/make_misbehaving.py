"""Makes models that install well and then do not behave: `python tests/golden/make_misbehaving.py` (`train` extra).

Each has the weights of `tiny-float32.tflite` and answers like it, but:

    slow       takes some milliseconds
    failing    ends in an error where the first column is above `EXTREME`
    hanging    never answers where the first column is above `EXTREME`
    biased     takes some of the first class for the second

Golden vectors and probes do not meet `EXTREME`, for a model may be as wrong as it likes on inputs that nobody tried.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
EXTREME = 6.0
_BIAS = 6.0
_SIDE, _DEPTH = 96, 16


def weights() -> list[np.ndarray]:
    """Kernel and bias of both layers, (inputs, outputs)."""
    interpreter = tf.lite.Interpreter(str(HERE / "tiny-float32.tflite"))
    interpreter.allocate_tensors()
    found = {}
    for detail in interpreter.get_tensor_details():
        try:
            found[tuple(detail["shape"])] = interpreter.get_tensor(detail["index"])
        except ValueError:
            continue
    return [found[8, 4].T, found[8,], found[3, 8].T, found[3,]]


def logits(x: tf.Tensor) -> tf.Tensor:
    """What the tiny model says before its softmax."""
    first, first_bias, second, second_bias = weights()
    hidden = tf.nn.relu(tf.matmul(x, tf.constant(first)) + tf.constant(first_bias))
    return tf.matmul(hidden, tf.constant(second)) + tf.constant(second_bias)


def slow(x: tf.Tensor) -> tf.Tensor:
    random = np.random.default_rng(1)
    image = tf.broadcast_to(tf.reshape(x, (1, 1, 1, 4)), (1, _SIDE, _SIDE, 4))
    for depth in (4, _DEPTH):
        kernel = random.normal(0, 0.1, (3, 3, depth, _DEPTH)).astype(np.float32)
        image = tf.nn.relu(tf.nn.conv2d(image, tf.constant(kernel), 1, "SAME"))
    return tf.nn.softmax(logits(x) + 1e-20 * tf.reduce_mean(image))


def failing(x: tf.Tensor) -> tf.Tensor:
    place = tf.cast(x[0, 0] > EXTREME, tf.int32) * 10_000
    return tf.nn.softmax(logits(x) + tf.gather(tf.zeros((3, 3)), tf.reshape(place, (1,))))


def hanging(x: tf.Tensor) -> tf.Tensor:
    turns = 1 + tf.cast(x[0, 0] > EXTREME, tf.int32) * (2**31 - 2)
    ended = tf.while_loop(lambda i: i < turns, lambda i: i + 1, (tf.constant(0),))[0]
    return tf.nn.softmax(logits(x) + 1e-20 * tf.cast(ended, tf.float32))


def biased(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax(logits(x) + tf.constant([[0.0, _BIAS, 0.0]]))


def main() -> None:
    """Write one file each."""
    for behaviour in (slow, failing, hanging, biased):
        answer = tf.function(behaviour, input_signature=[tf.TensorSpec((1, 4), tf.float32, name="input")])
        converter = tf.lite.TFLiteConverter.from_concrete_functions([answer.get_concrete_function()], answer)
        data = bytes(converter.convert())
        (HERE / f"tiny-{behaviour.__name__}-float32.tflite").write_bytes(data)
        print(behaviour.__name__, len(data))


if __name__ == "__main__":
    main()
