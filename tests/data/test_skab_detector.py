"""The recipe `distance` on the Skoltech Anomaly Benchmark: what an int8 file finds in runs that it never saw."""

from pathlib import Path

import numpy as np
import pytest

from bench import _skab
from edgeops.artifact.manifest import Variant
from fleet_server.ml.recipes.names import RecipeName
from tests.data.folder import data_folder
from tests.data.skab import dealt_among, dealt_within, snapshot_of
from tests.ml.numbers import Built

pytestmark = pytest.mark.data


def test_the_int8_file_tells_faults_of_runs_it_never_saw_from_normal_rows(tmp_path: Path) -> None:
    runs = _skab.read_runs(data_folder() / "skab" / "skab.csv.gz")
    asked = {"window": "30", "stride": "1", "margin": "1"}
    built = Built(tmp_path, snapshot_of(runs, dealt_among(runs)), recipe=RecipeName.DISTANCE, options=asked)
    for variant, descriptor in built.descriptors.items():
        figures = descriptor.manifest.metrics
        print(variant, descriptor.manifest.output.threshold, figures, *descriptor.promotion.rules, sep="\n  ")
    float32, int8 = (built.descriptors[variant].manifest.metrics for variant in (Variant.FLOAT32, Variant.INT8))
    assert int8["auc"] > 0.5
    assert int8["f1"] == pytest.approx(float32["f1"], abs=0.01)


def test_detectors_of_single_runs_find_their_faults_in_int8_as_in_float(tmp_path: Path) -> None:
    runs = _skab.read_runs(data_folder() / "skab" / "skab.csv.gz")[::7]
    counts = {variant: np.zeros(4) for variant in (Variant.FLOAT32, Variant.INT8)}
    for run in runs:
        folder = tmp_path / run.name.replace("/", "-")
        snapshot = snapshot_of([run], [dealt_within(run)])
        built = Built(folder, snapshot, recipe=RecipeName.DISTANCE, options={"window": "30", "stride": "1"})
        for variant, descriptor in built.descriptors.items():
            figures = descriptor.manifest.metrics
            anomalies, normal = figures["anomalies"], figures["rows"] - figures["anomalies"]
            hits, false = anomalies * figures["recall"], normal * figures["false-alarm-rate"]
            counts[variant] += np.array([hits, anomalies, false, normal])
    for variant, (hits, anomalies, false, normal) in counts.items():
        print(f"{variant}: F1 {2 * hits / (hits + false + anomalies):.3f}, false alarms in {false / normal:.1%}")
    found = {variant: 2 * one[0] / (one[0] + one[2] + one[1]) for variant, one in counts.items()}
    assert found[Variant.INT8] == pytest.approx(found[Variant.FLOAT32], abs=0.01)
    assert found[Variant.INT8] > 0.7
