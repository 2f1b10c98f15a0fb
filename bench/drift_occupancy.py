"""Room climate read once a minute: what is said where a week of readings is worth a handful.

Real rows (UCI "Occupancy Detection") of one room without its Light column, in three parts that lie days apart. Each
part serves as the reference of the two others; those arrive in windows of 500 minutes. How an office breathes from day
to day cannot be told from six days, so the one honest verdict is "not enough evidence", with the reason.
"""

import csv
import gzip
import os
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from bench import _peers
from bench._streams import POLICY, WINDOW, windows
from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift.finding import Finding, Verdict
from edgeops.drift.verdict import judge
from edgeops.sketch.learnt import build_reference

PARTS = ("train", "test1", "test2")
COLUMNS = ("Temperature", "Humidity", "CO2", "HumidityRatio")
CHANNELS = tuple(Channel(name=name, kind=ChannelKind.COLUMN, index=index) for index, name in enumerate(COLUMNS))

Array = np.ndarray[Any, Any]


def data_path() -> Path:
    """Where the research data should be."""
    default = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("EDGEOPS_TEST_DATA", default)) / "occupancy" / "occupancy.csv.gz"


def measure() -> dict[str, Any]:
    """Verdicts of DRIFT among all judgements; the other side is exact KS on the same windows."""
    row = {"name": "drift_occupancy", "unit": "DRIFT", "bar": "0 DRIFT, all NOT_ENOUGH_EVIDENCE with the reason"}
    path = data_path()
    if not path.exists():
        why = f"not measured: there is no {path}; set EDGEOPS_TEST_DATA to the folder of the research data"
        return {**row, "value": 0, "baseline": None, "holds": False, "inside": why}
    parts = read_parts(path)
    pairs = list(permutations(parts.values(), 2))
    findings = [found for pair in pairs for found in findings_of(*pair)]
    alarms = np.concatenate([_peers.ks_alarms(*pair, window=WINDOW) for pair in pairs])
    drifts = sum(found.verdict is Verdict.DRIFT for found in findings)
    explained = [found for found in findings if is_explained(found)]
    lags = [lag_1(values) for values in parts.values()]
    return {
        **row,
        "value": drifts,
        "baseline": int(alarms.sum()),
        "holds": drifts == 0 and len(explained) == len(findings),
        "inside": (
            f"value: of {len(findings)} judgements, each window alone and with all before it, the reference in time "
            f"order and not; {len(explained)} say not enough evidence and why. baseline: windows of {len(alarms)} in "
            f"which exact KS with Bonferroni alarms. {WINDOW} minutes a window, {', '.join(COLUMNS)}; each of the "
            f"parts {', '.join(PARTS)} as reference of the two others; lag-1 autocorrelation "
            f"{np.min(lags):.4f} to {np.max(lags):.4f}. Of the last: {findings[-1].reason}"
        ),
    }


def read_parts(path: Path) -> dict[str, Array]:
    """Rows (n, 4) of each part in time order."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    return {
        part: np.array([[row[name] for name in COLUMNS] for row in rows if row["part"] == part], np.float32)
        for part in PARTS
    }


def findings_of(reference: Array, stream: Array) -> Iterator[Finding]:
    """Each window by itself and with all before it, against the reference with and without its time order."""
    for is_ordered in (False, True):
        profile = build_reference(reference, COLUMNS, discrete=(), ordered=is_ordered)
        arrived = windows(profile, stream)
        for last in range(len(arrived)):
            yield judge(profile, arrived[last : last + 1], POLICY, channels=CHANNELS)
            yield judge(profile, arrived[: last + 1], POLICY, channels=CHANNELS)


def is_explained(found: Finding) -> bool:
    """Whether it is an honest "I do not know"."""
    return found.verdict is Verdict.NOT_ENOUGH_EVIDENCE and "independent" in found.reason


def lag_1(values: Array) -> Array:
    """Per column, of rows in time order."""
    steps = np.diff(values.astype(np.float64), axis=0)
    return np.asarray(1 - np.square(steps).mean(axis=0) / (2 * values.astype(np.float64).var(axis=0)))
