"""Gas sensors that age for 30 months: what a few bought labels heal, without a fleet (the protocol is in `_gas`)."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import _gas

SEEDS = (0, 1, 2, 3, 4)
_PROCESSES = 2

#: In points, means over the later batches and the seeds; by labels a batch.
STATIC = (57.0, 67.0)
HEALED = {_gas.CHOSEN: {10: 94.0, 30: 97.5, 60: 98.0}, _gas.WITH_SHARE: {10: 92.0, 30: 96.5, 60: 97.0}}
#: Every batch with 60 labels.
WORST_BATCH = 93.0
#: The model that learnt from the purchases of earlier batches only.
PAST_ONLY = 77.0
#: 30 chosen against 60 by chance.
AHEAD = 1.0
INT8_LOSS = 0.5

Figures = dict[Any, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Bar:
    """A figure between two bounds, in points."""

    what: str
    value: float
    low: float
    high: float = np.inf

    @property
    def holds(self) -> bool:
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        low = [f">= {self.low:g}"] if np.isfinite(self.low) else []
        high = [f"<= {self.high:g}"] if np.isfinite(self.high) else []
        return f"{self.what} {self.value:.2f} ({' and '.join(low + high)}{'' if self.holds else ', MISSED'})"


def measure() -> dict[str, Any]:
    """30 chosen labels a batch beside 60 by chance; all figures with their bars are in `inside`."""
    row = {"name": "gas", "unit": "%", "bar": f">= baseline + {AHEAD:g} point, and all bars inside"}
    if not _gas.data_path().exists():
        why = f"not measured: there is no {_gas.data_path()}; set EDGEOPS_TEST_DATA to the folder of the research data"
        return {**row, "value": 0.0, "baseline": None, "holds": False, "inside": why}
    began = time.monotonic()
    figures = _study()
    bars = _bars(figures)
    return {
        **row,
        "value": round(_mean(figures, _gas.CHOSEN, 30), 2),
        "baseline": round(_mean(figures, _gas.BY_CHANCE, 60), 2),
        "holds": all(bar.holds for bar in bars),
        "inside": (
            "both sides: accuracy on the held-out halves of batches 3, 4, 5, 6, 8, 9, int8 through Model.predict, mean "
            f"of {len(SEEDS)} seeds. value: 30 labels a batch, {_gas.DEVICES} devices nominate, the server chooses; "
            f"baseline: 60 by chance. {'; '.join(str(bar) for bar in bars)}. {_table(figures)}. "
            f"{time.monotonic() - began:.0f} s with {_PROCESSES} processes"
        ),
    }


def _study() -> Figures:
    """Accuracies (seeds, batches) in points, by the keys of `_gas.study`; one task per seed and way of choosing."""
    tasks = [(seed, way) for seed in SEEDS for way in _gas.WAYS]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_PROCESSES, mp_context=spawn, initializer=_gas.be_quiet) as pool:
        done = list(pool.map(_gas.study, *zip(*tasks, strict=True)))
    keys = dict.fromkeys(key for one in done for key in one)
    by_seed = [
        {key: value for (of, _), one in zip(tasks, done, strict=True) if of == seed for key, value in one.items()}
        for seed in SEEDS
    ]
    return {key: 100 * np.array([one[key] for one in by_seed]) for key in keys}


def _bars(figures: Figures) -> list[Bar]:
    healed = [
        Bar(f"{labels} {way}", _mean(figures, way, labels), mark)
        for way, marks in HEALED.items()
        for labels, mark in marks.items()
    ]
    worst = [
        Bar(f"worst batch of 60 {way}", float(figures[way, 60, "after"].mean(axis=0).min()), WORST_BATCH)
        for way in HEALED
    ]
    ahead = _mean(figures, _gas.CHOSEN, 30) - _mean(figures, _gas.BY_CHANCE, 60)
    losses = [
        _mean(figures, way, labels, "float32") - _mean(figures, way, labels) for way in HEALED for labels in _gas.LABELS
    ]
    return [
        Bar("static", float(figures["static"].mean()), *STATIC),
        *healed,
        *worst,
        Bar("past purchases only, 60 a batch", _mean(figures, _gas.CHOSEN, 60, "before"), PAST_ONLY),
        Bar("30 chosen - 60 by chance", ahead, AHEAD),
        Bar("float32 - int8 at most", max(losses), -np.inf, INT8_LOSS),
    ]


def _table(figures: Figures) -> str:
    """By way of choosing: after each batch's labels, and before them."""
    ways = (
        f"{way} {_by_labels(figures, way, 'after')} (before {_by_labels(figures, way, 'before')})" for way in _gas.WAYS
    )
    return f"{'/'.join(map(str, _gas.LABELS))} labels: {', '.join(ways)}"


def _by_labels(figures: Figures, way: str, what: str) -> str:
    return "/".join(f"{_mean(figures, way, labels, what):.1f}" for labels in _gas.LABELS)


def _mean(figures: Figures, way: str, labels: int, what: str = "after") -> float:
    return float(figures[way, labels, what].mean())
