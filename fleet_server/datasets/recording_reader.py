"""Turns recordings into clips, all of one rate and length."""

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.data.clip import CHANNEL
from edgeops.data.rules import Rules
from edgeops.errors import DatasetError
from edgeops.folder import Folder
from edgeops.model.recording import SUFFIXES, Facts, facts_of, read_recording, readings_at


class RecordingReader:
    """Reads WAV; rate and length are asked for, or else those of all files."""

    name = CHANNEL
    columns = (CHANNEL,)
    suffixes = SUFFIXES

    def __init__(self, folder: Folder, rules: Rules) -> None:
        if rules.size is not None or rules.grey:
            raise DatasetError("size and grey are for pictures, and these are recordings; leave them out")
        if rules.clip_hz is not None and (rules.clip_hz % 1 or rules.clip_hz > limits.MAX_RECORDING_HZ):
            raise DatasetError(
                f"recordings of {rules.clip_hz:.10g} readings a second; say a whole number up to "
                f"{limits.MAX_RECORDING_HZ} with clip_hz"
            )
        found = _common_facts(folder, rules)
        self.rate_hz = found.rate_hz
        self.shape = (found.readings,)
        if found.readings > limits.MAX_CLIP_VALUES:
            raise DatasetError(
                f"recordings of {found.readings} readings, the most is {limits.MAX_CLIP_VALUES}; say fewer seconds, "
                "or a lower clip_hz"
            )

    def read(self, content: bytes, /) -> NDArray[np.float32]:
        """One recording as readings, full scale = 1.

        Raises:
            DatasetError: it is none, or damaged.
        """
        return read_recording(content, readings=self.shape[0], rate_hz=self.rate_hz)


def _common_facts(folder: Folder, rules: Rules) -> Facts:
    """What all recordings become; those that are none are refused when they are read."""
    first, common, why = "", Facts(0, 0), ""
    for path in folder.paths:
        if PurePosixPath(path).suffix.lower() not in SUFFIXES:
            continue
        try:
            readings, rate_hz = facts_of(folder.read(path))
        except DatasetError as error:
            why = why or f"{path}: {error}"
            continue
        if rules.clip_hz is not None:
            readings, rate_hz = readings_at(readings, rate_hz, int(rules.clip_hz)), int(rules.clip_hz)
        if rules.seconds is not None:
            readings = round(rules.seconds * rate_hz)
        if not first:
            first, common = path, Facts(readings, rate_hz)
        if rate_hz != common.rate_hz:
            raise DatasetError(
                f"{path} has {rate_hz} readings a second and {first} {common.rate_hz}; say which rate all shall have: "
                f"clip_hz = {common.rate_hz}"
            )
        if readings != common.readings:
            raise DatasetError(
                f"{path} has {readings} readings and {first} {common.readings}; say how long all shall be: "
                f"seconds = {common.readings / common.rate_hz:g}"
            )
    if not first:
        raise DatasetError(f"none of its files is a recording that can be read; {why}")
    return common
