"""What a model goes by: how much its answers owe to each input column.

Two views that need not agree. Permuting asks the very file and tells what its answers lose; integrated gradients ask
the float network and tell what moves its answer. Neither says what causes what: of columns that tell the same, one may
be used and the other not.
"""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Steps from the baseline to an input: their mean gradient stands for the integral.
STEPS = 32


class PermutedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """One input column, and what answers cost more when each input has it from another one."""

    column: str
    loss: float
    #: Standard deviation over the permutations; 0 = there was one.
    spread: float


class ColumnShare(msgspec.Struct, frozen=True, kw_only=True):
    """One input column, and its share of what all columns move the answer."""

    column: str
    share: float


def permuted(
    inputs: NDArray[np.float32],
    columns: Sequence[int],
    *,
    cost: Callable[[NDArray[np.float32]], float],
    times: int,
    random: np.random.Generator,
) -> tuple[tuple[float, float], ...]:
    """Permutation importance (Breiman 2001, section 10; model-agnostic: Fisher, Rudin & Dominici 2019).

    The readings of one column go to another input as a whole, so that a window keeps its course.

    Args:
        inputs: (n, rows, columns) that are answered.
        columns: which are tried.
        cost: mean cost of the answers to some inputs.
        times: permutations of each.
        random: seeded.

    Returns: of each column what the answers cost more, mean and standard deviation over the permutations.
    """
    whole = cost(inputs)
    found = []
    for column in columns:
        losses = []
        for _ in range(times):
            changed = inputs.copy()
            changed[..., column] = inputs[random.permutation(len(inputs)), :, column]
            losses.append(cost(changed) - whole)
        found.append((float(np.mean(losses)), float(np.std(losses, ddof=1)) if times > 1 else 0.0))
    return tuple(found)


def integrated_gradients(
    inputs: NDArray[np.float32], *, slopes: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> Floats:
    """Integrated gradients from a baseline of zeros (Sundararajan, Taly & Yan 2017), by the midpoint rule.

    Args:
        inputs: (n, ...) preprocessed; zero is the mean of a standardized column, and black of an image.
        slopes: gradients (n, ...) of one answer of each input at other inputs (n, ...).

    Returns: (n, ...) what each value adds to the answer; they sum to the answer less that at the baseline.
    """
    total = np.zeros(inputs.shape, np.float64)
    for step in range(STEPS):
        total += slopes(inputs * np.float32((step + 0.5) / STEPS))
    return inputs * total / STEPS


def shares_of(attributions: Floats, columns: Sequence[str]) -> tuple[ColumnShare, ...]:
    """The largest first; none where nothing moves the answer.

    Args:
        attributions: (n, rows, columns) of some inputs.
        columns: their names.
    """
    sizes = np.abs(attributions).sum(axis=(0, 1))
    whole = float(sizes.sum())
    if not whole > 0:
        return ()
    found = (
        ColumnShare(column=name, share=float(f"{size / whole:.6g}")) for name, size in zip(columns, sizes, strict=True)
    )
    return tuple(sorted(found, key=lambda one: (-one.share, one.column)))
