"""What else there is to tell that a stream has moved, on the same arrays: it holds every raw reading.

* exact KS per channel and window, Bonferroni over channels (what alibi-detect does by default), by scipy;
* ADWIN (Bifet and Gavalda 2007) and Page-Hinkley (Page 1954) per channel, river's defaults; they read on from the
  reference through the stream.

Every method alarms in a window when any channel does.
"""

from typing import Any

import numpy as np
from scipy.stats import ks_2samp

ALPHA = 0.05
#: Where the asymptotic p-value is so many times above or below the level, the exact one is not needed.
_CLEAR = 30.0

METHODS = KS, ADWIN, PAGE_HINKLEY = "KS", "ADWIN", "Page-Hinkley"

Array = np.ndarray[Any, Any]


def alarms(reference: Array, stream: Array, *, window: int) -> dict[str, Array]:
    """Per method, whether it alarmed in each window of the stream (rows, channels)."""
    from river import drift

    return {
        KS: ks_alarms(reference, stream, window=window),
        ADWIN: detector_alarms(drift.ADWIN, reference, stream, window=window),
        PAGE_HINKLEY: detector_alarms(drift.PageHinkley, reference, stream, window=window),
    }


def ks_alarms(reference: Array, stream: Array, *, window: int) -> Array:
    """`ks_2samp(...).pvalue <= ALPHA / channels` for any channel, window by window."""
    level = ALPHA / stream.shape[1]
    ordered = np.sort(reference, axis=0)
    parts = [stream[start : start + window] for start in range(0, len(stream), window)]
    return np.array([any(map(_differs, ordered.T, part.T, [level] * part.shape[1])) for part in parts])


def _differs(ordered: Array, part: Array, level: float) -> bool:
    n, m = len(part), len(ordered)
    own = np.sort(part)
    above = np.arange(1, n + 1) / n - ordered.searchsorted(own, side="right") / m
    below = ordered.searchsorted(own, side="left") / m - np.arange(n) / n
    distance = max(above.max(), below.max())
    about = 2 * np.exp(-2 * distance**2 * n * m / (n + m))
    if about > _CLEAR * level or about < level / _CLEAR:
        return bool(about < level)
    return bool(ks_2samp(ordered, part).pvalue <= level)


def detector_alarms(detector: Any, reference: Array, stream: Array, *, window: int) -> Array:
    """One detector per channel, which reads the reference first."""
    alarmed = np.zeros(-(-len(stream) // window), np.bool_)
    for known, new in zip(reference.T.tolist(), stream.T.tolist(), strict=True):
        one = detector()
        for value in known:
            one.update(value)
        for row, value in enumerate(new):
            one.update(value)
            if one.drift_detected:
                alarmed[row // window] = True
    return alarmed
