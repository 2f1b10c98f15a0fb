"""The one place that imports a TFLite runtime: LiteRT first, then tflite-runtime.

It loads interpreters and says what was found. It does NOT know what tensors mean.
"""

import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Tensor
from edgeops.errors import ArtifactError, PlatformError
from edgeops.model.tolerance import LITERT, TFLITE_RUNTIME


class Interpreter(Protocol):
    """What both runtimes offer and we use."""

    def allocate_tensors(self) -> None:
        """Plan memory; once, after loading."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Name, index, shape, dtype and quantization of each input."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """The same of each output."""

    def get_tensor_details(self) -> list[dict[str, Any]]:
        """The same of each tensor of the file."""

    def set_tensor(self, tensor_index: int, value: NDArray[Any]) -> None:
        """Copy `value` into a tensor."""

    def invoke(self) -> None:
        """Run the model."""

    def get_tensor(self, tensor_index: int) -> NDArray[Any]:
        """A copy of a tensor."""


def load_interpreter(path: Path, *, threads: int = 1) -> Interpreter:
    """An interpreter with its tensors allocated; an archive behind the model is ignored by the runtime.

    Raises:
        PlatformError: no runtime is installed.
        ArtifactError: the runtime refuses the file.
    """
    _, _, make = _runtime()
    try:
        interpreter = cast("Interpreter", make(model_path=str(path), num_threads=threads))
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError, OSError) as error:
        name, version = runtime_facts()
        raise ArtifactError(f"{name} {version} does not load {path}: {error}") from error
    return interpreter


def runtime_facts() -> tuple[str, str]:
    """Name (`litert` or `tflite-runtime`) and version of the runtime that is used.

    Raises:
        PlatformError: no runtime is installed.
    """
    name, distribution, _ = _runtime()
    try:
        return name, metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return name, "unknown"


def tensors_of(interpreter: Interpreter) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs of a loaded file, in the file's order, as a manifest names them."""
    inputs = tuple(_tensor(detail) for detail in interpreter.get_input_details())
    outputs = tuple(_tensor(detail) for detail in interpreter.get_output_details())
    return inputs, outputs


def types_of(interpreter: Interpreter) -> frozenset[str]:
    """The types of all tensors of a loaded file: what its weights are stored as is among them."""
    return frozenset(np.dtype(detail["dtype"]).name for detail in interpreter.get_tensor_details())


def _tensor(detail: dict[str, Any]) -> Tensor:
    scale, zero_point = detail["quantization"]
    return Tensor(
        name=detail["name"],
        shape=tuple(int(extent) for extent in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale),
        zero_point=int(zero_point),
    )


def _runtime() -> tuple[str, str, Callable[..., object]]:
    """The preferred runtime that imports; Python caches modules, so asking again is cheap."""
    failures = []
    for name, distribution, interpreter in (
        (LITERT, "ai-edge-litert", _litert),
        (TFLITE_RUNTIME, "tflite-runtime", _tflite_runtime),
    ):
        try:
            return name, distribution, interpreter()
        except (ImportError, AttributeError) as error:  # tflite-runtime beside numpy 2 fails with either
            failures.append(f"{distribution}: {error}")
    raise PlatformError(
        f"no TFLite runtime on {platform.system()} {platform.machine()} with Python {platform.python_version()}: "
        f"{_remedy()} ({'; '.join(failures)})"
    )


def _litert() -> Callable[..., object]:
    from ai_edge_litert.interpreter import Interpreter as LiteRt  # noqa: PLC0415 - one of two that may be there

    return cast("Callable[..., object]", LiteRt)


def _tflite_runtime() -> Callable[..., object]:
    from tflite_runtime.interpreter import Interpreter as TfLite  # noqa: PLC0415 - one of two that may be there

    return cast("Callable[..., object]", TfLite)


def _remedy() -> str:
    machine, version = platform.machine(), sys.version_info[:2]
    if machine in {"x86_64", "aarch64"}:
        return "run `pip install ai-edge-litert`"
    if machine == "armv7l" and version <= (3, 11):
        return "run `pip install tflite-runtime==2.14.0 'numpy<2'`"
    if machine == "armv7l":
        return "32-bit ARM has a runtime up to Python 3.11 only; install 64-bit Raspberry Pi OS"
    return "no runtime is published for this machine; use x86_64 or aarch64"
