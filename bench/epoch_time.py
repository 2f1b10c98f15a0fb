"""What one pass over the rows costs from the second on, against a bare `fit` of the same Keras model."""

import gc
import sys
import time
from typing import Any

import numpy as np

BAR = 1.15
REPEATS = 5
EPOCHS = 6
ROWS, VALIDATION_ROWS = 4_096, 1_024


def measure() -> dict[str, Any]:
    """Ratio of the dearer of two recipes, each the median over interleaved repeats."""
    from fleet_server.ml.framework import load_tensorflow

    tf = load_tensorflow()
    tf.keras.utils.set_random_seed(7)
    pairs = {"dense, 64 columns": _dense(tf), "signals, 64 rows x 6": _signals(tf)}
    ratios, seconds = {}, {}
    for what, (ours, bare) in pairs.items():
        times = [(_later(ours), _later(bare)) for _ in range(REPEATS)]
        mine, theirs = (float(np.median([one[side] for one in times])) for side in (0, 1))
        ratios[what], seconds[what] = mine / theirs, (mine, theirs)
        print(f"{what}: {1000 * mine:.1f} ms a pass, bare fit {1000 * theirs:.1f} ms", file=sys.stderr)
    worst = max(ratios, key=lambda what: ratios[what])
    told = "; ".join(
        f"{what}: {1000 * mine:.1f} against {1000 * theirs:.1f} ms" for what, (mine, theirs) in seconds.items()
    )
    return {
        "name": "epoch_time",
        "value": round(ratios[worst], 2),
        "unit": "x of a bare fit",
        "baseline": 1.0,
        "bar": f"<= {BAR}",
        "holds": ratios[worst] <= BAR,
        "inside": (
            f"{ROWS:,} rows and {VALIDATION_ROWS:,} that are only judged, batches as the recipe has them, passes 2 to "
            f"{EPOCHS}, one thread, median of {REPEATS} interleaved repeats, the dearer of two recipes ({worst}); both "
            f"sides shuffle, take all steps and judge the validation rows: {told}"
        ),
    }


def _later(train: Any) -> float:
    """Seconds of a pass, of those after the first."""
    gc.collect()
    moments = train()
    assert len(moments) == EPOCHS, f"{len(moments)} passes"
    return (moments[-1] - moments[0]) / (EPOCHS - 1)


def _dense(tf: Any) -> Any:
    from fleet_server.ml.recipes import dense

    return _pair(tf, dense, {}, columns=64, shape=(64,))


def _signals(tf: Any) -> Any:
    from fleet_server.ml.recipes import signals

    return _pair(tf, signals, {"window": 64}, columns=6, shape=(1, 64, 6))


def _schema(columns: int) -> Any:
    """Of what a snapshot with three classes says of itself."""
    from edgeops.artifact.manifest import Task
    from edgeops.data.schema import FORMAT, ColumnStatistics, Schema

    one = ColumnStatistics(minimum=-4.0, maximum=4.0, mean=0.0, std=1.0, missing=0)
    return Schema(
        format=FORMAT,
        task=Task.CLASSIFICATION,
        label="label",
        units="",
        columns=tuple(f"c{place}" for place in range(columns)),
        shape=(columns,),
        classes=("a", "b", "c"),
        rows=ROWS + VALIDATION_ROWS,
        split_rows=(ROWS, VALIDATION_ROWS, 0),
        class_rows=(0, 0, 0),
        statistics=(one,) * columns,
        source="sha256:" + "0" * 64,
        where=(),
        hold_out=0.2,
        seed=0,
    )


def _pair(tf: Any, recipe: Any, options: dict[str, Any], *, columns: int, shape: tuple[int, ...]) -> Any:
    """Two functions that train and return the moment of each pass."""
    from dataclasses import replace

    from edgeops.artifact.manifest import Task
    from fleet_server.ml.recipes.head import Head
    from fleet_server.ml.training import Labelled, Trainer

    random = np.random.default_rng(7)
    inputs = random.normal(size=(ROWS + VALIDATION_ROWS, *shape)).astype(np.float32)
    classes = random.integers(0, 3, size=len(inputs))
    rows = inputs.reshape(-1, columns)
    plan = replace(recipe.plan(_schema(columns), rows, classes, options), epochs=EPOCHS, patience=EPOCHS)
    head = Head(Task.CLASSIFICATION, 3)
    trainer = Trainer(tf, recipe.network, plan, head)
    train, validation = (
        Labelled(inputs=inputs[part], targets=classes[part]) for part in (slice(ROWS), slice(ROWS, None))
    )
    network = recipe.network(tf, plan.input_shape, head, 0, None)
    answer = tf.keras.Model(network.inputs, network.outputs[0])
    answer.compile(optimizer=tf.keras.optimizers.Adam(global_clipnorm=1.0), loss="sparse_categorical_crossentropy")

    def ours() -> list[float]:
        moments: list[float] = []
        trainer.fit(train, validation, seed=1, report=lambda _epoch: moments.append(time.perf_counter()))
        return moments

    def bare() -> list[float]:
        moments: list[float] = []
        told = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: moments.append(time.perf_counter()))
        answer.fit(
            train.inputs,
            train.targets,
            batch_size=plan.batch_rows,
            epochs=EPOCHS,
            verbose=0,
            callbacks=[told],
            validation_data=(validation.inputs, validation.targets),
            validation_batch_size=VALIDATION_ROWS,
        )
        return moments

    return ours, bare
