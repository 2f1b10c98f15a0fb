"""How steps of a pipeline stand."""

from datetime import UTC, datetime

import pytest

from edgeops.api.shapes import Artifact, Job, JobState, Override, Promotion, Requirements, Rule
from edgeops.artifact.manifest import Variant
from edgeops.pipeline.document import Data, Pipeline, Training
from edgeops.pipeline.steps import Kind, Standing, Step, stand_of_publishing, stand_of_work, steps_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PASSED = Promotion(passed=True)
PUBLISH = Step(Kind.PUBLISH, "gas")


def job(state, **values):
    return Job(id="job-1", kind="train", state=state, created_at=NOW, **values)


def artifact(variant, standing, promotion=PASSED):
    return Artifact(
        digest="sha256:" + "0" * 64, variant=variant, size_bytes=1, tflite_bytes=1, target="t", standing=standing,
        metrics={}, requirements=Requirements(ops={}, architectures=()), latency_p50_ms=1, latency_p95_ms=1, memory_bytes=1, promotion=promotion, created_at=NOW,
    )  # fmt: skip


def test_each_step_comes_after_those_that_it_needs():
    training = Training(dataset="gas")
    pipeline = Pipeline(
        datasets={"gas": Data(file="gas.csv")},
        rules={"gas": ""},
        models={"one": training, "two": Training(dataset="gas", publish=(Variant.INT8,))},
    )
    assert [str(step) for step in steps_of(pipeline)] == ["import gas", "train one", "train two", "publish two"]


@pytest.mark.parametrize(
    ("given", "standing", "detail"),
    [
        (None, Standing.TO_DO, "never done with these inputs and this code"),
        (job(JobState.RUNNING, step="training"), Standing.RUNNING, "job-1: training"),
        (job(JobState.QUEUED), Standing.RUNNING, "job-1: queued"),
        (job(JobState.SUCCEEDED, result={"model": "gas", "version": 3}), Standing.DONE, "gas@3"),
    ],
)
def test_work_stands_as_its_job_does(given, standing, detail):
    stand = stand_of_work(Step(Kind.TRAIN, "gas"), given)
    assert (stand.standing, stand.detail) == (standing, detail)


@pytest.mark.parametrize(
    ("standings", "standing"),
    [
        (("published", "published"), Standing.DONE),
        (("published", "not-published"), Standing.TO_DO),
        (("published", "awaiting-signature"), Standing.WAITS),
        (("withdrawn", "not-published"), Standing.WAITS),
    ],
)
def test_what_a_person_withdrew_is_not_published_again(standings, standing):
    artifacts = [artifact(*one) for one in zip(("float32", "int8"), standings, strict=True)]
    wanted = (Variant.FLOAT32, Variant.INT8)
    assert stand_of_publishing(PUBLISH, "gas@1", artifacts, wanted).standing is standing


@pytest.mark.parametrize("override", [None, Override(by="ann", at=NOW, remark="for the rehearsal")])
def test_what_its_gate_refused_is_published_only_when_somebody_overrode_that(override):
    failed = Promotion(passed=False, rules=(Rule(name="heals", passed=False, reason="no"),), override=override)
    stand = stand_of_publishing(PUBLISH, "gas@1", [artifact("int8", "not-published", failed)], (Variant.INT8,))
    assert stand.standing is (Standing.REFUSED if override is None else Standing.TO_DO)
    assert ("failed heals" in stand.detail) is (override is None)


def test_variants_that_nobody_wants_published_do_not_count():
    artifacts = [artifact("float32", "not-published"), artifact("int8", "published")]
    stand = stand_of_publishing(PUBLISH, "gas@1", artifacts, (Variant.INT8,))
    assert (stand.standing, stand.detail) == (Standing.DONE, "int8 of gas@1")
