"""The novelty of readings against the labels of 58 series (the protocol is in `_nab`)."""

from typing import Any

import numpy as np

from bench import _nab
from edgeops.model.novelty import THRESHOLD, Pace, novelty

BAR = 60.0
#: What a scorer must make of two known detectors: it is the benchmark's own, or no figure here counts.
SELF_TEST = {"constant": 0.0, "running minimum and maximum": 57.0}
DEALS = 21

Scores = list[_nab.Array]


def measure() -> dict[str, Any]:
    """The benchmark's score; the other side is the excess over the running minimum and maximum."""
    row = {"name": "nab", "unit": "of 100", "bar": f">= {BAR:g}, and the scorer passes its self-test"}
    path = _nab.data_path()
    if not path.exists():
        why = f"not measured: there is no {path}; set EDGEOPS_TEST_DATA to the folder of the research data"
        return {**row, "value": 0.0, "baseline": None, "holds": False, "inside": why}
    corpus = _nab.read_corpus(path)
    scores = detect(corpus)
    best, threshold = _nab.sweep(corpus, scores)
    known = self_test(corpus)
    halves = [_nab.split_half(corpus, scores, half) for half in _nab.deals(DEALS, of=len(corpus), seed=0)]
    published = ", ".join(f"{name} {figure}" for name, figure in _nab.PUBLISHED.items())
    return {
        **row,
        "value": round(best, 2),
        "baseline": known["running minimum and maximum"],
        "holds": best >= BAR and known == SELF_TEST,
        "inside": (
            f"both sides: {len(corpus)} series, standard profile, one set of parameters, the one threshold that the "
            f"benchmark finds with the labels (value: {threshold:.4f}). At the detector's own {THRESHOLD:g}: "
            f"{_nab.score(corpus, scores, THRESHOLD):.2f}. Threshold from one half of the series, scored on the other, "
            f"and the reverse: {halves[0]:.2f} with every second by name, {np.mean(halves[1:]):.2f} on the mean of "
            f"{len(halves) - 1} lots ({np.min(halves[1:]):.2f} to {np.max(halves[1:]):.2f}). Scorer: "
            f"{', '.join(f'{name} {figure:.2f}' for name, figure in known.items())}. Published: {published}"
        ),
    }


def detect(corpus: list[_nab.Series], pace: Pace | None = None) -> Scores:
    """Of every series by itself."""
    return [novelty(series.values[:, np.newaxis], pace) for series in corpus]


def self_test(corpus: list[_nab.Series]) -> dict[str, float]:
    """What the scorer makes of two known detectors, to two places."""
    detectors: dict[str, Scores] = {
        "constant": [np.full(len(series.values), 0.5) for series in corpus],
        "running minimum and maximum": [_nab.excess(series.values) for series in corpus],
    }
    return {name: round(_nab.sweep(corpus, scores)[0], 2) for name, scores in detectors.items()}
