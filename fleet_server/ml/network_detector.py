"""A detector that is trained in steps: a network whose answer is the score, made small for normal windows."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Task
from fleet_server.ml.epoch import Epoch
from fleet_server.ml.recipes.catalog import Network
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.recipes.scaling import CLIP
from fleet_server.ml.training import Fitted, Labelled, Trainer

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

_ANYWHERE = 60
#: Halvings of how far a window is moved: less than a percent is left of it.
_HALVINGS = 8


class NetworkDetector:
    """A `Detector`."""

    def __init__(self, trainer: Trainer, fitted: Fitted, input_shape: tuple[int, ...]) -> None:
        self._trainer, self._fitted, self._input_shape = trainer, fitted, input_shape
        self.learned = fitted.learned

    @classmethod
    def learn(
        cls,
        tf: Any,
        network: Network,
        plan: Plan,
        *,
        normal: Floats,
        held_back: Floats,
        seed: int,
        report: Callable[[Epoch], None],
    ) -> Self:
        """From normal windows (n, rows, columns); those held back stop the training."""
        trainer = Trainer(tf, network, plan, Head(Task.ANOMALY, 1))
        train, validation = (
            Labelled(inputs=windows.reshape(-1, *plan.input_shape), targets=np.zeros(len(windows), np.float32))
            for windows in (normal, held_back)
        )
        return cls(trainer, trainer.fit(train, validation, seed=seed, report=report), plan.input_shape)

    def scores(self, windows: Floats) -> Doubles:
        """Of the float network (n,)."""
        return self._trainer.scores(self._fitted, windows.reshape(-1, *self._input_shape)).astype(np.float64)

    def far(self, windows: Floats, *, score: float, random: np.random.Generator) -> Floats:
        """Each column up and down as a whole, then all readings anywhere; as far as clipping lets them go."""
        columns = np.eye(windows.shape[-1])[:, np.newaxis] * np.ones(windows.shape[1:])
        anywhere = random.normal(size=(_ANYWHERE, *windows.shape[1:]))
        directions = np.concatenate([columns, -columns, anywhere]).astype(np.float32)
        moved = windows[np.arange(len(directions)) % len(windows)]
        near, far = np.zeros(len(moved), np.float32), np.full(len(moved), 2 * CLIP, np.float32)

        def at(lengths: NDArray[Any]) -> Floats:
            return np.asarray(np.clip(moved + lengths[:, np.newaxis, np.newaxis] * directions, -CLIP, CLIP))

        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            is_near = self.scores(at(middle)) < score
            near, far = np.where(is_near, middle, near), np.where(is_near, far, middle)
        return at(far)

    def network(self) -> Any:
        """Whose batch size is 1."""
        return self._trainer.network(self._fitted)
