"""A benchmark's child measures real models, and its end tells of those that do not behave."""

from datetime import timedelta

import pytest

from device_agent.benchmark import run_benchmark
from edgeops import limits
from edgeops.artifact.package import open_artifact, package
from edgeops.protocol.messages import Reason
from tests.golden.tiny import hungry_artifact, tiny_artifact
from tests.models.bad import HERE, Bad, bad_artifact


@pytest.fixture
def place(tmp_path):
    def place(artifact: bytes):
        path = tmp_path / "artifact.tflite"
        path.write_bytes(artifact)
        return path

    return place


@pytest.mark.parametrize("variant", ["int8", "float32"])
def test_a_sound_model_is_measured(place, variant):
    measured = run_benchmark(place(tiny_artifact(variant=variant)))
    assert measured.reason is Reason.NONE
    assert "8 golden vectors answered" in measured.detail
    assert measured.inferences >= limits.BENCHMARK_INFERENCES // 2
    assert 0 < measured.latency_p50_us <= measured.latency_p95_us <= measured.latency_p99_us
    assert 0 < measured.memory_bytes < 64 * 2**20


def test_a_model_that_answers_its_golden_vectors_wrongly_is_not_measured(place):
    right = open_artifact(place(tiny_artifact(variant="float32")))
    wrong = open_artifact(place(bad_artifact(Bad.WRONG)))
    tflite = (HERE / "wrong.tflite").read_bytes()
    artifact = package(tflite, wrong.manifest, reference=wrong.reference, golden=right.golden, card=wrong.card)
    measured = run_benchmark(place(artifact))
    assert (measured.reason, measured.inferences) == (Reason.GOLDEN, 0)
    assert "golden vector" in measured.detail


def test_a_model_that_ends_the_process_is_named_by_its_signal(place):
    measured = run_benchmark(place(bad_artifact(Bad.CRASHING)))
    assert measured.reason is Reason.PROBE
    assert "the benchmark was killed by SIG" in measured.detail


def test_a_model_that_never_answers_is_ended(place, monkeypatch):
    monkeypatch.setattr(limits, "BENCHMARK_TIMEOUT", timedelta(seconds=3))
    measured = run_benchmark(place(bad_artifact(Bad.HANGING)))
    assert measured.reason is Reason.PROBE
    assert "the benchmark hung" in measured.detail


def test_a_model_that_eats_memory_is_ended(place):
    measured = run_benchmark(place(hungry_artifact()))
    assert measured.reason is Reason.PROBE
    assert "FILL" in measured.detail
