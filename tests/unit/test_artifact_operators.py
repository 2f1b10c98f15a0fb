"""Operators and versions, read from the flatbuffer."""

import pytest

from edgeops.artifact.operators import operators
from edgeops.errors import ArtifactError
from tests.golden.tiny import tiny_artifact, tiny_tflite


def test_operators_of_a_model_are_named_with_their_versions():
    assert operators(tiny_tflite("int8")) == {"FULLY_CONNECTED": 4, "SOFTMAX": 2}
    assert operators(tiny_tflite("float32")) == {"FULLY_CONNECTED": 1, "SOFTMAX": 1}


def test_an_appended_archive_changes_nothing():
    assert operators(tiny_artifact()) == operators(tiny_tflite())


@pytest.mark.parametrize(
    "data", [b"", b"abc", bytes(100), b"\xff\xff\xff\xffTFL3", b"\x08\x00\x00\x00TFL3" + b"\xff" * 50]
)
def test_garbage_is_an_artifact_error(data):
    with pytest.raises(ArtifactError):
        operators(data)


def test_a_damaged_model_never_crashes_the_reader():
    whole = tiny_tflite()
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        try:
            found = operators(bytes(damaged))
        except ArtifactError:
            continue
        assert all(isinstance(version, int) for version in found.values())
