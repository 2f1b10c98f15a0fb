"""Anomaly detectors, from a snapshot to artifacts whose score raises an alarm."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from device_agent.cli import main
from device_agent.judging import Summary, answers
from edgeops.artifact.manifest import Task, Variant
from edgeops.artifact.package import open_artifact
from edgeops.data.splits import Split
from edgeops.errors import ConfigError
from edgeops.model.distance import learn_from_windows
from edgeops.model.golden import check_golden
from edgeops.model.model import Model
from edgeops.model.preprocess import transform_rows
from edgeops.sketch.packing import pack
from edgeops.sketch.window import Sketcher
from fleet_server.api import channels
from fleet_server.artifacts import KnownArtifact
from fleet_server.db import aliases
from fleet_server.db.aliases import Alias
from fleet_server.ml.judging import channels_of
from fleet_server.ml.recipes.names import RecipeName
from fleet_server.ml.windows import cut_windows
from tests.ml.desk import Desk
from tests.ml.machines import write_machines
from tests.ml.numbers import Built

pytestmark = pytest.mark.slow

ASKED = {"window": "20", "stride": "5"}


@pytest.fixture(scope="module")
def pumps(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("pumps")
    return Built(folder, write_machines(), recipe=RecipeName.DISTANCE, options=ASKED)


def test_a_fault_of_a_machine_that_was_never_seen_raises_alarms(pumps: Built) -> None:
    for descriptor in pumps.descriptors.values():
        manifest = descriptor.manifest
        assert manifest.task is Task.ANOMALY
        assert manifest.output.threshold is not None
        assert descriptor.promotion.passed, descriptor.promotion.failures
        assert manifest.metrics["auc"] > 0.95, manifest.metrics
        assert manifest.metrics["recall"] > 0.8, manifest.metrics
        assert manifest.metrics["false-alarm-rate"] < 0.1, manifest.metrics


def test_the_float_file_scores_the_distance_that_was_learnt(pumps: Built) -> None:
    model = Model.load(pumps.files[Variant.FLOAT32])
    cut = cut_windows(pumps.snapshot, model.manifest.window)
    learnt = cut.at(cut.normal(cut.of(Split.TRAIN))).values
    prepared = transform_rows(learnt.reshape(-1, 3), model.manifest.preprocess, missing=model.manifest.missing)
    distance = learn_from_windows(prepared.reshape(learnt.shape))
    for window, seen in zip(learnt[::20], prepared.reshape(learnt.shape)[::20], strict=True):
        assert model.predict(window).answer == pytest.approx(distance.score(seen), rel=1e-3, abs=1e-4)


def test_256_steps_reach_well_beyond_the_threshold_and_are_fine_below_it(pumps: Built) -> None:
    manifest = pumps.descriptors[Variant.INT8].manifest
    score, threshold = manifest.outputs[manifest.output.answer], manifest.output.threshold
    assert threshold is not None
    assert score.dtype == "int8"
    assert 50 < threshold / score.scale < 80
    assert score.scale * (127 - score.zero_point) > 3 * threshold


def test_the_loop_of_a_device_scores_bit_for_bit_as_the_server_judged(pumps: Built, tmp_path: Path) -> None:
    rows, file = pumps.snapshot.only(Split.EVALUATION), tmp_path / "rows.csv"
    lines = [",".join(pumps.snapshot.schema.columns)]
    lines += [",".join(repr(float(value)) for value in row) for row in rows.values]
    file.write_text("\n".join(lines))
    model = Model.load(pumps.files[Variant.INT8])
    windows = cut_windows(pumps.snapshot, model.manifest.window).only(Split.EVALUATION)
    judged = [model.predict(window).answer for window in windows.values]
    assert [one.answer for one in answers(model, file, Summary())] == judged
    assert np.mean(np.array(judged) > model.manifest.output.threshold) == pytest.approx(
        model.manifest.metrics["alarm-rate"], abs=1e-6
    )
    assert check_golden(model, model.golden).ok


def test_a_device_says_of_every_score_whether_it_is_an_alarm(
    pumps: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, file, labels = pumps.snapshot.only(Split.EVALUATION), tmp_path / "rows.csv", tmp_path / "labels.csv"
    lines = [",".join(pumps.snapshot.schema.columns), *(",".join(map(repr, row)) for row in rows.values.tolist())]
    file.write_text("\n".join(lines))
    labels.write_text("id,label\n" + "".join(f"{at},{truth}\n" for at, truth in enumerate(rows.targets)))
    artifact, manifest = str(pumps.files[Variant.INT8]), pumps.descriptors[Variant.INT8].manifest
    assert main(["predict", artifact, str(file), "--json"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["alarm"] for one in said] == [one["answer"] > manifest.output.threshold for one in said]
    assert main(["predict", artifact, str(file)]) == 0
    words = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()]
    assert words == ["alarm" if one["alarm"] else "normal" for one in said]
    assert main(["batch", artifact, str(file), "--labels", str(labels), "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["alarms"] == words.count("alarm")
    assert judged["f1"] == pytest.approx(manifest.metrics["f1"], abs=1e-6)
    assert judged["f1"] == pytest.approx(2 / (1 / judged["precision"] + 1 / judged["recall"]), abs=1e-6)
    assert judged["recall"] == pytest.approx(manifest.metrics["recall"], abs=1e-6)
    assert judged["false_alarm_rate"] == pytest.approx(manifest.metrics["false-alarm-rate"], abs=1e-6)


def test_a_server_counts_the_alarms_of_a_window_from_its_sketch(pumps: Built) -> None:
    model = Model.load(pumps.files[Variant.INT8])
    assert model.reference is not None
    assert model.manifest.output.threshold is not None
    cut = cut_windows(pumps.snapshot, model.manifest.window)
    values, _ = channels_of(model, cut.at(cut.of(Split.EVALUATION)).values)
    sketcher = Sketcher(model.reference)
    sketcher.add(values)
    place = model.reference.names.index("answer")
    raised = int((values[:, place] > model.manifest.output.threshold).sum())
    assert raised

    class Held:
        def get(self, _digest: str) -> KnownArtifact:
            return KnownArtifact(model.manifest, model.reference)

    assert channels.alarms("sha256:0", pack(sketcher.sketch()), Held()) == raised  # type: ignore[arg-type]  # a blob


def test_the_reference_holds_no_fault(pumps: Built) -> None:
    model = Model.load(pumps.files[Variant.INT8])
    assert model.reference is not None
    cut = cut_windows(pumps.snapshot, model.manifest.window)
    assert model.reference.summary().rows == len(cut.normal(np.arange(len(cut.places))))


def test_the_card_speaks_of_alarms(pumps: Built) -> None:
    card = open_artifact(pumps.files[Variant.INT8]).card
    for part in (
        "answers with a score, which raises an alarm above a threshold,",
        "learnt in one step: the squared distance of Mahalanobis",
        "are alarms, and",
        "what is new is an alarm, harmless or not",
    ):
        assert part in card, card
    assert "class" not in card.replace("classes, and nothing is learnt", "")


def test_the_same_rows_repeat_every_byte_of_a_detector(pumps: Built, tmp_path: Path) -> None:
    again = Built(tmp_path, pumps.snapshot, recipe=RecipeName.DISTANCE, options=ASKED)
    for variant, file in pumps.files.items():
        assert again.files[variant].read_bytes() == file.read_bytes()


def test_without_labels_it_says_that_nothing_tells_whether_it_finds_any(tmp_path: Path) -> None:
    built = Built(tmp_path, write_machines(labelled=False), recipe=RecipeName.DISTANCE, options=ASKED)
    promotion = built.descriptors[Variant.INT8].promotion
    assert "whether any is found is unknown" in promotion.rules[0].reason
    assert "recall" not in built.descriptors[Variant.INT8].manifest.metrics


def test_recipes_that_are_trained_in_steps_learn_no_anomalies(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe dense does not learn anomalies; use recipe distance or autoencoder"):
        Built(tmp_path, write_machines())


def test_a_file_of_readings_becomes_a_published_detector_by_jobs_alone(tmp_path: Path) -> None:
    snapshot, file = write_machines(), tmp_path / "pumps.csv"
    lines = ["pump,second,pressure,flow,heat,fault"]
    for group, at, row, target in zip(
        snapshot.rows.groups, snapshot.rows.times // 10**9, snapshot.rows.values, snapshot.rows.targets, strict=True
    ):
        lines.append(f"pump{group},{at},{row[0]},{row[1]},{row[2]},{target}")
    file.write_text("\n".join(lines))
    desk = Desk(tmp_path / "data")
    try:
        options = {"task": "anomaly", "label": "fault", "group": "pump", "time": "second", "split": "group"}
        desk.load(file, "pumps", **options, columns={"second": {"type": "moment"}})
        job = desk.train("pumps", RecipeName.DISTANCE, window=20.0, stride=5.0)
        manifest = desk.artifacts(job)["int8"].describe().manifest
        with desk.database.write() as connection:
            aliases.assign(connection, "pumps", Alias.CHAMPION, 1, datetime.now(UTC), actor="me", reason="rolled out")
        deaf = desk.artifacts(desk.train("pumps", RecipeName.DISTANCE, window=20.0, stride=5.0, margin=1000.0))
        rules = {one.name: one for one in deaf["int8"].describe().promotion.rules}
    finally:
        desk.close()
    assert manifest.task is Task.ANOMALY
    assert (manifest.window.rate_hz, manifest.window.max_gap_s) == (1.0, 3.0)
    assert manifest.metrics["auc"] > 0.9
    # The next version hears nothing, which the champion did.
    assert not rules["is-not-inferior"].passed, rules["is-not-inferior"].reason
    assert "the champion raises a false alarm or misses an anomaly in" in rules["is-not-inferior"].reason
