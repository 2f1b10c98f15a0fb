"""What the health gate reads from a window's sketch by the model's own calibration."""

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import decode_descriptor
from fleet_server.artifacts import KnownArtifact
from fleet_server.sketch_inputs import inputs_of
from tests.unit.drift_rig import CHANNELS, Weather, descriptor, digest, reference, sketch_of

WORTH = np.linspace(0.2, 0.99, 32).astype("<f4")
CONFIDENCE = CHANNELS.index("confidence")


def read(rows):
    """A window of these rows, under a model whose confidences are worth that."""
    profile = msgspec.structs.replace(reference(), calibration=WORTH.tobytes())
    known = KnownArtifact(decode_descriptor(descriptor()).manifest, profile)
    artifacts = SimpleNamespace(get=lambda _digest: known)
    return inputs_of(SimpleNamespace(digest=digest(), sketch=sketch_of(rows)), artifacts)


def test_each_answer_is_worth_what_its_confidence_is():
    rows = Weather().rows(200)
    edges = np.frombuffer(reference().channels[CONFIDENCE].edges, "<f4")
    worth = WORTH[edges.searchsorted(rows[:, CONFIDENCE].astype(np.float32), side="right")]
    inputs = read(rows)
    assert inputs.rated == 200
    assert inputs.estimated_accuracy == pytest.approx(float(worth.mean()), abs=1e-5)


def test_an_answer_without_a_confidence_is_not_rated():
    rows = Weather().rows(200)
    rows[:50, CONFIDENCE] = np.nan
    assert read(rows).rated == 150
