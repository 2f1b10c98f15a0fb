"""A detector that is learnt in one step: the distance of a window's mean from normal ones, as one linear layer."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgeops.model.distance import Distance, learn_from_windows
from fleet_server.ml.recipes import distance as recipe
from fleet_server.ml.recipes.scaling import CLIP

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

_ANYWHERE = 100


class DistanceDetector:
    """A `Detector`."""

    #: Nothing was trained in steps.
    learned = None

    def __init__(self, tf: Any, distance: Distance) -> None:
        self._tf, self._distance = tf, distance

    @classmethod
    def learn(cls, tf: Any, normal: Floats) -> Self:
        """From normal windows (n, rows, columns).

        Raises:
            InputError: they are too few, or a column does not change.
        """
        return cls(tf, learn_from_windows(normal))

    def scores(self, windows: Floats) -> Doubles:
        """The squared distance of each (n,)."""
        return np.asarray(np.square(self._mapped(windows)).sum(axis=1))

    def far(self, windows: Floats, *, score: float, random: np.random.Generator) -> Floats:
        """Once along each channel of the map, then anywhere."""
        axes = np.eye(len(self._distance.offset))
        anywhere = random.normal(size=(_ANYWHERE, len(axes)))
        directions = np.concatenate([axes, -axes, anywhere / np.linalg.norm(anywhere, axis=1, keepdims=True)])
        moved = windows[np.arange(len(directions)) % len(windows)]
        missing = np.sqrt(score) * directions - self._mapped(moved)
        shifts = np.linalg.solve(self._distance.matrix, missing.T).T
        return np.asarray(np.clip(moved + shifts[:, np.newaxis].astype(np.float32), -CLIP, CLIP))

    def network(self) -> Any:
        """The distance itself."""
        return recipe.network(self._tf, self._distance)

    def _mapped(self, windows: Floats) -> Doubles:
        """(n, channels): where their means lie."""
        mapped: Doubles = windows.mean(axis=1, dtype=np.float64) @ self._distance.matrix.T + self._distance.offset
        return mapped
