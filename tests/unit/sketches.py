"""Packed sketches for the tests of what takes them in."""

import numpy as np

from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack
from edgeops.sketch.window import Sketcher

CHANNELS = 3
REFERENCE = build_reference(
    np.random.default_rng(0).normal(size=(2000, CHANNELS)).astype(np.float32),
    [f"c{index}" for index in range(CHANNELS)],
    discrete=(),
)


def packed(rows, *, channels=CHANNELS, seed=0):
    """The packed sketch of so many rows of noise."""
    reference = REFERENCE
    if channels != CHANNELS:
        names = [f"c{index}" for index in range(channels)]
        reference = build_reference(np.zeros((100, channels), np.float32), names, discrete=())
    sketcher = Sketcher(reference)
    sketcher.add(np.random.default_rng(seed).normal(size=(rows, channels)).astype(np.float32))
    return pack(sketcher.sketch())
