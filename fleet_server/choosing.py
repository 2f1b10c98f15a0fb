"""The server's choice among what devices nominated: which samples are worth a label.

What a device says of its samples decides nothing here: the model that answered them answers them again, and by that
`edgeops.learning.sampling` chooses.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import InputError
from edgeops.learning.sampling import choose, places
from edgeops.model.model import Model
from edgeops.model.postprocess import Prediction
from fleet_server.db.samples import Sample


def choose_samples(
    model: Model, samples: Sequence[Sample], count: int, *, random_share: float, seed: int
) -> list[Sample]:
    """At most `count` of the samples, in the order in which their labels help; the same for the same seed.

    Neither how samples are called nor in which order they come decides anything: an id follows from the random name of
    the spool that the sample came through.

    Left out is what the model refuses: readings of another shape, or missing ones that it does not take.
    """
    ordered = sorted(samples, key=lambda sample: (sample.device_id, sample.readings, sample.id))
    seen = [(sample, prediction) for sample in ordered if (prediction := _answer(model, sample)) is not None]
    if not seen:
        return []
    embeddings = [prediction.embedding for _, prediction in seen if prediction.embedding is not None]
    indexes = choose(
        places(np.stack([_window(model, sample) for sample, _ in seen]), np.stack(embeddings) if embeddings else None),
        np.array([1.0 - prediction.margin for _, prediction in seen]),
        np.array([sample.by_chance for sample, _ in seen]),
        np.unique([sample.device_id for sample, _ in seen], return_inverse=True)[1],
        count,
        random_share=random_share,
        random=np.random.default_rng(seed),
    )
    return [seen[int(index)][0] for index in indexes]


def _answer(model: Model, sample: Sample) -> Prediction | None:
    try:
        return model.predict(_window(model, sample))
    except (InputError, ValueError):  # numpy's, of readings that make no window
        return None


def _window(model: Model, sample: Sample) -> NDArray[np.float32]:
    window = model.manifest.window
    return np.frombuffer(sample.readings, "<f4").astype(np.float32).reshape(window.rows, len(window.columns))
