"""Golden vectors: raw input windows and the outputs they must give, inside the artifact.

They are the only thing that catches a runtime which loads a file and answers garbage. How far outputs may be off, says
`edgeops.model.tolerance`; whatever the runtime, the highest output of the answer must be the same one, unless the
stored two highest are within 2 steps. This says nothing about accuracy.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Manifest, Task
from edgeops.errors import ArtifactError
from edgeops.model.runtime import runtime_facts
from edgeops.model.tolerance import FLOAT_SHARE, tolerance

if TYPE_CHECKING:
    from edgeops.model.model import Model

#: At most this many vectors are stored and checked.
MAX_VECTORS = 32

#: Two highest outputs closer than this are a tie: no runtime must prefer the same one.
_TIE_STEPS = 2


class _Golden(msgspec.Struct, frozen=True, array_like=True):
    """The stored form: little-endian arrays as bytes, one after the other."""

    format: int
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_VECTORS)]
    windows: bytes
    #: Per output of the file: `count` tensors.
    outputs: tuple[bytes, ...]


class GoldenVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a runtime answers as it must."""

    ok: bool
    detail: str


def make_golden(model: "Model", windows: Sequence[NDArray[np.float32]]) -> bytes:
    """Store what `model` answers to up to 32 raw windows (rows, columns).

    Raises:
        ArtifactError: no windows, or too many.
        InputError: a window that the model cannot read.
    """
    if not 1 <= len(windows) <= MAX_VECTORS:
        raise ArtifactError(f"{len(windows)} golden vectors; give 1 to {MAX_VECTORS}")
    answers = [model.outputs(window) for window in windows]
    outputs = tuple(
        b"".join(_little_endian(answer[position]) for answer in answers) for position in range(len(answers[0]))
    )
    stored = b"".join(_little_endian(window) for window in windows)
    return msgspec.msgpack.encode(_Golden(1, len(windows), stored, outputs))


def check_golden(model: "Model", golden: bytes) -> GoldenVerdict:
    """Compare a loaded model's answers with the stored ones.

    Raises:
        ArtifactError: the stored vectors are damaged or do not fit the model.
    """
    windows, expected = _decode(golden, model.manifest)
    runtime, _ = runtime_facts()
    worst = 0.0
    for number, window in enumerate(windows):
        for position, got in enumerate(model.outputs(window)):
            want = expected[position][number]
            difference = _difference(got, want)
            worst = max(worst, difference)
            if not difference <= tolerance(got.dtype, runtime):
                detail = f"golden vector {number}, output {position}: differs by {difference:g}"
                return GoldenVerdict(ok=False, detail=f"{detail} under {runtime}")
            if _is_class(model.manifest, position) and not _same_class(got, want):
                detail = f"golden vector {number}: class {int(got.argmax())} instead of {int(want.argmax())}"
                return GoldenVerdict(ok=False, detail=f"{detail} under {runtime}")
    detail = f"{len(windows)} golden vectors answered, worst difference {worst:g}"
    return GoldenVerdict(ok=True, detail=detail)


def golden_windows(model: "Model") -> NDArray[np.float32]:
    """The raw windows of a loaded model's golden vectors: inputs as it meets them, float32 (vectors, rows, columns).

    Raises:
        ArtifactError: the stored vectors are damaged or do not fit the model.
    """
    return _decode(model.golden, model.manifest)[0]


def _decode(golden: bytes, manifest: Manifest) -> tuple[NDArray[np.float32], list[NDArray[Any]]]:
    try:
        stored = msgspec.msgpack.decode(golden, type=_Golden)
        if stored.format != 1 or len(stored.outputs) != len(manifest.outputs):
            raise ArtifactError(
                f"golden vectors of format {stored.format} with {len(stored.outputs)} outputs; "
                f"expected format 1 and {len(manifest.outputs)}"
            )
        shape = (stored.count, manifest.window.rows, len(manifest.window.columns))
        windows = np.frombuffer(stored.windows, "<f4").reshape(shape).astype(np.float32)
        outputs = [
            np.frombuffer(data, np.dtype(tensor.dtype).newbyteorder("<")).reshape(stored.count, *tensor.shape)
            for data, tensor in zip(stored.outputs, manifest.outputs, strict=True)
        ]
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise ArtifactError(f"golden vectors do not fit the model: {error}") from error
    return windows, outputs


def _little_endian(values: NDArray[Any]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _difference(got: NDArray[Any], want: NDArray[Any]) -> float:
    """Largest difference: steps for integers, share of the largest stored magnitude for floats."""
    if not got.size:
        return 0.0
    largest = float(np.abs(got.astype(np.float64) - want.astype(np.float64)).max())
    if got.dtype.kind != "f":
        return largest
    return largest / max(float(np.abs(want).max()), float(np.finfo(np.float32).tiny))


def _is_class(manifest: Manifest, position: int) -> bool:
    return manifest.task is Task.CLASSIFICATION and position == manifest.output.answer


def _same_class(got: NDArray[Any], want: NDArray[Any]) -> bool:
    values = want.reshape(-1).astype(np.float64)
    second, first = np.partition(values, -2)[-2:]
    tie = _TIE_STEPS if want.dtype.kind != "f" else 2 * FLOAT_SHARE * abs(first)
    return bool(first - second <= tie) or int(got.argmax()) == int(want.argmax())
