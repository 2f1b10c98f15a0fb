"""Handwritten digits as a camera that reads a meter, and then its lens gets dirty.

1,797 images of 8 x 8 pixels, values 0 to 16, which come with scikit-learn (UCI "Optical Recognition of Handwritten
Digits", Alpaydin & Kaynak 1998), so that the demo needs no network. Four hundred of them are kept for what the camera
sees after the first model was trained; the dirt is made of stains and noise, from the seed.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import PlatformError
from edgeops.local.scenarios.scenario import Stage, shuffled

#: Images that no training sees unless a label of them is bought.
_LATER = 400
_FULL_SCALE = 16.0
#: What is left of the contrast, and how strong the noise is.
_CONTRAST, _NOISE = 0.55, 0.8
#: Pixels that stains cover, and what they let through.
_STAINED_SHARE, _THROUGH_STAIN = 0.2, 0.25


class Digits:
    """The meter."""

    name = "digits"
    label = "digit"
    recipe = "cnn"
    hold_out = 0.3

    def write_dataset(self, folder: Path, *, seed: int) -> Path:
        """Write `digits.npz`: `X` float32 (1397, 8, 8), `digit` int64.

        Raises:
            PlatformError: scikit-learn is not installed.
        """
        images, truth, later = _load(seed)
        path = folder / f"{self.name}.npz"
        np.savez_compressed(path, allow_pickle=False, X=images[~later], **{self.label: truth[~later]})
        return path

    def stages(self, seed: int) -> Iterator[Stage]:
        """One: the lens gets dirty."""
        images, truth, later = _load(seed)
        random = np.random.default_rng([seed, 1])
        dirty = _through_dirt(images[later], random)
        labels = [str(one) for one in truth[later]]
        yield Stage(name="dirty lens", rows=shuffled(dirty, labels, prefix="dirty", random=random))

    def control(self, seed: int) -> Stage:
        """The same images through the clean lens."""
        images, truth, later = _load(seed)
        labels = [str(one) for one in truth[later]]
        random = np.random.default_rng([seed, 2])
        return Stage(name="control", rows=shuffled(images[later], labels, prefix="clean", random=random))


def _load(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Images (n, 8, 8), digits (n,), and which of them come later."""
    try:
        # Here, because whoever plays another scenario need not have scikit-learn.
        from sklearn.datasets import load_digits  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise PlatformError(
            f"the digits scenario needs scikit-learn ({error}); install it: pip install 'edgeops[demo]'"
        ) from error
    digits = load_digits()
    later = np.zeros(len(digits.target), np.bool_)
    later[np.random.default_rng([seed, 0]).permutation(len(later))[:_LATER]] = True
    return digits.images.astype(np.float32), digits.target.astype(np.int64), later


def _through_dirt(images: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The same stains on every image, less contrast, and noise."""
    stains = np.where(random.random(images.shape[1:]) < _STAINED_SHARE, _THROUGH_STAIN, 1.0)
    seen = images * stains * _CONTRAST + random.normal(0.0, _NOISE, images.shape)
    return np.clip(np.round(seen), 0.0, _FULL_SCALE).astype(np.float32)
