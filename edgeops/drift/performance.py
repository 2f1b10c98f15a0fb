"""Estimates what answers are worth without labels: accuracy from confidences, mean error from the answers' mix.

Each confidence bin is worth the share of right answers it had on rows that the model never learnt from
(confidence-based performance estimation, CBPE). Each bin of a regression's answers errs in proportion to its
half-width. Under drift both can mislead, so an estimate supports a verdict and never makes one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Manifest, Task

Floats = NDArray[np.float64]

#: A fall that matters, and that chance does not explain, in standard errors.
_LEAST_FALL = 0.05
_LEAST_ERRORS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the confidences of a window are worth."""

    accuracy: float
    #: The same of the reference's confidences.
    reference: float
    has_fallen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanError:
    """What a regression errs by on its evaluation set."""

    #: Mean absolute error.
    mae: float
    units: str


def mean_error_of(manifest: Manifest) -> MeanError | None:
    """As the manifest tells it; None where it does not, or the model is no regression."""
    mae = manifest.metrics.get("mae")
    if manifest.task is not Task.REGRESSION or mae is None:
        return None
    return MeanError(mae=mae, units=manifest.output.units)


def estimate(worth: Floats, window: Floats, reference: Floats, *, effective_rows: float) -> Estimate | None:
    """The expected accuracy of a window.

    Args:
        worth: (32,) expected accuracy per bin.
        window: (32,) counts or shares of the window's confidences.
        reference: (32,) of the reference's.
        effective_rows: independent rows of the window.

    Returns:
        None where there is no confidence to go by.
    """
    if window.sum() <= 0 or reference.sum() <= 0:
        return None
    shares = window / window.sum()
    accuracy = float(shares @ worth)
    before = float(reference @ worth / reference.sum())
    spread = float(shares @ np.square(worth - accuracy))
    error = np.sqrt(spread / max(effective_rows, 1.0))
    fall = before - accuracy
    return Estimate(
        accuracy=accuracy, reference=before, has_fallen=bool(fall >= _LEAST_FALL and fall >= _LEAST_ERRORS * error)
    )


def estimate_mae(mae: float, half_widths: Floats, window: Floats, reference: Floats) -> float | None:
    """The expected mean absolute error of a window whose answers come in another mix.

    It holds as long as each answer errs as it did where `mae` and half-widths were measured, and answers came there in
    the reference's mix.

    Args:
        mae: of the evaluation set, in units.
        half_widths: (32,) per bin of the answer, in units.
        window: (32,) counts or shares of the window's answers.
        reference: (32,) of the reference's.

    Returns:
        None where there is no answer to go by, or the reference's answers are never off.
    """
    if window.sum() <= 0 or reference.sum() <= 0:
        return None
    usual = float(half_widths @ reference / reference.sum())
    return mae * float(half_widths @ window / window.sum()) / usual if usual > 0 else None
