"""Handwritten digits as a camera that reads a meter: 1,797 images of 8 x 8 pixels, values 0 to 16.

The data comes with scikit-learn (UCI "Optical Recognition of Handwritten Digits", Alpaydin & Kaynak 1998),
so that the demo needs no network. This module writes it as a file that `edgeops dataset import` takes.
"""

from pathlib import Path

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
    try:
        # Here, because all other commands work without scikit-learn, and would pay a second for it.
        import numpy as np  # noqa: PLC0415
        from sklearn.datasets import load_digits  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise PlatformError(
            f"the digits scenario needs scikit-learn ({error}); install it: pip install 'edgeops[demo]'"
        ) from error
    digits = load_digits()
    path = folder / f"{NAME}.npz"
    np.savez_compressed(path, X=digits.images.astype(np.float32), **{LABEL: digits.target.astype(np.int64)})
    return path
