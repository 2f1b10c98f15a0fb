"""Makes the tiny `.tflite` files beside it: `python tests/golden/make_tiny.py` (needs the `train` extra).

Four columns, three classes (well separated clouds), one hidden layer of eight. Committed so that no test has to
import TensorFlow; running this again gives working files, though not the same bytes (converters differ).
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
CENTRES = np.array([[0, 0, 0, 0], [2, 2, -2, 1], [-2, 2, 2, -1]], np.float32)


def clouds(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardized rows and their class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    x = CENTRES[y] + rng.normal(0, 0.6, (rows, 4))
    return x.astype(np.float32), y


def convert(model: tf.keras.Model, calibration: np.ndarray | None) -> bytes:
    """The flatbuffer, full int8 when there are calibration rows."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def hungry() -> bytes:
    """The same tensors in and out, and 4 GiB in between: how many floats it fills is known only when it runs."""

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32, name="input")])
    def answer(x: tf.Tensor) -> tf.Tensor:
        count = tf.cast(tf.clip_by_value(x[0, 0], -1.0, 1.0), tf.int32) + 2**30
        filled = tf.fill(tf.reshape(count, (1,)), x[0, 1])
        return tf.nn.softmax(x[:, :3] + 1e-30 * tf.reduce_max(filled))

    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([answer.get_concrete_function()], answer).convert())


def main() -> None:
    """Train once, write five files."""
    (HERE / "tiny-hungry-float32.tflite").write_bytes(hungry())
    tf.keras.utils.set_random_seed(7)
    x, y = clouds(2000, seed=7)
    inputs = tf.keras.Input((4,), batch_size=1, name="input")
    embedding = tf.keras.layers.Dense(8, activation="relu", name="embedding")(inputs)
    answer = tf.keras.layers.Dense(3, activation="softmax", name="answer")(embedding)
    plain = tf.keras.Model(inputs, answer)
    plain.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    # The batch size of the graph is one (static shapes), so train through a twin with a free batch.
    free = tf.keras.Input((4,))
    twin = tf.keras.Model(free, plain.layers[2](plain.layers[1](free)))
    twin.compile(tf.keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    twin.fit(x, y, epochs=5, batch_size=32, verbose=0)
    print("accuracy", twin.evaluate(*clouds(1000, seed=8), verbose=0)[1])
    both = tf.keras.Model(inputs, [answer, embedding])
    for name, model in (("tiny", plain), ("tiny-embedding", both)):
        for variant, calibration in (("float32", None), ("int8", x[:200])):
            data = convert(model, calibration)
            (HERE / f"{name}-{variant}.tflite").write_bytes(data)
            print(name, variant, len(data))


if __name__ == "__main__":
    main()
