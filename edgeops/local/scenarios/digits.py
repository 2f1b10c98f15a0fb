"""Handwritten digits as a camera that reads a meter: 1,797 images of 8 x 8 pixels, values 0 to 16.

The data comes with scikit-learn (UCI "Optical Recognition of Handwritten Digits", Alpaydin & Kaynak 1998),
so that the demo needs no network. This module writes it as a file that `edgeops dataset import` takes.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from edgeops.errors import PlatformError

#: The dataset, the model and the deployment have this name.
NAME = "digits"
LABEL = "digit"
RECIPE = "cnn"
#: Rows that only judge: on the server, and again on the devices.
HOLD_OUT = 0.3


def write_dataset(folder: Path) -> Path:
    """Write `digits.npz` (`X` float32 (1797, 8, 8), `digit` int64) into `folder`.

    Raises:
        PlatformError: scikit-learn is not installed.
    """
    if find_spec("sklearn") is None:
        raise PlatformError("the digits scenario needs scikit-learn; install it: pip install 'edgeops[demo]'")
    # By name: the rest of `edgeops` works without scikit-learn, and its import takes a second.
    digits = import_module("sklearn.datasets").load_digits()
    path = folder / f"{NAME}.npz"
    np.savez_compressed(path, X=digits.images.astype(np.float32), **{LABEL: digits.target.astype(np.int64)})
    return path
