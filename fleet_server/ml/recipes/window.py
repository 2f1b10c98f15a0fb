"""The input window that a training asks for by options.

`window` rows, `stride` rows from one to the next; with `rate`, rows a second that they are put on a grid of, by
`resampling`.
"""

from collections.abc import Mapping

import msgspec

from edgeops import limits
from edgeops.artifact.manifest import InputWindow, Resampling
from edgeops.data.clip import Clip
from edgeops.data.schema import Schema
from edgeops.errors import ConfigError
from fleet_server.ml.recipes.plan import number
from fleet_server.ml.recipes.rounding import rounded

_ROWS, _STRIDE, _RATE, _RESAMPLING = "window", "stride", "rate", "resampling"
#: Of recipes that read windows.
WINDOW_OPTIONS = frozenset({_ROWS, _STRIDE, _RATE, _RESAMPLING})
#: So many usual steps without a row are a gap: one row may be lost, and clocks jitter.
GAP_STEPS = 3


def asked_window(schema: Schema, options: Mapping[str, float | str]) -> InputWindow | None:
    """The window of a recipe that need not read one; None = single rows. Windows overlap by half unless asked.

    Recordings are windows, and what follows each other on a device does not overlap unless asked.

    Raises:
        ConfigError: an option is out of bounds, asks for windows of recordings, or there is nothing to resample.
    """
    if schema.clip:
        return _recording(schema.columns, schema.clip, options)
    rows = int(number(options, _ROWS, 1, low=1, high=limits.MAX_WINDOW_ROWS))
    stride = int(number(options, _STRIDE, max(rows // 2, 1), low=1, high=limits.MAX_WINDOW_ROWS))
    given = [name for name in (_RATE, _RESAMPLING) if name in options]
    if given and (rows == stride == 1 or _RATE not in options or schema.rules is None or not schema.rules.time):
        raise ConfigError(
            f"option {given[0]} resamples windows of several rows by their times: give window and rate, and import "
            "with a time column"
        )
    if rows == stride == 1:
        return None
    window = schema.window(rows=rows, stride=stride)
    if not given:
        return window
    rate_hz = number(options, _RATE, 1.0, low=1e-6, high=limits.MAX_RATE_HZ)
    return msgspec.structs.replace(window, rate_hz=rate_hz, resampling=_resampling(options))


def _recording(columns: tuple[str, ...], clip: Clip, options: Mapping[str, float | str]) -> InputWindow:
    for name in (_ROWS, _RATE, _RESAMPLING):
        if name in options:
            raise ConfigError(f"each row of this dataset is one window of {clip.rows} readings; leave out {name}")
    stride = int(number(options, _STRIDE, clip.rows, low=1, high=limits.MAX_WINDOW_ROWS))
    return InputWindow(
        columns=columns,
        rows=clip.rows,
        stride=stride,
        rate_hz=clip.rate_hz,
        max_gap_s=rounded(GAP_STEPS / clip.rate_hz),
    )


def _resampling(options: Mapping[str, float | str]) -> Resampling:
    given = str(options.get(_RESAMPLING, Resampling.LINEAR))
    if given not in set(Resampling):
        raise ConfigError(f"option {_RESAMPLING} is {given!r}; there are {', '.join(Resampling)}")
    return Resampling(given)
