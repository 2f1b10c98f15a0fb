"""Log-mel energies of the short frames of a window: what is heard at which moment and pitch.

Each frame is weighted with Hann's window and transformed (DFT); its power is summed in triangular bands that are
equally wide in mel (Davis & Mermelstein, IEEE Trans. ASSP 28 (4), 1980; mel = 2595 log10(1 + f/700), O'Shaughnessy
1987), and the natural logarithm of that, with a floor added, is what a model sees. All of it runs in double and is
rounded to a 32-bit float at the end, so that rounding hides how machines' libraries differ. Windows are transformed one
by one, however many there are: a batch is then what a device answers, bit for bit.
"""

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import InputWindow, Spectrogram
from edgeops.errors import ArtifactError

Doubles = NDArray[np.float64]

#: A window without any sound has no level, and stays silent.
_SILENCE = float(np.finfo(np.float32).tiny)


class SpectrogramStage:
    """The spectrogram of one model's windows; the array it returns is overwritten by the next call."""

    def __init__(self, spectrogram: Spectrogram, window: InputWindow) -> None:
        """Compute all that does not depend on readings.

        Raises:
            ArtifactError: the window has no rate, or a band holds no frequency of the transform.
        """
        assert window.rate_hz is not None, "a manifest with a spectrogram was checked to have a rate"
        columns, frame, hop = len(window.columns), spectrogram.frame, spectrogram.hop
        frames = frame_count(spectrogram, rows=window.rows)
        #: (frames, bands * columns), the columns of a band side by side.
        self.shape = (frames, spectrogram.bands * columns)
        self._floor = spectrogram.floor
        self._levelled = spectrogram.levelled
        # Hann's window without the last point, whose transform has three terms (Harris 1978, the DFT-even form).
        self._weights = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
        self._bands = mel_bands(spectrogram, rate_hz=window.rate_hz)
        self._readings = np.empty((columns, window.rows), np.float64)
        self._frames = np.lib.stride_tricks.sliding_window_view(self._readings, frame, axis=1)[:, : frames * hop : hop]
        self._weighted = np.empty((columns, frames, frame), np.float64)
        self._energies = np.empty((columns, frames, spectrogram.bands), np.float64)
        self._result = np.empty(self.shape, np.float32)
        self._by_column = self._result.reshape(frames, spectrogram.bands, columns).transpose(2, 0, 1)

    def __call__(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of readings (rows, columns), all finite: float32 (frames, bands * columns)."""
        energies = self._energies
        self._readings[...] = window.T
        np.multiply(self._frames, self._weights, out=self._weighted)
        spectrum = np.fft.rfft(self._weighted)
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        np.matmul(power, self._bands, out=energies)
        if self._levelled:
            mean = energies.mean(axis=(1, 2), keepdims=True)
            energies /= np.maximum(mean, _SILENCE)
        energies += self._floor
        np.log(energies, out=energies)
        self._by_column[...] = energies
        return self._result


def frame_count(spectrogram: Spectrogram, *, rows: int) -> int:
    """Whole frames in a window of so many rows."""
    return 1 + (rows - spectrogram.frame) // spectrogram.hop


def mel_bands(spectrogram: Spectrogram, *, rate_hz: float) -> Doubles:
    """How much each frequency of the transform counts in each band: (frame // 2 + 1, bands), triangles of height 1.

    Raises:
        ArtifactError: a band holds no frequency.
    """
    edges = _hertz(
        np.linspace(_mel(spectrogram.low_hz), _mel(spectrogram.high_hz), spectrogram.bands + 2, dtype=np.float64)
    )
    frequencies = np.arange(spectrogram.frame // 2 + 1) * (rate_hz / spectrogram.frame)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, np.newaxis] - low) / (centre - low)
    falling = (high - frequencies[:, np.newaxis]) / (high - centre)
    bands: Doubles = np.maximum(0.0, np.minimum(rising, falling))
    empty = np.flatnonzero(~bands.any(axis=0))
    if len(empty):
        raise ArtifactError(
            f"band {empty[0]} of the spectrogram, around {centre[empty[0]]:.0f} Hz, holds no frequency of frames of "
            f"{spectrogram.frame} rows at {rate_hz:g} Hz; take fewer bands or longer frames"
        )
    return bands


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


def _hertz(mel: Doubles) -> Doubles:
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
