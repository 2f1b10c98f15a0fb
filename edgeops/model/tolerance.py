"""How far golden answers may be off, by runtime.

Within one runtime family integer outputs may differ by 1 step and floats by 1e-5 of the tensor's largest value;
tflite-runtime rounds differently (up to 43 steps were measured), so it gets 48 steps. Nothing is run here.
"""

from typing import Any

import numpy as np

LITERT = "litert"
TFLITE_RUNTIME = "tflite-runtime"
#: Of a float tensor's largest value, among one runtime's own answers.
FLOAT_SHARE = 1e-5

_INTEGER_STEPS = 1
_TFLITE_RUNTIME_STEPS = 48
_TFLITE_RUNTIME_FLOAT_SHARE = 1e-4


def tolerance(dtype: np.dtype[Any], runtime: str) -> float:
    """How far an output of this type may be off under this runtime: in steps of an integer output, or as a share of a
    float tensor's largest value.
    """  # noqa: D205 - one sentence
    if dtype.kind == "f":
        return _TFLITE_RUNTIME_FLOAT_SHARE if runtime == TFLITE_RUNTIME else FLOAT_SHARE
    return _TFLITE_RUNTIME_STEPS if runtime == TFLITE_RUNTIME else _INTEGER_STEPS
