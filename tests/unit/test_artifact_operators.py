"""Operators and versions, read from the flatbuffer."""

from contextlib import suppress

import pytest

from edgeops.artifact.operators import minimal_runtime, operators
from edgeops.errors import ArtifactError
from tests.golden.tiny import tiny_artifact, tiny_tflite

RUNTIMES = {"int8": "1.14.0", "float32": "1.5.0"}


def test_operators_of_a_model_are_named_with_their_versions():
    assert operators(tiny_tflite("int8")) == {"FULLY_CONNECTED": 4, "SOFTMAX": 2}
    assert operators(tiny_tflite("float32")) == {"FULLY_CONNECTED": 1, "SOFTMAX": 1}


def test_the_runtime_that_knows_all_operators_is_read_from_the_file():
    for variant in ("int8", "float32"):
        data = tiny_tflite(variant)
        assert minimal_runtime(data) == RUNTIMES[variant]
        # Whatever else the converter wrote there is no version.
        assert minimal_runtime(data.replace(RUNTIMES[variant].encode(), b"x" * len(RUNTIMES[variant]))) is None
        assert minimal_runtime(data.replace(b"min_runtime_version", b"min_runtime_vershun")) is None


def test_an_appended_archive_changes_nothing():
    assert minimal_runtime(tiny_artifact()) == minimal_runtime(tiny_tflite())
    assert operators(tiny_artifact()) == operators(tiny_tflite())


@pytest.mark.parametrize(
    "data", [b"", b"abc", bytes(100), b"\xff\xff\xff\xffTFL3", b"\x08\x00\x00\x00TFL3" + b"\xff" * 50]
)
def test_garbage_is_an_artifact_error(data):
    with pytest.raises(ArtifactError):
        operators(data)
    with pytest.raises(ArtifactError):
        minimal_runtime(data)


def test_a_damaged_model_never_crashes_the_reader():
    whole = tiny_tflite()
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        with suppress(ArtifactError):
            assert all(isinstance(version, int) for version in operators(bytes(damaged)).values())
        with suppress(ArtifactError):
            assert isinstance(minimal_runtime(bytes(damaged)), str | None)
