"""Sixteen gas sensors that age: batches of measurements over 30 months.

The data is research data that the user brings (UCI "Gas Sensor Array Drift at Different Concentrations"; Vergara et
al., Sensors and Actuators B 166 (2012) 320-329): `gas_drift.npz` with `X` (rows, 128), `gas` and `batch`. Batches 1 and
2 are learnt from; the later ones are what the sensors show month after month.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import InputError
from edgeops.local.scenarios.scenario import Rows, Stage, shuffled

_FILE = "gas_drift.npz"
_KNOWN = (1, 2)
_LATER = (3, 4, 5, 6, 8, 9)


class Gas:
    """The sensors.

    Args:
        folder: holds `gas_drift.npz`.

    Raises:
        InputError: the file is not there, or something else.
    """

    name = "gas"
    label = "gas"
    recipe = "dense"
    hold_out = 0.2

    def __init__(self, folder: Path) -> None:
        path = folder / _FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                self._values: NDArray[np.float32] = np.asarray(file["X"], np.float32)
                self._gases: NDArray[np.int64] = np.asarray(file["gas"], np.int64)
                self._batches: NDArray[np.int64] = np.asarray(file["batch"], np.int64)
        except (OSError, KeyError, ValueError) as error:
            raise InputError(
                f"cannot use {path}: {error}; the gas scenario needs the arrays X, gas and batch of the UCI set"
                ' "Gas Sensor Array Drift at Different Concentrations" in it, name its folder with --data'
            ) from error
        missing = sorted(set(_KNOWN + _LATER) - set(self._batches.tolist()))
        if missing:
            raise InputError(f"{path} has no rows of batch {', '.join(map(str, missing))}; the scenario plays them all")

    def write_dataset(self, folder: Path, *, seed: int) -> Path:  # noqa: ARG002 - the rows are given
        """Write the rows of batches 1 and 2: `X` float32 (1689, 128), `gas` int64."""
        known = np.isin(self._batches, _KNOWN)
        path = folder / f"{self.name}.npz"
        np.savez_compressed(path, allow_pickle=False, X=self._values[known], **{self.label: self._gases[known]})
        return path

    def stages(self, seed: int) -> Iterator[Stage]:
        """One per later batch, in order of time."""
        for batch in _LATER:
            yield Stage(name=batch, rows=self._rows((batch,), seed))

    def control(self, seed: int) -> Stage:
        """Rows of batches 1 and 2 once more."""
        return Stage(name="control", rows=self._rows(_KNOWN, seed))

    def _rows(self, batches: tuple[int, ...], seed: int) -> Rows:
        chosen = np.flatnonzero(np.isin(self._batches, batches))
        labels = [str(gas) for gas in self._gases[chosen]]
        random = np.random.default_rng([seed, *batches])
        return shuffled(self._values[chosen], labels, prefix=f"b{batches[-1]}", random=random)
