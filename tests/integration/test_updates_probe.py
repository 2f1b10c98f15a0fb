"""The probe's child says what is wrong with an artifact, or its end does."""

import pytest

from device_agent.facts import resident_bytes
from device_agent.probe import run_probe
from edgeops import limits
from edgeops.protocol.messages import Reason
from tests.golden.tiny import hungry_artifact, tiny_artifact


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "artifact.tflite"
    path.write_bytes(tiny_artifact())
    return path


def test_a_sound_artifact_passes_with_its_latency(artifact):
    verdict = run_probe(artifact, None)
    assert (verdict.reason, verdict.detail) == (Reason.NONE, "")
    assert verdict.latency_p95_us >= verdict.latency_p50_us > 0


def test_a_truncated_artifact_does_not_load(artifact):
    artifact.write_bytes(artifact.read_bytes()[:-100])
    verdict = run_probe(artifact, None)
    assert verdict.reason is Reason.GOLDEN
    assert "truncated" in verdict.detail


def test_a_child_that_exceeds_its_memory_is_a_failed_probe(artifact, monkeypatch):
    monkeypatch.setattr(limits, "PROBE_MEMORY_BYTES", 64 * 2**20)
    assert run_probe(artifact, None).reason is Reason.PROBE


def test_a_model_that_eats_memory_is_a_failed_probe_and_costs_this_process_nothing(artifact):
    artifact.write_bytes(hungry_artifact())
    before = resident_bytes()
    verdict = run_probe(artifact, None)
    assert verdict.reason is Reason.PROBE
    assert "FILL" in verdict.detail
    assert resident_bytes() - before < 64 * 2**20


def test_a_child_that_crashes_in_native_code_is_a_failed_probe_that_names_the_signal(artifact, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import ctypes\nctypes.string_at(0)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    verdict = run_probe(artifact, None)
    assert verdict.reason is Reason.PROBE
    assert "SIGSEGV" in verdict.detail


def test_a_child_that_hangs_is_a_failed_probe(artifact, monkeypatch):
    monkeypatch.setattr(limits, "PROBE_TIMEOUT", limits.PROBE_TIMEOUT / 6000)
    verdict = run_probe(artifact, None)
    assert verdict.reason is Reason.PROBE
    assert "hung" in verdict.detail
