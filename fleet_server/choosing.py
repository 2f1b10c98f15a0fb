"""The server's choice among what devices nominated: which samples are worth a label.

Turns stored samples into arrays and lets `edgeops.learning.sampling` choose.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeops.learning.sampling import choose
from fleet_server.db.samples import Sample


def choose_samples(samples: Sequence[Sample], count: int, *, random_share: float, seed: int) -> list[Sample]:
    """At most `count` of the samples, in the order in which their labels help; the same for the same seed."""
    if not samples:
        return []
    indexes = choose(
        features(samples),
        np.array([one.uncertainty for one in samples]),
        np.array([one.by_chance for one in samples]),
        count,
        random_share=random_share,
        random=np.random.default_rng(seed),
    )
    return [samples[int(index)] for index in indexes]


def features(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """Where samples lie (n, e): their embeddings, or, of a model that has none, their readings standardised."""
    embeddings = [np.frombuffer(one.embedding, "<f2").astype(np.float32) for one in samples]
    if len({len(one) for one in embeddings}) == 1 and len(embeddings[0]):
        return np.stack(embeddings)
    readings = [np.frombuffer(one.readings, "<f4").astype(np.float32) for one in samples]
    width = min(len(one) for one in readings)
    table = np.stack([one[:width] for one in readings])
    missing = ~np.isfinite(table)
    # What is not there counts as ordinary; what is infinite too.
    center = np.where(missing, 0.0, table).sum(axis=0) / np.maximum(1, (~missing).sum(axis=0))
    table = np.where(missing, center, table)
    spread = table.std(axis=0)
    return np.asarray((table - center) / np.where(spread > 0, spread, 1.0), np.float32)
