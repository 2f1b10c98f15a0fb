"""The input window that a training asks for by options: `window` rows, and `stride` rows from one to the next."""

from collections.abc import Mapping

from edgeops.artifact.manifest import InputWindow
from edgeops.data.schema import Schema
from edgeops.errors import ConfigError
from fleet_server.ml.recipes.plan import number
from fleet_server.ml.recipes.rounding import rounded

_ROWS, _STRIDE = "window", "stride"
#: Of recipes that read windows.
WINDOW_OPTIONS = frozenset({_ROWS, _STRIDE})
_MOST_ROWS = 65_536
#: So many usual steps without a row are a gap: one row may be lost, and clocks jitter.
GAP_STEPS = 3


def asked_window(schema: Schema, options: Mapping[str, float | str]) -> InputWindow | None:
    """The window of a recipe that need not read one; None = single rows. Windows overlap by half unless asked.

    Recordings are windows, and what follows each other on a device does not overlap unless asked.

    Raises:
        ConfigError: an option is out of bounds, or asks for windows of recordings.
    """
    if clip := schema.clip:
        if _ROWS in options:
            raise ConfigError(f"each row of this dataset is one window of {clip.rows} readings; leave out {_ROWS}")
        stride = int(number(options, _STRIDE, clip.rows, low=1, high=_MOST_ROWS))
        return InputWindow(
            columns=schema.columns,
            rows=clip.rows,
            stride=stride,
            rate_hz=clip.rate_hz,
            max_gap_s=rounded(GAP_STEPS / clip.rate_hz),
        )
    rows = int(number(options, _ROWS, 1, low=1, high=_MOST_ROWS))
    stride = int(number(options, _STRIDE, max(rows // 2, 1), low=1, high=_MOST_ROWS))
    return None if rows == stride == 1 else schema.window(rows=rows, stride=stride)
