"""Bytes of the int8 `.tflite` against what its weights and scales must cost."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import _int8
from edgeops.model.runtime import load_interpreter

SHARE = 0.27
BYTES_PER_SCALE = 24
FIXED_BYTES = 8 * 1024


def measure() -> dict[str, Any]:
    """The dataset that comes closest to its bound, or exceeds it most."""
    measured = [(pair, len(pair.tflite("int8")), bound(pair)) for pair in _int8.pairs() if pair.seed == 0]
    worst, size, most = max(measured, key=lambda one: one[1] / one[2])
    return {
        "name": "int8_size",
        "value": size,
        "unit": "B",
        "baseline": len(worst.tflite("float32")),
        "bar": f"<= {most} B (.27 x float weights + 24 B x per-channel scales + 8 KiB)",
        "holds": all(size <= most for _, size, most in measured),
        "inside": (
            f"value: int8 .tflite of {worst.what} by {worst.recipe} without the zip; baseline: the float32 .tflite; "
            + "; ".join(f"{pair.what} {pair.recipe} {size} of {most} B" for pair, size, most in measured)
        ),
    }


def bound(pair: _int8.Pair) -> int:
    """Bytes that an int8 file may have."""
    weights = sum(_constants(pair.tflite("float32")))
    return int(SHARE * weights + BYTES_PER_SCALE * _scales(pair.tflite("int8")) + FIXED_BYTES)


def _constants(data: bytes) -> list[int]:
    """Bytes of each float32 weight or bias: tensors that are neither input nor the result of an operator."""
    details = _tensors(data)
    return [int(np.prod(one["shape"])) * 4 for one in details if one["is_constant"] and one["dtype"] == np.float32]


def _scales(data: bytes) -> int:
    """Per-channel scales of weights; those of biases follow from them and are not granted again."""
    weights = [one for one in _tensors(data) if one["dtype"] == np.int8]
    counts = [len(one["quantization_parameters"]["scales"]) for one in weights]
    return sum(count for count in counts if count > 1)


def _tensors(data: bytes) -> list[dict[str, Any]]:
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(data)
        file.flush()
        interpreter: Any = load_interpreter(Path(file.name))
    results = {int(index) for operator in interpreter._get_ops_details() for index in operator["outputs"]}  # noqa: SLF001 - the only door to operators
    inputs = {detail["index"] for detail in interpreter.get_input_details()}
    return [
        {**detail, "is_constant": detail["index"] not in results | inputs}
        for detail in interpreter.get_tensor_details()
    ]
