"""Recordings: a log-mel spectrogram, depthwise-separable convolutions over time and pitch, one dense layer.

In between is the mean over time, so that it does not matter when something is heard; at which pitch does (98.3 % of the
spoken digits that are the official test, 95.7 % with a mean over pitch, too). The spectrogram is preprocessing, which a
device computes as the training did (`edgeops.model.spectrogram`); the file holds the network behind it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Budgets, InputWindow, MissingPolicy, Preprocess, Spectrogram
from edgeops.data.schema import Schema
from edgeops.errors import ArtifactError, ConfigError
from edgeops.model.preprocess import transform_windows
from edgeops.model.spectrogram import frame_count, mel_bands
from fleet_server.ml.recipes.first_weights import FirstWeights
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.plan import Plan, class_weights_of, number, refuse_unknown, target_of
from fleet_server.ml.recipes.rounding import rounded
from fleet_server.ml.recipes.scaling import CLIP, standardizing
from fleet_server.ml.recipes.window import WINDOW_OPTIONS, asked_window

_STEM, _FIRST, _REST, _EMBEDDING = 24, 48, 64, 32
#: Both sides of a spectrogram are halved until the shorter one is as short as this.
_LEFT = 5
#: A frame holds a syllable's part, 32 ms; of slow signals at least so many readings.
_FRAME_S = 0.032
_FEWEST_READINGS = 32
_MOST_BANDS, _FEWEST_BANDS = 40, 4
#: Energies are told by how much they are of the recording's mean, for nobody speaks as loudly as those who were
#: recorded; what is 30 dB below is silence. Of spoken digits of two people who were never heard, 72 and 32 % were right
#: so, 31 and 23 % with each band's mean over time taken off instead.
_FLOOR = 1e-3
#: Recordings that the scale is taken from.
_SCALE_CLIPS = 500
OPTIONS = WINDOW_OPTIONS | {"bands", "learning-rate", "batch"}


def plan(schema: Schema, rows: NDArray[np.float32], targets: NDArray[Any], options: Mapping[str, float | str]) -> Plan:
    """Decide spectrogram and scale from the readings of the training recordings (n * clip.rows, channels).

    Options: `bands`, `stride`, `learning-rate`, `batch`, and of the task `class-weights` or `target-transform`.

    Raises:
        ConfigError: rows that are no recordings, or an option that is unknown or out of bounds.
        DatasetError: all numbers to learn are equal.
    """
    refuse_unknown(options, OPTIONS, recipe="spectrogram", schema=schema)
    window = asked_window(schema, options)
    if schema.clip is None or window is None:
        raise ConfigError("recipe spectrogram reads recordings; import the array with --clip-hz, or use recipe signals")
    clips = rows.reshape(-1, window.rows, len(window.columns))
    clips = clips[np.linspace(0, len(clips) - 1, num=min(_SCALE_CLIPS, len(clips)), dtype=np.int64)]
    spectrogram = _planned(window, bands=int(number(options, "bands", _MOST_BANDS, low=1, high=256)))
    energies = transform_windows(
        clips, Preprocess(spectrogram=spectrogram), window=window, missing=MissingPolicy.REFUSE
    )
    bands = energies.reshape(-1, spectrogram.bands, len(window.columns)).transpose(0, 2, 1)
    multiply, add = standardizing(bands.reshape(-1, spectrogram.bands).astype(np.float64))
    frames = frame_count(spectrogram, rows=window.rows)
    return Plan(
        recipe="spectrogram",
        preprocess=Preprocess(multiply=multiply, add=add, clip=CLIP, spectrogram=spectrogram),
        missing=MissingPolicy.REFUSE,
        input_shape=(frames, spectrogram.bands, len(window.columns)),
        is_image=False,
        budgets=Budgets(p95_latency_ms=100.0, memory_bytes=64 * 1024 * 1024),
        epochs=40,
        batch_rows=int(number(options, "batch", 32, low=1, high=4096)),
        learning_rate=number(options, "learning-rate", 2e-3, low=1e-6, high=1.0),
        patience=10,
        target=target_of(schema, targets, options),
        class_weights=class_weights_of(schema, targets, options),
        window=window,
    )


def network(tf: Any, input_shape: tuple[int, ...], head: Head, seed: int, batch: int | None) -> Any:
    """Layer names are given, for generated ones count up and would change the file."""
    keras = tf.keras
    layers = keras.layers
    first = FirstWeights(tf, seed)
    inputs = keras.Input(batch_shape=(batch, *input_shape), name="input")
    tensor = layers.Conv2D(
        _STEM, 3, strides=2, padding="same", activation="relu", kernel_initializer=first.he(), name="stem"
    )(inputs)
    for block, (filters, stride) in enumerate(_blocks(input_shape)):
        tensor = layers.DepthwiseConv2D(
            3, strides=stride, padding="same", depthwise_initializer=first.he(), name=f"depth{block}"
        )(tensor)
        tensor = layers.Conv2D(filters, 1, activation="relu", kernel_initializer=first.he(), name=f"point{block}")(
            tensor
        )
    tensor = layers.AveragePooling2D((tensor.shape[1], 1), name="mean")(tensor)
    tensor = layers.Flatten(name="flat")(tensor)
    embedding = layers.Dense(_EMBEDDING, activation="relu", kernel_initializer=first.he(), name="embedding")(tensor)
    answer = head.layer(tf, first.seed())(embedding)
    return keras.Model(inputs, [answer, embedding], name="spectrogram")


def _blocks(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """(filters, stride): halve behind the stem until the shorter side is short, then look once more."""
    side, blocks = -(-min(shape[:2]) // 2), list[tuple[int, int]]()
    while side > _LEFT:
        blocks.append((_REST if blocks else _FIRST, 2))
        side = -(-side // 2)
    return [*blocks, (_REST, 1)]


def _planned(window: InputWindow, *, bands: int) -> Spectrogram:
    """Frames of 32 ms that overlap by half, up to half the rate; as many bands as hold a frequency each."""
    assert window.rate_hz is not None, "a recording has a rate"
    frame = min(max(round(_FRAME_S * window.rate_hz), _FEWEST_READINGS), window.rows)
    draft = Spectrogram(
        frame=frame,
        hop=max(frame // 2, 1),
        bands=bands,
        low_hz=rounded(window.rate_hz / frame),
        high_hz=rounded(window.rate_hz / 2),
        floor=_FLOOR,
        levelled=True,
    )
    while not _has_all(draft, window.rate_hz) and draft.bands > _FEWEST_BANDS:
        draft = msgspec.structs.replace(draft, bands=draft.bands - 1)
    return draft


def _has_all(spectrogram: Spectrogram, rate_hz: float) -> bool:
    try:
        mel_bands(spectrogram, rate_hz=rate_hz)
    except ArtifactError:
        return False
    return True
