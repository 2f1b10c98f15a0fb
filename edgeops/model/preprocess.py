"""From a window of raw readings to the bytes of the input tensor.

A float model reads clip(transform(x) * multiply + add). For an integer model the multiply-add and the tensor's
quantization become one multiply-add, `round(transform(x) * multiply / scale + (add / scale + zero_point))`, and the
clip one pair of bounds; all of that is computed once. `Preprocessor` is the hot path with buffers of its own, its
`batch` the same arithmetic for many windows; `transform_windows` is the float form that training reads.

Where the manifest asks for a spectrogram, it comes before all of this: x is then an energy in it.

A value that is not finite, or so large that the arithmetic would overflow, is missing. This module does not know where
readings come from.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import InputWindow, MissingPolicy, Preprocess, Tensor, Transform
from edgeops.errors import ArtifactError, InputError
from edgeops.model.spectrogram import SpectrogramStage

Floats = NDArray[np.float32]

_INTEGERS = ("int8", "uint8")
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Preprocessor:
    """The input stage of one model; the array it returns is overwritten by the next call."""

    def __init__(self, preprocess: Preprocess, window: InputWindow, tensor: Tensor, *, missing: MissingPolicy) -> None:
        """Fold everything that does not depend on the reading.

        Raises:
            ArtifactError: the tensor cannot hold the window, or has a type that is not supported.
        """
        self._shape = shape = (window.rows, len(window.columns))
        what = "input window"
        self._spectrogram: SpectrogramStage | None = None
        if preprocess.spectrogram is not None:
            self._spectrogram = SpectrogramStage(preprocess.spectrogram, window)
            shape, what = self._spectrogram.shape, "spectrogram of the input window"
        if int(np.prod(tensor.shape)) != shape[0] * shape[1]:
            raise ArtifactError(f"input {tensor.name!r} has shape {tensor.shape}, the {what} {shape}")
        if tensor.dtype not in ("float32", *_INTEGERS):
            raise ArtifactError(f"input {tensor.name!r} is {tensor.dtype}; float32, int8 and uint8 are supported")
        self._columns = window.columns
        self._refuses = missing is MissingPolicy.REFUSE
        self._logarithm = preprocess.transform is Transform.SIGNED_LOG1P
        self._integer = tensor.dtype in _INTEGERS
        self._fold(preprocess, tensor, shape)
        self._input: NDArray[Any] = np.empty(tensor.shape, tensor.dtype)
        self._buffers = _Buffers.of(shape, self._input.reshape(shape))

    def __call__(self, window: Floats) -> NDArray[Any]:
        """The input tensor for one window (rows, columns).

        Raises:
            InputError: the window's shape is wrong, or a value is missing and the model refuses that.
        """
        if window.shape != self._shape:
            raise InputError(f"a window of shape {window.shape}, the model reads {self._shape} (rows, columns)")
        self._fill(window if self._spectrogram is None else self._heard(window), self._buffers)
        return self._input

    def batch(self, windows: Floats) -> NDArray[Any]:
        """The input tensors (n, *shape without its batch of one) for many windows (n, rows, columns).

        Raises:
            InputError: as for a single window.
        """
        shape = windows.shape
        if shape[1:] != self._shape:
            raise InputError(f"windows of shape {shape[1:]}, the model reads {self._shape} (rows, columns)")
        if self._spectrogram is not None:
            windows = np.array([self._heard(window).copy() for window in windows]).reshape(-1, *self._spectrogram.shape)
        stored = np.empty(windows.shape, self._input.dtype)
        self._fill(windows, _Buffers.of(windows.shape, stored))
        return stored.reshape(len(windows), *self._input.shape[1:])

    def _fold(self, preprocess: Preprocess, tensor: Tensor, shape: tuple[int, int]) -> None:
        """Constants in the tensor's own scale, as large as the window: numpy is fastest on equal shapes."""
        multiply = np.asarray(preprocess.multiply, np.float64)
        add = np.asarray(preprocess.add, np.float64)
        if preprocess.spectrogram is not None:  # the columns of a band stand side by side
            columns = shape[1] // preprocess.spectrogram.bands
            multiply, add = (np.repeat(one, columns) if len(one) > 1 else one for one in (multiply, add))
        clip = np.inf if preprocess.clip is None else preprocess.clip
        low, high, neutral = -clip, clip, 0
        if self._integer:
            if tensor.scale <= 0:
                raise ArtifactError(f"input {tensor.name!r} is {tensor.dtype} but has scale {tensor.scale}")
            multiply = multiply / tensor.scale
            add = add / tensor.scale + tensor.zero_point
            bounds = np.iinfo(tensor.dtype)
            low = max(bounds.min, np.rint(low / tensor.scale) + tensor.zero_point)
            high = min(bounds.max, np.rint(high / tensor.scale) + tensor.zero_point)
            neutral = tensor.zero_point
        # Largest reading whose multiply-add is still a float32; a logarithm is never large.
        most = (
            _MAX_FLOAT32 if self._logarithm else (_MAX_FLOAT32 - np.abs(add)) / np.maximum(np.abs(multiply), 1) * 0.99
        )
        self._multiply, self._add, self._low, self._high, self._most = (
            np.ascontiguousarray(np.broadcast_to(np.asarray(constant, np.float32), shape))
            for constant in (multiply, add, low, high, most)
        )
        self._clips = np.isfinite(low)
        self._neutral = np.float32(neutral)

    def _fill(self, raw: Floats, buffers: "_Buffers") -> None:
        work = buffers.work
        missing = self._missing(raw, buffers)
        values = raw if missing is None else np.where(missing, np.float32(0), raw)
        if self._logarithm:
            values = _signed_log1p(values, buffers.wide, work)
        np.multiply(values, self._multiply, out=work)
        np.add(work, self._add, out=work)
        if missing is not None:
            work[missing] = self._neutral
        if self._integer:
            np.rint(work, out=work)
        if self._clips:
            np.maximum(work, self._low, out=work)
            np.minimum(work, self._high, out=work)
        buffers.stored[...] = work

    def _missing(self, raw: Floats, buffers: "_Buffers") -> NDArray[np.bool_] | None:
        """Where values are missing; None when none is (searching bytes is faster than `all`)."""
        np.abs(raw, out=buffers.work)
        np.less_equal(buffers.work, self._most, out=buffers.usable)
        if 0 not in buffers.usable.tobytes():
            return None
        mask: NDArray[np.bool_] = ~buffers.usable
        self._admit(mask)
        return mask

    def _heard(self, window: Floats) -> Floats:
        """The spectrogram of one window; what is missing is silent."""
        assert self._spectrogram is not None
        if np.isfinite(window).all():
            return self._spectrogram(window)
        missing = ~np.isfinite(window)
        self._admit(missing)
        return self._spectrogram(np.where(missing, np.float32(0), window))

    def _admit(self, missing: NDArray[np.bool_]) -> None:
        """Refuse missing values (..., columns) if the model does."""
        if self._refuses:
            columns = [
                self._columns[index] for index in np.flatnonzero(missing.reshape(-1, missing.shape[-1]).any(axis=0))
            ]
            raise InputError(
                f"{int(missing.sum())} missing values in {', '.join(columns[:8])}; the model refuses missing values"
            )


class _Buffers(NamedTuple):
    """Where one call works; all of the shape of what it reads."""

    usable: NDArray[np.bool_]
    wide: NDArray[np.float64]
    work: Floats
    stored: NDArray[Any]

    @classmethod
    def of(cls, shape: tuple[int, ...], stored: NDArray[Any]) -> Self:
        return cls(np.empty(shape, np.bool_), np.empty(shape, np.float64), np.empty(shape, np.float32), stored)


def transform_windows(
    windows: Floats, preprocess: Preprocess, *, window: InputWindow, missing: MissingPolicy
) -> Floats:
    """What a float model reads, for windows (n, rows, columns): the form that training fits on.

    Returns:
        (n, rows, columns), or (n, frames, bands * columns) of a spectrogram.

    Raises:
        InputError: a value is missing and the model refuses that.
        ArtifactError: the window has no such spectrogram.
    """
    shape = windows.shape[1:]
    if preprocess.spectrogram is not None:
        shape = SpectrogramStage(preprocess.spectrogram, window).shape
    tensor = Tensor(name="windows", shape=(1, *shape), dtype="float32")
    result: Floats = Preprocessor(preprocess, window, tensor, missing=missing).batch(windows)
    return result


def transform_rows(rows: Floats, preprocess: Preprocess, *, missing: MissingPolicy) -> Floats:
    """The same (n, columns) for windows of one row (n, columns)."""
    window = InputWindow(columns=tuple(f"column {index}" for index in range(rows.shape[-1])))
    return transform_windows(rows[:, np.newaxis], preprocess, window=window, missing=missing)[:, 0]


def _signed_log1p(raw: Floats, wide: NDArray[np.float64], out: Floats) -> Floats:
    """sign(x) * log(1 + |x|), computed in double so that rounding hides how machines' libraries differ."""
    np.abs(raw, out=wide)
    np.log1p(wide, out=wide)
    np.copysign(wide, raw, out=wide)
    np.copyto(out, wide, casting="same_kind")
    return out
