"""Artifacts of models that do not behave, for scenarios with real agents; each fits the rows of `tests.golden.tiny`.

All but `wrong` answer as the tiny float32 model does, as long as they answer. `slow`, `large` and `wrong` install well:
only what they show while they run tells them from a good one. What is wrong is in the graph of the file and happens in
the runtime; `tests.models.make_bad` made them.
"""

import tempfile
from enum import StrEnum
from pathlib import Path

import msgspec
import numpy as np

from edgeops.artifact.manifest import Requirements
from edgeops.artifact.operators import operators
from edgeops.artifact.package import open_artifact, package
from edgeops.model.golden import make_golden
from edgeops.model.model import Model
from tests.golden.tiny import tiny_artifact, tiny_rows

HERE = Path(__file__).parent
#: A row whose first column is above this strikes those that behave until one comes; no row of `tiny_rows` does.
TRIGGER = 6.0


class Bad(StrEnum):
    """What is wrong; the string names the file."""

    #: Some milliseconds for an answer that takes microseconds, in real matrix products.
    SLOW = "slow"
    #: Ends the process (SIGFPE) at a row that strikes; loads and passes its probe. On x86-64 alone.
    CRASHING_ON_INPUT = "crashing-on-input"
    #: Ends the process at any row, so the probe's child.
    CRASHING = "crashing"
    #: Does not come back from a row that strikes; loads and passes its probe.
    HANGING_ON_INPUT = "hanging-on-input"
    #: Does not come back from any row, so not from the probe.
    HANGING = "hanging"
    #: Every class is another one; its golden vectors are its own, so it installs well.
    WRONG = "wrong"
    #: 96 MiB and more of memory, where the others need kilobytes.
    LARGE = "large"


#: Those that answer no row have the golden vectors of the model that they are made of.
_ANSWERS_NOTHING = frozenset({Bad.CRASHING, Bad.HANGING})


def bad_artifact(bad: Bad, *, name: str = "tiny", version: int = 1) -> bytes:
    """A whole artifact of such a model."""
    tflite = (HERE / f"{bad}.tflite").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tiny_artifact(name, version, "float32"))
        like = open_artifact(path)
        manifest = msgspec.structs.replace(like.manifest, requirements=Requirements(ops=operators(tflite)))
        golden = like.golden
        if bad not in _ANSWERS_NOTHING:
            path.write_bytes(package(tflite, manifest, reference=like.reference, golden=b"", card=like.card))
            model = Model.load(path)
            golden = make_golden(model, [row[np.newaxis] for row in tiny_rows(500, seed=2)[0][:8]])
            model.close()
    return package(tflite, manifest, reference=like.reference, golden=golden, card=like.card)


def striking_row() -> list[float]:
    """A row that strikes."""
    return [TRIGGER + 1.0, 0.0, 0.0, 0.0]
