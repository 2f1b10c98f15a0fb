"""Asks what answers owe to each input column: the very file by permuting, the float network by integrated gradients.

How, `edgeops.learning.attribution` says. What is asked is bounded: some inputs, and of a wide table some columns.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeops.learning.attribution import ColumnShare, PermutedColumn, integrated_gradients, permuted, shares_of
from edgeops.model.model import Model
from fleet_server.ml.training import Fitted, Trainer
from fleet_server.ml.windows import Windows

Floats = NDArray[np.float32]

#: Columns that are all asked for; of more, those that are watched.
MOST_COLUMNS = 64
#: Answers that permuting may take in all, windows that each column is tried on, and permutations where there is room.
_ANSWERS = 8_000
_WINDOWS = (40, 200)
_TIMES = 5
#: Inputs that gradients are taken of.
_INPUTS = 200


def permuted_columns(
    model: Model,
    windows: Windows,
    *,
    names: Sequence[str],
    watched: Sequence[int],
    seed: int,
    ask: Callable[[Model, Windows], NDArray[np.float64]],
) -> tuple[PermutedColumn, ...]:
    """The column whose permutation costs most first; none where there are no two of both.

    Args:
        model: the file.
        windows: of the evaluation set.
        names: of all columns.
        watched: those that are tried where there are many.
        seed: of the permutations.
        ask: what a model's answers to windows (n) cost (n,).
    """
    columns = list(range(len(names))) if len(names) <= MOST_COLUMNS else list(watched)
    if len(columns) < 2 or len(windows) < 2:
        return ()
    times = min(max(_ANSWERS // (len(columns) * _WINDOWS[1]), 1), _TIMES)
    count = int(np.clip(_ANSWERS // (len(columns) * times), *_WINDOWS))
    sample = windows.only(_spread(len(windows), count))
    found = permuted(
        sample.values,
        columns,
        cost=lambda values: float(ask(model, sample.with_values(values)).mean()),
        times=times,
        random=np.random.default_rng(seed),
    )
    told = [
        PermutedColumn(column=names[column], loss=_short(loss), spread=_short(spread))
        for column, (loss, spread) in zip(columns, found, strict=True)
    ]
    return tuple(sorted(told, key=lambda one: (-one.loss, one.column)))


def column_shares(trainer: Trainer, fitted: Fitted, inputs: Floats, names: Sequence[str]) -> tuple[ColumnShare, ...]:
    """Of what all columns move the answer that is given, the largest share first.

    Args:
        trainer: whose float network it is.
        fitted: its weights.
        inputs: preprocessed (n, *input shape) of the evaluation set, row by row.
        names: of the columns.
    """
    sample = inputs[_spread(len(inputs), _INPUTS)]
    if not len(sample):
        return ()
    places = trainer.answers(fitted, sample)
    told = integrated_gradients(sample, slopes=lambda moved: trainer.slopes(fitted, moved, places))
    return shares_of(told.reshape(len(sample), -1, len(names)), names)[:MOST_COLUMNS]


def _spread(length: int, most: int) -> NDArray[np.int64]:
    """Places from the first to the last."""
    return np.linspace(0, length - 1, num=min(most, length), dtype=np.int64)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
