"""The weights that a network begins with."""

import itertools
from typing import Any

#: More than a network has layers, so that networks of neighbouring seeds share none.
_LAYERS = 1000


class FirstWeights:
    """Seeds for the layers of one network, in the order in which they ask."""

    def __init__(self, tf: Any, seed: int) -> None:
        self._tf, self._seeds = tf, itertools.count(seed * _LAYERS)

    def he(self) -> Any:
        """Of a layer that ReLU follows (He et al. 2015)."""
        return self._tf.keras.initializers.HeNormal(seed=self.seed())

    def seed(self) -> int:
        """Of a layer that begins with others."""
        return next(self._seeds)
