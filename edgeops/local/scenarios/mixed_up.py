"""The digits with two labels mixed up: a data set that trains well, judges itself well, and is wrong.

Everything that is checked before a rollout passes: the model learns the mixed-up labels, is right about them on rows
that it never saw, and answers its golden vectors. Only beside the model that runs does it show.
"""

from pathlib import Path

import numpy as np

from edgeops.local.scenarios.digits import Digits

#: The digits that were mixed up.
SWAPPED = (3, 8)


class MixedUp(Digits):
    """As `Digits`; whoever labelled took the one digit for the other."""

    name = "digits-mixed-up"

    def write_dataset(self, folder: Path, *, seed: int) -> Path:
        """Write `digits-mixed-up.npz`, as `Digits` does, with two labels swapped.

        Raises:
            PlatformError: scikit-learn is not installed.
        """
        path = super().write_dataset(folder, seed=seed)
        with np.load(path) as file:
            images, truth = file["X"], file[self.label]
        first, second = SWAPPED
        mixed_up = np.where(truth == first, second, np.where(truth == second, first, truth))
        np.savez_compressed(path, allow_pickle=False, X=images, **{self.label: mixed_up})
        return path
