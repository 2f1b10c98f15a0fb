"""How much of a gas: a regression on real sensors, judged on rows that were held back, answered alike by the agent."""

from pathlib import Path

import numpy as np
import pytest

from device_agent.judging import Summary, answers
from edgeops.artifact.manifest import ChannelKind, Transform, Variant
from edgeops.data.splits import Split
from edgeops.model.model import Model
from tests.data.folder import data_folder
from tests.ml.numbers import Built, number_snapshot

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    with np.load(data_folder() / "gas_drift" / "gas_drift.npz") as source:
        first = source["batch"] <= 2
        rows, ppm = source["X"][first], source["ppm"][first]
    return Built(tmp_path_factory.mktemp("ppm"), number_snapshot(rows, ppm, hold_out=0.2))


def test_concentrations_are_estimated_eight_times_better_than_by_their_median(built: Built) -> None:
    for variant, descriptor in built.descriptors.items():
        metrics = descriptor.manifest.metrics
        print(variant, metrics)
        assert metrics["mae"] < 14 < 0.15 * metrics["baseline-mae"]
        assert metrics["r2"] > 0.94
        assert 0.86 <= metrics["coverage-90"] <= 0.96
        assert descriptor.promotion.passed, descriptor.promotion.failures


def test_int8_costs_less_than_a_point_of_skill(built: Built) -> None:
    float32, int8 = (built.descriptors[variant].manifest.metrics for variant in (Variant.FLOAT32, Variant.INT8))
    lost = (int8["mae"] - float32["mae"]) / float32["baseline-mae"]
    print(f"int8 loses {100 * lost:.2f} points of skill")
    assert lost <= 0.01


def test_numbers_over_little_more_than_a_decade_are_learnt_as_they_are(built: Built) -> None:
    manifest = built.descriptors[Variant.INT8].manifest
    assert manifest.preprocess.transform is Transform.SIGNED_LOG1P
    assert manifest.output.transform is Transform.NONE
    kinds = [channel.kind for channel in manifest.channels]
    assert (kinds.count(ChannelKind.COLUMN), kinds.count(ChannelKind.PROJECTION)) == (48, 14)


def test_the_agent_answers_bit_for_bit_what_the_server_judged(built: Built, tmp_path: Path) -> None:
    rows = built.snapshot.only(Split.EVALUATION)
    file = tmp_path / "rows.csv"
    lines = [",".join(built.snapshot.schema.columns)]
    lines += [",".join(repr(float(value)) for value in row) for row in rows.values]
    file.write_text("\n".join(lines))
    model = Model.load(built.files[Variant.INT8])
    said = [one.answer for one in answers(model, file, Summary())]
    judged = [model.predict(row[np.newaxis]).answer for row in rows.values]
    assert said == judged
    assert np.abs(np.array(said) - rows.targets).mean() == pytest.approx(model.manifest.metrics["mae"], rel=1e-4)
