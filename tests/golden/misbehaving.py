"""Complete artifacts of models that install well and then do not behave, and rows that make them so.

See `make_misbehaving` for what each does; all state the same accuracy as the tiny model they come after.
"""

import tempfile
from enum import StrEnum
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from edgeops.artifact.manifest import Requirements
from edgeops.artifact.operators import operators
from edgeops.artifact.package import open_artifact, package
from edgeops.model.golden import make_golden
from edgeops.model.model import Model
from edgeops.model.runtime import load_interpreter, tensors_of
from tests.golden.tiny import HERE, tiny_artifact, tiny_rows, tiny_tflite

#: What these versions and the tiny model state here: so little that only labels tell who is right.
STATED = 0.9


class Behaviour(StrEnum):
    """What is wrong with a model; `tiny` = nothing."""

    TINY = "tiny"
    SLOW = "slow"
    FAILING = "failing"
    HANGING = "hanging"
    BIASED = "biased"


def behaving_artifact(behaviour: Behaviour, *, version: int) -> bytes:
    """A whole, valid artifact of the model `tiny`, float32."""
    name = "float32" if behaviour is Behaviour.TINY else f"{behaviour}-float32"
    tflite = tiny_tflite(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tiny_artifact(variant="float32"))
        like = open_artifact(path)
        inputs, outputs = tensors_of(load_interpreter(HERE / f"tiny-{name}.tflite"))
        manifest = replace(
            like.manifest,
            version=str(version),
            inputs=inputs,
            outputs=outputs,
            requirements=Requirements(ops=operators(tflite)),
            metrics={"accuracy": STATED},
            budgets=replace(like.manifest.budgets, p95_latency_ms=200.0, memory_bytes=256 * 2**20),
        )
        path.write_bytes(package(tflite, manifest, reference=like.reference, golden=b"", card=like.card))
        model = Model.load(path)
        golden = make_golden(model, [row[np.newaxis] for row in tiny_rows(8, seed=2)[0]])
        model.close()
    return package(tflite, manifest, reference=like.reference, golden=golden, card=like.card)


def rows_with_extremes(count: int, *, every: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """As `tiny_rows`, and each `every`th is one that a failing or hanging model cannot answer."""
    rows, classes = tiny_rows(count, seed=seed)
    rows[every - 1 :: every, 0] = 7.0
    return rows, classes
