"""Complete artifacts from the tiny models beside this file, for any test that needs a real model.

Four columns `x1`..`x4`, three labels; `tiny_rows` gives rows that the model answers well.
"""

import tempfile
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from edgeops.artifact.manifest import (
    FORMAT,
    Budgets,
    Channel,
    ChannelKind,
    Descriptor,
    InputWindow,
    Lineage,
    Manifest,
    MissingPolicy,
    Output,
    Preprocess,
    Promotion,
    Requirements,
    Task,
    Variant,
)
from edgeops.artifact.operators import operators
from edgeops.artifact.package import describe, open_artifact, package
from edgeops.digest import digest_bytes
from edgeops.model.golden import make_golden
from edgeops.model.model import Model
from edgeops.model.runtime import load_interpreter, tensors_of
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.reference import encode_reference

HERE = Path(__file__).parent
COLUMNS = ("x1", "x2", "x3", "x4")
LABELS = ("red", "green", "blue")
CENTRES = np.array([[0, 0, 0, 0], [2, 2, -2, 1], [-2, 2, 2, -1]], np.float32)


def tiny_rows(count: int, *, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Rows (count, 4) float32 and their classes (count,) int64; the models get about 99 % of them right."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, count)
    rows = CENTRES[classes] + rng.normal(0, 0.6, (count, 4))
    return rows.astype(np.float32), classes


def tiny_tflite(variant: str = "int8", *, embedding: bool = False) -> bytes:
    """The bare model."""
    return (HERE / f"tiny{'-embedding' if embedding else ''}-{variant}.tflite").read_bytes()


def tiny_manifest(
    name: str = "tiny",
    version: int | str = 1,
    variant: str = "int8",
    *,
    embedding: bool = False,
    missing: MissingPolicy = MissingPolicy.NEUTRAL,
    preprocess: Preprocess | None = None,
    channels: tuple[Channel, ...] | None = None,
    window: InputWindow | None = None,
) -> Manifest:
    """The manifest that fits `tiny_tflite`."""
    path = HERE / f"tiny{'-embedding' if embedding else ''}-{variant}.tflite"
    inputs, outputs = tensors_of(load_interpreter(path))
    sizes = [tensor.shape[-1] for tensor in outputs]
    nothing = digest_bytes(b"")
    return Manifest(
        format=FORMAT,
        name=name,
        version=str(version),
        variant=Variant(variant),
        task=Task.CLASSIFICATION,
        inputs=inputs,
        outputs=outputs,
        window=window or InputWindow(columns=COLUMNS),
        preprocess=preprocess or Preprocess(clip=8.0),
        missing=missing,
        channels=tiny_channels(embedding=embedding) if channels is None else channels,
        output=Output(answer=sizes.index(3), embedding=sizes.index(8) if embedding else None, labels=LABELS),
        budgets=Budgets(p95_latency_ms=50.0, memory_bytes=8 * 2**20),
        requirements=Requirements(ops=operators(path.read_bytes())),
        metrics={"accuracy": 0.99},
        lineage=Lineage(
            snapshot=nothing, recipe="tiny", recipe_digest=nothing, seed=7, commit="", libraries={}, calibration=None
        ),
    )


def tiny_channels(*, embedding: bool = False) -> tuple[Channel, ...]:
    """Four columns, the answer, its confidence and margin; with an embedding two projections of it."""
    columns = [Channel(name=name, kind=ChannelKind.COLUMN, index=index) for index, name in enumerate(COLUMNS)]
    projections = [Channel(name=f"projection-{i}", kind=ChannelKind.PROJECTION, index=i) for i in range(2)]
    answers = [Channel(name=k.value, kind=k) for k in (ChannelKind.ANSWER, ChannelKind.CONFIDENCE, ChannelKind.MARGIN)]
    return (*columns, *(projections if embedding else ()), *answers)


def tiny_artifact(
    name: str = "tiny",
    version: int | str = 1,
    variant: str = "int8",
    *,
    embedding: bool = False,
    missing: MissingPolicy = MissingPolicy.NEUTRAL,
    preprocess: Preprocess | None = None,
    channels: tuple[Channel, ...] | None = None,
    window: InputWindow | None = None,
) -> bytes:
    """A whole, valid artifact; the same arguments give the same bytes."""
    manifest = tiny_manifest(
        name,
        version,
        variant,
        embedding=embedding,
        missing=missing,
        preprocess=preprocess,
        channels=channels,
        window=window,
    )
    tflite = tiny_tflite(variant, embedding=embedding)
    rows, _ = tiny_rows(500, seed=2)
    card = f"# {name} {version}\n\nA tiny model for tests.\n"
    with tempfile.TemporaryDirectory() as folder:
        # A first package without reference and golden vectors, only to ask the model.
        path = Path(folder) / "model.tflite"
        path.write_bytes(package(tflite, manifest, reference=b"", golden=b"", card=card))
        model = Model.load(path)
        values = np.array([model.predict(row[np.newaxis]).channels for row in rows])
        golden = make_golden(model, [row[np.newaxis] for row in rows[:8]])
        model.close()
    names = [channel.name for channel in manifest.channels]
    discrete = {channel.name for channel in manifest.channels if channel.kind is ChannelKind.ANSWER}
    reference = encode_reference(build_reference(values, names, discrete=discrete)) if names else b""
    return package(tflite, manifest, reference=reference, golden=golden, card=card)


def hungry_artifact() -> bytes:
    """An artifact like the others from outside, of a model that wants 4 GiB for one answer."""
    tflite = tiny_tflite("hungry-float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tiny_artifact(variant="float32"))
        like = open_artifact(path)
    inputs, outputs = tensors_of(load_interpreter(HERE / "tiny-hungry-float32.tflite"))
    manifest = replace(like.manifest, inputs=inputs, outputs=outputs, requirements=Requirements(ops=operators(tflite)))
    return package(tflite, manifest, reference=like.reference, golden=like.golden, card=like.card)


def tiny_descriptor(artifact: bytes) -> Descriptor:
    """The descriptor of an artifact of this module (or any other)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(artifact)
        manifest = open_artifact(path).manifest
    return describe(
        artifact,
        manifest,
        run="run-1",
        built_at="2026-01-01T00:00:00Z",
        host="test",
        latency_p50_ms=0.01,
        latency_p95_ms=0.02,
        memory_bytes=2**20,
        promotion=Promotion(passed=True),
    )
