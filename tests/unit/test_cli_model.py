"""How `edgeops model` and `edgeops train` show what a version is worth."""

from datetime import UTC, datetime

import pytest

from edgeops.api.shapes import Artifact, Promotion, Requirements, Version
from edgeops.cli.model import how_to_publish, print_needs, print_version, rollout_of

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def version(metrics, **values):
    artifact = Artifact(
        digest="sha256:" + "0" * 64,
        variant="int8",
        size_bytes=1,
        tflite_bytes=1,
        target="models/gas/1-int8.json",
        metrics=metrics,
        requirements=Requirements(ops={"CONV_2D": 3}, minimal_runtime="1.14.0", architectures=("x86_64",)),
        promotion=Promotion(passed=True),
        latency_p50_ms=0.1,
        latency_p95_ms=0.2,
        memory_bytes=1,
        created_at=NOW,
    )
    return Version(model="gas", version=1, run_id="run-1", created_at=NOW, artifacts=(artifact,), **values)


def test_what_a_file_needs_of_a_runtime_is_shown(capsys):
    print_needs(version({}))
    assert "int8 needs TensorFlow Lite from 1.14.0 on: CONV_2D 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("shown", "words", "absent"),
    [
        (version({"accuracy": 0.9712}, task="classification", labels=("a", "b")), ("accuracy", "0.97"), "mean error"),
        (version({"mae": 11.763}, task="regression", units="ppm"), ("mean error", "11.76 ppm"), "accuracy"),
        (version({"mae": 0.25}, task="regression", units=""), ("mean error", "0.25"), "accuracy"),
    ],
)
def test_a_classifier_shows_its_accuracy_and_a_regression_its_error_in_units(shown, words, absent, capsys):
    print_version(shown)
    printed = capsys.readouterr().out
    assert all(word in printed for word in words), printed
    assert absent not in printed


@pytest.mark.parametrize(
    ("passed", "told"),
    [
        ({"float32": True, "int8": True}, "next: edgeops publish gas@1"),
        (
            {"float32": True, "float16": True, "int8": False},
            "next: edgeops publish gas@1 --variant float32 or float16; int8 did not pass, see why: edgeops model gate gas@1",
        ),
        (
            {"float32": False, "int8": False},
            "no variant passed its promotion gate, so none can be published; see why: edgeops model gate gas@1",
        ),
    ],
)
def test_what_its_gate_refused_is_not_said_to_be_published_next(passed, told):
    made = version({})
    artifacts = [
        made.artifacts[0].model_copy(update={"variant": variant, "promotion": Promotion(passed=has_passed)})
        for variant, has_passed in passed.items()
    ]
    assert how_to_publish(made.model_copy(update={"artifacts": tuple(artifacts)})) == told


@pytest.mark.parametrize(("published", "option"), [("dynamic", " --variant dynamic"), ("int8", ""), (None, "")])
def test_the_rollout_that_is_offered_next_is_of_a_variant_that_was_published(published, option):
    shown = version({})
    artifacts = [
        shown.artifacts[0].model_copy(update={"variant": one, "published_at": NOW if one == published else None})
        for one in ("dynamic", "int8")
    ]
    command = rollout_of(shown.model_copy(update={"artifacts": tuple(artifacts)}))
    assert command == f"edgeops rollout create gas@1{option} --deployment NAME --to all --watch"
