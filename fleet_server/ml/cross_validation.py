"""Trains once more without each fold, and lets the int8 file of that training answer the fold, as a device would.

What the files share with the one that ships is the recipe, the seed and the inputs that int8 takes its ranges from. How
rows are dealt, `edgeops.learning.folds` decides.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Task
from edgeops.data.rules import SplitBy
from edgeops.data.splits import Split, bins_of
from edgeops.errors import DatasetError
from edgeops.learning.folds import Folds, deal
from edgeops.model.model import Model
from fleet_server.ml.training import Fitted
from fleet_server.ml.windows import WindowedSnapshot, Windows


def cross_validate(
    windows: WindowedSnapshot,
    *,
    count: int,
    seed: int,
    fit_without: Callable[[NDArray[np.bool_]], Fitted],
    quantize: Callable[[Fitted], Model],
    ask: Callable[[Model, Windows], NDArray[np.float64]],
    report: Callable[[float], None],
) -> Folds:
    """Train and judge `count` times.

    Args:
        windows: of the snapshot; those that are learnt from are dealt.
        count: of folds.
        seed: of chance.
        fit_without: a training without these of the windows that are learnt from (n,).
        quantize: its int8 file, loaded.
        ask: what a model's answers to windows cost, as `Examiner.costs`.
        report: is told the share done.

    Raises:
        DatasetError: there is too little to deal, or nothing left to learn from.
    """
    schema, numbers = windows.snapshot.schema, windows.of(Split.TRAIN)
    learnt, places, rows = windows.at(numbers), windows.places[numbers], windows.snapshot.rows
    by = SplitBy.ROW if schema.rules is None else schema.rules.split
    strata = learnt.targets if schema.task is Task.CLASSIFICATION else bins_of(learnt.targets)
    fold = deal(by, strata, groups=learnt.groups, times=rows.times[places[:, -1]], count=count, seed=seed)
    figures = []
    for number in range(count):
        held = np.asarray(fold == number)
        # Windows overlap: none is learnt from that holds a row which is judged.
        left_out: NDArray[np.bool_] = np.asarray(np.isin(places, places[held]).any(axis=1))
        if by is SplitBy.TIME:
            left_out |= fold >= number
        if left_out.all():
            raise DatasetError(f"without fold {number + 1} of {count} nothing is left to learn from")
        model = quantize(fit_without(left_out))
        cost = float(ask(model, learnt.only(held)).mean())
        model.close()
        figures.append(float(f"{1 - cost if schema.task is Task.CLASSIFICATION else cost:.6g}"))
        report((number + 1) / count)
    return Folds(by=by, figures=tuple(figures), rows=tuple(int((fold == number).sum()) for number in range(count)))
