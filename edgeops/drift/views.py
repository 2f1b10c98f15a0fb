"""What a group of devices shows together, such that no single device decides it.

Every device's rows are capped at three times the typical device's, once, from its sums. With three or more devices
they are then dealt to three or five **voices** of about equal rows, and the group's cumulative histogram is the median
of theirs, bin by bin (a median of means: Nemirovsky and Yudin 1983). One device, whatever it reports, speaks with one
voice at most, and the median of the others bounds what it can do. That costs evidence: the view is worth about a third
of the rows behind it, see `_WORTH`. With one or two devices there is nobody to outvote, and the view is their capped
sum. A device with less than a quarter of the typical rows has no say yet.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.drift.statistics import cumulative
from edgeops.sketch.window import Sketch

Floats = NDArray[np.float64]

CAP = 3.0
_LEAST_SHARE = 0.25
#: Voices that a liar cannot outvote.
_FEWEST_VOICES = 3
_MOST_VOICES = 5
#: voices -> (the smallest voices that count, what each of their rows is worth). For the median of v voices to err by x
#: beside one liar, (v - 1) / 2 honest ones must err by x in their own histograms; the factor makes the p-value of the
#: sum an upper bound of that probability between .05 and 1e-5.
_WORTH = {3: (1, 0.85), 4: (1, 0.8), 5: (2, 0.7)}


@dataclass(frozen=True, slots=True, eq=False)
class GroupView:
    """A group's histogram per channel, and what is behind it."""

    #: (channels, 32) cumulative shares.
    cumulative: Floats
    #: (channels,) rows that the view is worth if they were independent.
    worth: Floats
    #: (channels,) capped rows behind it.
    rows: Floats
    #: (voices, channels, 32) cumulative shares, and whether each has a say, (voices, channels).
    voices: Floats
    is_heard: NDArray[np.bool_]

    def typical(self, of_voices: Floats) -> Floats:
        """The median of what was computed from each voice, (voices, channels) -> (channels,)."""
        return _median(of_voices, self.is_heard)


def typical_rows(present: Floats) -> Floats:
    """The lower median over devices (..., devices, channels) that sent any, (..., channels); 0 if none did.

    The lower one, so that of two devices the larger is capped.
    """
    typical = _pick(present, present > 0, upper=False)
    return np.asarray(np.where(np.isfinite(typical), typical, 0.0))


def typical_lag(lag1: Floats, present: Floats) -> Floats:
    """The upper median of autocorrelations over devices (..., devices, channels) that have a say.

    What one device tells of its moments could claim any; the upper one errs towards fewer independent rows.
    """
    typical = _pick(lag1, capped_rows(present) > 0, upper=True)
    return np.asarray(np.where(np.isfinite(typical), typical, 0.0))


def capped_rows(present: Floats) -> Floats:
    """Rows (..., devices, channels) that count in a group."""
    typical = typical_rows(present)[..., np.newaxis, :]
    return np.asarray(np.where(present >= _LEAST_SHARE * typical, np.minimum(present, CAP * typical), 0.0))


def group_view(per_device: Mapping[str, Sketch]) -> GroupView:
    """The view of one sketch per device."""
    return view_of(np.array([per_device[device].counts for device in sorted(per_device)], np.float64))


def view_of(counts: Floats) -> GroupView:
    """The view of histograms (devices, channels, 32)."""
    present = counts.sum(axis=-1)
    capped = capped_rows(present)
    weighted = counts * np.divide(capped, present, out=np.zeros(present.shape), where=present > 0)[..., np.newaxis]
    members = _voices(capped.max(axis=1))
    voices = np.stack([weighted[list(devices)].sum(axis=0) for devices in members])
    rows = voices.sum(axis=-1)
    # A channel that only one or two voices know is their sum.
    outvotes = (rows > 0).sum(axis=0) >= _FEWEST_VOICES
    merged = voices.sum(axis=0)
    voices = np.where(outvotes[:, np.newaxis], voices, merged)
    is_heard = voices.sum(axis=-1) > 0
    shares = cumulative(voices)
    return GroupView(
        cumulative=_median(shares, np.broadcast_to(is_heard[..., np.newaxis], shares.shape)),
        worth=np.where(outvotes, _worth(rows), rows.sum(axis=0)),
        rows=rows.sum(axis=0),
        voices=shares,
        is_heard=is_heard,
    )


def _voices(rows: Floats) -> list[tuple[int, ...]]:
    """Devices (devices,) dealt to voices of about equal rows: the largest first, each to the voice that has least."""
    speaking = np.flatnonzero(rows > 0)
    if len(speaking) < _FEWEST_VOICES:
        return [tuple(speaking.tolist())]
    count = min(_MOST_VOICES, len(speaking) - (len(speaking) + 1) % 2)
    heap: list[tuple[float, int, tuple[int, ...]]] = [(0.0, voice, ()) for voice in range(count)]
    for device in speaking[np.argsort(-rows[speaking], kind="stable")].tolist():
        least, voice, members = heap[0]
        heapq.heapreplace(heap, (least + float(rows[device]), voice, (*members, device)))
    return [members for _, _, members in sorted(heap, key=lambda entry: entry[1])]


def _median(values: Floats, is_heard: NDArray[np.bool_]) -> Floats:
    """Over the first axis, of those that are heard; 0 where none is."""
    ascending = np.sort(np.where(is_heard, values, np.inf), axis=0)
    count = is_heard.sum(axis=0)
    middle = [
        np.take_along_axis(ascending, np.maximum(place, 0)[np.newaxis], axis=0)[0]
        for place in ((count - 1) // 2, count // 2)
    ]
    return np.asarray(np.where(count > 0, (middle[0] + middle[1]) / 2, 0.0))


def _worth(rows: Floats) -> Floats:
    """Of voices (voices, channels), per channel: see `_WORTH`."""
    ascending = np.sort(np.where(rows > 0, rows, np.inf), axis=0)
    speaking = (rows > 0).sum(axis=0)
    worth = np.zeros(rows.shape[1])
    for voices, (smallest, factor) in _WORTH.items():
        if voices <= len(rows):
            worth = np.where(speaking == voices, factor * ascending[:smallest].sum(axis=0), worth)
    return np.asarray(worth)


def _pick(values: Floats, counts: NDArray[np.bool_], *, upper: bool) -> Floats:
    """The lower or upper median over the devices that count; inf where none does."""
    ascending = np.sort(np.where(counts, values, np.inf), axis=-2)
    number = counts.sum(axis=-2)
    middle = number // 2 if upper else np.maximum(number - 1, 0) // 2
    middle = np.minimum(middle, np.maximum(number - 1, 0))
    return np.asarray(np.take_along_axis(ascending, middle[..., np.newaxis, :], axis=-2)[..., 0, :])
