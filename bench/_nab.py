"""The Numenta Anomaly Benchmark: its 58 series, and how it scores what a detector says of them.

Not a row. Lavin & Ahmad, "Evaluating Real-Time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark" (ICMLA
2015), standard profile, as the benchmark's own sweeper reads it:

- Around each labelled anomaly lies a window. A window in which a detector alarms earns s(y) / s(-1) for its best alarm,
  a window without one costs 1; s(y) = 2 / (1 + e^(5 y)) - 1, y from -1 at the window's first row to 0 after its last.
- An alarm outside costs 0.11 x -s(y), y the distance from the end of the window before in lengths of it (the full 0.11
  beyond 3, and before the first window).
- The first 15 % of a series, of 5,000 rows at most, are for learning: nothing there counts.
- The sum over all series is scaled so that no alarm at all is 0 and the best alarm in every window 100. One threshold
  serves all series. The benchmark looks for the best one with the labels at hand; `score` takes any, `sweep` finds
  that one.
"""

import csv
import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

#: What others reach, by the benchmark's own table; standard profile, all series.
PUBLISHED = {"Relative Entropy": 54.6, "HTM": 70.1}

_FALSE_ALARM = 0.11
_LEARNING_SHARE, _LEARNING_ROWS = 0.15, 5000
_FAR = 3.0

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Series:
    """One file: values (n,) in their order, and the first and last row of each window."""

    name: str
    values: Array
    windows: tuple[tuple[int, int], ...]

    @property
    def learning(self) -> int:
        """So many rows at the beginning count for nothing."""
        return int(_LEARNING_SHARE * min(len(self.values), _LEARNING_ROWS))

    @cached_property
    def window_of(self) -> Array:
        """The number of each row's window (n,); -1 outside."""
        numbers = np.full(len(self.values), -1)
        for number, (first, last) in enumerate(self.windows):
            numbers[first : last + 1] = number
        return numbers

    @cached_property
    def worth(self) -> Array:
        """What an alarm at each row (n,) earns or costs."""
        rows = np.arange(len(self.values))
        worth = np.full(len(rows), -_FALSE_ALARM)
        for first, last in self.windows:
            length = last - first + 1
            within, after = rows[first : last + 1], rows[last + 1 :]
            worth[within] = _sigmoid((within - last - 1) / length) / _sigmoid(np.float64(-1))
            # The next window writes over what lies beyond its beginning.
            distance = (after - last) / max(length - 1, 1)
            worth[after] = _FALSE_ALARM * np.where(distance > _FAR, -1, _sigmoid(np.minimum(distance, _FAR)))
        return worth


def data_path() -> Path:
    """Where the research data should be."""
    default = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("EDGEOPS_TEST_DATA", default)) / "nab" / "nab_data.tar.gz"


def read_corpus(path: Path) -> list[Series]:
    """All series, by name."""
    with tarfile.open(path) as archive:
        texts = {
            member.name.removeprefix("./"): archive.extractfile(member).read().decode()
            for member in archive.getmembers()
            if member.isfile()
        }
    labels = json.loads(texts["labels/combined_windows.json"])
    return [_series(name, texts[f"data/{name}"], labels[name]) for name in sorted(labels)]


def score(corpus: Sequence[Series], scores: Sequence[Array], threshold: float) -> float:
    """Of a detector whose scores (n,) alarm at or above the threshold; 0 is silence, 100 perfect."""
    total = 0.0
    for series, of in zip(corpus, scores, strict=True):
        alarms = np.flatnonzero(of >= threshold)
        alarms = alarms[alarms >= series.learning]
        windows, worth = series.window_of[alarms], series.worth[alarms]
        total += worth[windows < 0].sum() + sum(1 + worth[windows == one].max() for one in set(windows) - {-1})
    return _scaled(total, corpus)


def sweep(corpus: Sequence[Series], scores: Sequence[Array]) -> tuple[float, float]:
    """The best score that one threshold reaches, and that threshold; infinite where silence is best."""
    counted = list(zip(corpus, scores, strict=True))
    levels = np.concatenate([of[series.learning :] for series, of in counted])
    gains = np.concatenate([series.worth[series.learning :] for series, _ in counted])
    offsets = np.cumsum([0, *(len(series.windows) for series in corpus)])
    windows = np.concatenate(
        [
            np.where(series.window_of < 0, -1, series.window_of + offset)[series.learning :]
            for series, offset in zip(corpus, offsets, strict=False)
        ]
    )
    order = np.argsort(-levels, kind="stable")
    levels, gains, windows = levels[order], gains[order], windows[order]
    best: dict[int, float] = {}
    for row in np.flatnonzero(windows >= 0):
        # A window that was missed costs 1, so its first alarm earns that too.
        before, found = best.get(windows[row], -1.0), gains[row]
        best[windows[row]] = max(before, found)
        gains[row] = best[windows[row]] - before
    totals = np.cumsum(gains)
    # Rows with one score alarm together.
    totals[:-1][levels[:-1] == levels[1:]] = -np.inf
    chosen = int(np.argmax(totals))
    return (_scaled(totals[chosen], corpus), float(levels[chosen])) if totals[chosen] > 0 else (0.0, np.inf)


def split_half(corpus: Sequence[Series], scores: Sequence[Array], half: Sequence[int]) -> float:
    """Each half of the series, scored at the threshold that was best on the other; `half` are the numbers of one."""
    halves = (list(half), [number for number in range(len(corpus)) if number not in set(half)])
    total = 0.0
    for judged, other in (halves, halves[::-1]):
        _, threshold = sweep([corpus[one] for one in other], [scores[one] for one in other])
        own = [corpus[one] for one in judged]
        total += score(own, [scores[one] for one in judged], threshold) * _window_count(own)
    return total / _window_count(corpus)


def deals(count: int, *, of: int, seed: int) -> Iterator[Sequence[int]]:
    """Halves of `of` series: every second one by name, then by lot until there are `count`."""
    yield range(0, of, 2)
    random = np.random.default_rng(seed)
    for _ in range(count - 1):
        yield random.permutation(of)[: of // 2].tolist()


def excess(values: Array) -> Array:
    """The plainest detector: how far a value (n,) lies outside of all before it, as a share of their range."""
    low, high = np.minimum.accumulate(values), np.maximum.accumulate(values)
    width, wider = high[:-1] - low[:-1], high[1:] - low[1:]
    return np.concatenate([[0.0], np.where(width > 0, wider - width, 0) / np.where(width > 0, width, 1)])


def _series(name: str, text: str, labels: Sequence[Sequence[str]]) -> Series:
    rows = list(csv.DictReader(io.StringIO(text)))
    times = np.array([row["timestamp"] for row in rows], "datetime64[s]")
    windows = []
    for begin, end in labels:
        within = np.flatnonzero((times >= _moment(begin)) & (times <= _moment(end)))
        windows.append((int(within[0]), int(within[-1])))
    return Series(name, np.array([float(row["value"]) for row in rows]), tuple(windows))


def _moment(text: str) -> np.datetime64:
    return np.datetime64(datetime.fromisoformat(text).replace(microsecond=0), "s")


def _sigmoid(y: Array) -> Array:
    return np.asarray(2 / (1 + np.exp(5 * y)) - 1)


def _window_count(corpus: Sequence[Series]) -> int:
    return sum(len(series.windows) for series in corpus)


def _scaled(total: float, corpus: Sequence[Series]) -> float:
    """Silence costs 1 a window and perfection earns 1; `total` counts from silence."""
    return float(100 * total / (2 * _window_count(corpus)))
